"""One terminal call is one run: leaves of the same Polars query find the run they belong to.

Polars reads a leaf on a thread of its own and tells it nothing of the query around it. So every
terminal call (`collect`, a sink, `collect_all`) opens a scope, and a leaf looks for the scope opened
by the thread that built it, or the only one there is; without one it is a run of its own.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polar_llama.exec.report import publish
from polar_llama.exec.run import start_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polar_llama.exec.run import Run
    from polar_llama.settings import Settings

_open: list[Scope] = []
_lock = threading.Lock()
_built = False


def leaves() -> bool:
    """Whether this process has built a native leaf: without one, no query of Polars can be ours."""
    return _built


def leaf_built() -> None:
    """Remember that there is a native leaf."""
    global _built  # noqa: PLW0603 -- a leaf may be anywhere from now on
    _built = True


class Scope:
    """The runs of one terminal call: one, unless its leaves were built under different settings."""

    def __init__(self) -> None:
        """Open for the calling thread."""
        self.threads = {threading.get_ident()}
        self._runs: dict[int, tuple[Settings, Run]] = {}

    def run(self, settings: Settings) -> Run:
        """The run for these settings."""
        with _lock:
            for known, run in self._runs.values():
                if known == settings:
                    return run
            run = start_run(settings, os.environ)
            self._runs[id(run)] = settings, run
            return run

    def enter(self) -> None:
        """Belong to the calling thread as well."""
        self.threads.add(threading.get_ident())

    def runs(self) -> list[Run]:
        """Every run so far."""
        return [run for _, run in self._runs.values()]

    def cancel(self) -> None:
        """Send nothing more."""
        for run in self.runs():
            run.cancel()


@contextmanager
def scope() -> Iterator[Scope]:
    """Open a scope for a terminal call; on leaving, its reports are published and failures raised."""
    opened = Scope()
    with _lock:
        _open.append(opened)
    try:
        yield opened
    except BaseException:  # nobody waits for what is still to be asked, also where a reader has stopped early
        opened.cancel()
        raise
    finally:
        with _lock:
            _open.remove(opened)
        for run in opened.runs():
            publish(run.finish())  # a run may have been started by a thread of Polars
    for run in opened.runs():
        run.raise_failures()


@contextmanager
def joined(settings: Settings, built_by: int) -> Iterator[Run]:
    """The run a leaf belongs to, or one of its own.

    Args:
        settings: The snapshot the leaf was built with.
        built_by: The thread that built it.
    """
    with _lock:
        mine = [s for s in _open if built_by in s.threads]
        found = mine[-1] if mine else _open[0] if len(_open) == 1 else None
    if found is not None:
        yield found.run(settings)
        return
    run = start_run(settings, os.environ)
    try:
        yield run
    finally:
        run.finish()
