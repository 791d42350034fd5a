"""Write-through: an answer is in the cache before anyone sees it.

Answers gather for `GATHER` seconds or until there are `MANY`; one thread stores them, one
transaction a cache, and then hands them on. While it stores, the next ones gather. `kill -9`
costs what had gathered, never more.
"""

from __future__ import annotations

import contextlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from polar_llama.errors import ConfigurationError, PolarLlamaError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from polar_llama.cache.base import AnswerCache
    from polar_llama.exec.inflight import Outcome
    from polar_llama.exec.job import Batch

GATHER = 0.010
"""Seconds."""

MANY = 1_000
"""Answers."""


class Answer(NamedTuple):
    """An answer on its way into the cache."""

    batch: Batch
    outcome: Outcome
    record: bytes


class Committer:
    """Stores answers in groups; `add` and `flush` belong to the loop's thread, `call` to any.

    Args:
        loop: Where answers come from.
        release: Hands a batch the outcomes that are stored.
        broken: Told, on the loop, of a batch whose answers could not be stored.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        release: Callable[[Batch, list[Outcome]], None],
        broken: Callable[[Batch, Exception], None],
    ) -> None:
        self._loop = loop
        self._release = release
        self._broken = broken
        self._gathered: list[Answer] = []
        self._timer: asyncio.TimerHandle | None = None
        self._storing = False
        self._due = False
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="polar_llama-cache", daemon=True)
        self._thread.start()

    def add(self, answer: Answer) -> None:
        """Store an answer soon."""
        self._gathered.append(answer)
        if len(self._gathered) >= MANY:
            self.flush()
        elif self._timer is None and not self._due:
            self._timer = self._loop.call_later(GATHER, self.flush)

    def flush(self) -> None:
        """Store what has gathered now, or right after the commit that is running."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = bool(self._gathered) and self._storing
        if self._gathered and not self._storing:
            self._storing = True
            answers, self._gathered = self._gathered, []
            self.call(lambda: self._store(answers))

    def call(self, work: Callable[[], None]) -> None:
        """Do something that may block, on the thread that stores."""
        self._work.put(work)

    def close(self, timeout: float) -> None:
        """Store what has gathered and end the thread; the loop has ended before."""
        answers, self._gathered = self._gathered, []
        if answers:
            self.call(lambda: self._store(answers))
        self._work.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _store(self, answers: list[Answer]) -> None:
        groups: dict[Batch, list[Answer]] = {}
        for answer in answers:
            groups.setdefault(answer.batch, []).append(answer)
        caches: dict[int, list[Batch]] = {}
        for batch in groups:
            caches.setdefault(id(batch.question.cache), []).append(batch)
        for batches in caches.values():
            cache = batches[0].question.cache
            error = None if cache is None else _put(cache, [a for b in batches for a in groups[b]])
            for batch in batches:
                if error is not None:
                    batch.error = error
                    self._on_loop(self._broken, batch, error)
                self._release(batch, [a.outcome for a in groups[batch]])
        self._on_loop(self._stored)

    def _stored(self) -> None:
        self._storing = False
        if self._due or len(self._gathered) >= MANY:
            self.flush()

    def _on_loop(self, function: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: the process is ending
            self._loop.call_soon_threadsafe(function, *args)


def _put(cache: AnswerCache, answers: list[Answer]) -> Exception | None:
    try:
        cache.put_many({answer.outcome.key: answer.record for answer in answers})
    except PolarLlamaError as error:
        return error
    except Exception as error:  # noqa: BLE001 -- whatever a disk or a custom store does: the answers are handed on
        wrapped = ConfigurationError(
            f"answers could not be stored in the cache ({type(error).__name__}: {error}); nothing more was sent. "
            'Free the disk or set cache_dir, and run again, or run with cache="off"'
        )
        wrapped.__cause__ = error
        return wrapped
    return None
