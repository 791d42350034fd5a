"""One terminal call is one run: leaves of the same Polars query find the run they belong to.

Polars reads a leaf on a thread of its own and tells it nothing of the query around it. But a leaf's
token stands in the query's plan, so every terminal call (`collect`, a sink, `collect_all`) opens a
scope that claims the tokens of its frames, and a leaf looks for the scope that has claimed it.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polar_llama.errors import PolarLlamaError
from polar_llama.exec.pool import environment
from polar_llama.exec.report import publish
from polar_llama.exec.run import start_run
from polar_llama.planner.nodes import Scan
from polar_llama.planner.walk import each
from polar_llama.planner.wording import in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import polars as pl

    from polar_llama.exec.run import Run
    from polar_llama.planner.nodes import Plan
    from polar_llama.settings import Settings

LEAF = "polar_llama leaf "
"""What a leaf is called in a query's plan, before its token."""

_TOKEN = re.compile(re.escape(LEAF) + "([0-9a-f]{16})")

_open: list[Scope] = []
_lock = threading.Lock()
_built = False


def leaf_built() -> None:
    """Remember that there is a native leaf."""
    global _built  # noqa: PLW0603 -- a leaf may be anywhere from now on
    _built = True


def tokens(frames: Iterable[pl.LazyFrame]) -> frozenset[str]:
    """The leaves in native queries; reads and asks nothing."""
    if not _built:  # no query of this process can hold one
        return frozenset()
    return frozenset(t for frame in frames for t in _TOKEN.findall(frame._ldf.describe_plan()))


def tokens_of(plan: Plan) -> frozenset[str]:
    """The leaves in the native queries a plan begins with."""
    return tokens(node.frame for node in each(plan) if isinstance(node, Scan)) if _built else frozenset()


class Scope:
    """One terminal call: its run, the leaves it has claimed, and the threads it works on."""

    def __init__(self, settings: Settings, claims: Iterable[str]) -> None:
        """Open for the calling thread."""
        self.settings = settings
        self.claims = set(claims)
        self.threads = {threading.get_ident()}
        self.read: set[str] = set()
        self._run: Run | None = None

    @property
    def run(self) -> Run:
        """Its run, started when it is first needed."""
        with _lock:
            if self._run is None:
                self._run = start_run(self.settings, environment())
            return self._run

    def enter(self) -> None:
        """Belong to the calling thread as well."""
        self.threads.add(threading.get_ident())

    def cancel(self) -> None:
        """Send nothing more."""
        if self._run is not None:
            self._run.cancel()

    def finish(self) -> None:
        """Publish the report in the calling thread or context: a thread of Polars may have started the run."""
        if self._run is not None:
            publish(self._run.finish())

    def raise_failures(self) -> None:
        """Raise what rows have failed of."""
        if self._run is not None:
            self._run.raise_failures()


@contextmanager
def scope(settings: Settings, claims: Iterable[str] = ()) -> Iterator[Scope]:
    """Open a scope for a terminal call; on leaving, its report is published and failures are raised.

    Args:
        settings: The settings in force in the calling thread.
        claims: The leaves that are read for this call.
    """
    opened = Scope(settings, claims)
    with _lock:
        _open.append(opened)
    try:
        with in_words():
            yield opened
    except BaseException as error:  # nobody waits for what is still to be asked, also where a reader has stopped early
        opened.cancel()
        if isinstance(error, Exception) and not isinstance(error, PolarLlamaError):
            # A row without an answer is null until the end, and may have led to this error.
            _raise_instead(opened, error)
        raise
    finally:
        with _lock:
            _open.remove(opened)
        opened.finish()
    opened.raise_failures()


def _raise_instead(opened: Scope, error: Exception) -> None:
    try:
        opened.raise_failures()
    except PolarLlamaError as cause:
        raise cause from error


def claimed_here(found: frozenset[str]) -> bool:
    """Whether a terminal call around the calling thread has claimed these leaves already."""
    here = threading.get_ident()
    with _lock:
        return any(here in s.threads and found <= s.claims for s in _open)


@contextmanager
def joined(token: str, settings: Settings) -> Iterator[Scope]:
    """The scope a leaf belongs to, or one of its own.

    Args:
        token: The leaf's.
        settings: The snapshot the leaf was built with, for a scope of its own.
    """
    with _lock:
        mine = [s for s in _open if token in s.claims]
        # The same frame may be collected by several threads at once: each reads its leaf once.
        found = next((s for s in mine if token not in s.read), mine[-1] if mine else None)
        if found is not None:
            found.read.add(token)
    if found is None:
        with scope(settings, [token]) as own:
            yield own
        return
    yield found
    if found.read >= found.claims:  # before a sink is closed over rows that are missing
        found.raise_failures()
