"""The distinct prompts of one batch, on their way."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from polar_llama.exec.base import Question

CANCELLED = Failure("stopped", "the run was cancelled before this row was asked")


class Batch:
    """A `Job`: its results, and, on the loop's thread, what of it waits to be sent.

    Attributes:
        question: The call its prompts belong to.
        error: What went wrong with the batch as a whole (its answers could not be stored), or None.
        stopped: Why nothing more of it is sent, or None.
        waiting: Keys and prompts not sent yet; the loop's thread only.
        open: How many of its prompts the lane still has; the loop's thread only.
    """

    __slots__ = (
        "_finished",
        "_left",
        "_lock",
        "_on_cancel",
        "_results",
        "error",
        "open",
        "question",
        "stopped",
        "waiting",
    )

    def __init__(self, question: Question, size: int, on_cancel: Callable[[Batch], None]) -> None:
        self.question = question
        self.error: Exception | None = None
        self.stopped: Failure | None = None
        self.waiting: deque[tuple[bytes, str]] = deque()
        self.open = 0
        self._results: dict[bytes, object] = {}
        self._left = size
        self._lock = threading.Lock()
        self._on_cancel = on_cancel
        self._finished = threading.Event()
        if size == 0:
            self._finished.set()

    @property
    def done(self) -> bool:
        """Whether every key has its outcome."""
        return self._finished.is_set()

    @property
    def results(self) -> Mapping[bytes, object]:
        """Key to value; a `Failure` stands for a row without an answer. Complete when done."""
        return self._results

    def wait(self, timeout: float | None = None) -> bool:
        """Block until done, or until the timeout (seconds); True when done. An interrupt gets through."""
        return self._finished.wait(timeout)

    def cancel(self) -> None:
        """Send nothing more of it, from any thread; what is in flight completes and is stored."""
        if not self.done and self.stopped is None:
            self.stopped = CANCELLED
            self._on_cancel(self)

    def fail(self, error: Exception) -> None:
        """End it without its outcomes, from any thread."""
        self.error = error
        self._finished.set()

    def settle(self, outcomes: Iterable[tuple[bytes, object]]) -> None:
        """Give keys their outcomes, from any thread."""
        with self._lock:
            for key, value in outcomes:
                self._results[key] = value
                self._left -= 1
            if self._left == 0:
                self._finished.set()
