"""A progress bar on long work: in terminals and notebooks, quiet elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 0.5
"""Seconds a run takes before it gets a bar."""

EVERY = 0.1
"""Seconds between two looks."""

COLUMNS, ROWS = 80, 24
"""The size of a terminal that does not tell."""


class Counts(NamedTuple):
    """What a bar shows: distinct prompts answered, asked for so far, from the cache, and failed."""

    answered: int
    asked: int
    cached: int
    failed: int


class Progress:
    """The bar of one run. Several stages may show on it at once.

    Args:
        wanted: `"auto"` shows it only where somebody looks, and only on long work.
        clock: Gives seconds.
        began: When the run began, by that clock.
    """

    def __init__(self, wanted: bool | Literal["auto"], clock: Callable[[], float], began: float) -> None:  # noqa: FBT001
        self._wanted = wanted is True or (wanted == "auto" and somebody_looks())
        self._clock = clock
        self._began = began
        self._next = began if wanted is True else began + PATIENCE
        self._bar: Any = None
        self._lock = threading.Lock()

    def show(self, counts: Callable[[], Counts]) -> None:
        """Show how far the run is, unless it was shown a moment ago."""
        if not self._wanted or self._clock() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = self._clock() + EVERY
            self._draw(counts())
        finally:
            self._lock.release()

    def close(self) -> None:
        """Take the bar away, for good."""
        with self._lock:
            self._wanted = False
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def _draw(self, counts: Counts) -> None:
        if not self._wanted:
            return
        if self._bar is None:
            self._bar = _bar(self._clock() - self._began)
        self._bar.total = counts.asked
        self._bar.n = counts.answered
        told = {"cached": counts.cached, "failed": counts.failed}
        self._bar.set_postfix({name: f"{n:,}" for name, n in told.items() if n}, refresh=False)
        self._bar.refresh()


def somebody_looks() -> bool:
    """Whether a bar would be seen: in a notebook, or where the error output is a terminal."""
    if _in_notebook():
        return True
    with contextlib.suppress(AttributeError, ValueError):  # no error output, or a closed one
        return sys.stderr.isatty()
    return False


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _bar(elapsed: float) -> Any:
    """A bar of work that began some seconds ago."""
    if _in_notebook():
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # tqdm's watching thread is for bars nobody refreshes

    size = {"ncols": COLUMNS, "nrows": ROWS} if _is_of_unknown_size() else {"dynamic_ncols": True}
    bar = Bar(desc="llm", unit=" answers", leave=False, **size)
    bar.start_t -= elapsed  # else the first rate it shows is a million a second
    return bar


def _is_of_unknown_size() -> bool:
    """Whether the terminal says that it has no columns, as those of some tools do: tqdm would show nothing."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns == 0
    return False
