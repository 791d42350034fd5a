"""The engine: claim, look up, queue, send, store, hand back. One per process.

`submit` runs in the caller's thread up to the queue; from there on everything happens on the
background loop and, for the cache, on the thread beside it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from polar_llama.errors import PolarLlamaError
from polar_llama.exec import record
from polar_llama.exec.commit import Answer, Committer
from polar_llama.exec.ending import call_off_at_end
from polar_llama.exec.inflight import InFlight, Outcome, outcomes
from polar_llama.exec.job import CANCELLED, Batch
from polar_llama.exec.judge import Invalid, read
from polar_llama.exec.lane import Lane
from polar_llama.exec.loop import Background
from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.exec.base import Job, Question
    from polar_llama.exec.inflight import Pair
    from polar_llama.providers.base import Response

IDLE_LANES = 64
"""So many providers and models are remembered; beyond them the idle ones are forgotten."""

ENDING = 2.0
"""Seconds: how long the end of the process waits for the loop, and again for the last commit."""

MISSING = Failure("replay", 'the answer is not in the cache, and cache="replay" never asks; run once with cache="use"')


class Engine:
    """A `Dispatcher` with its loop, lanes, claims and committer."""

    def __init__(self) -> None:
        self.dead = False
        self.background = Background(self._died)
        self._lanes: dict[tuple[int, str], Lane] = {}
        self._claims = InFlight(self._ask_again)
        self._committer = Committer(self.background.loop, self._claims.release, self._broken)
        self.background.at_close(self._close_providers)

    def submit(self, question: Question, keys: Sequence[bytes], prompts: Sequence[str]) -> Batch:
        """Claim, look up, queue: from any thread.

        Args:
            question: The call.
            keys: Distinct keys, one per prompt: `keys.Keyer` makes them.
            prompts: The prompts, parallel to the keys.

        Returns:
            The batch on its way; what the cache holds is in its results already.

        Raises:
            Exception: Whatever the cache raises when it cannot be read; nothing was sent.
        """
        batch = Batch(question, len(keys), self._cancel)
        self._start(batch, self._claims.claim(batch, keys, prompts))
        return batch

    def hurry(self, job: Job) -> None:
        """Wait for nothing more that could share the requests of a job, from any thread."""
        if isinstance(job, Batch):
            with contextlib.suppress(RuntimeError):  # the loop has ended: the process is ending
                self.background.call(self._hurry, job)

    def close(self) -> None:
        """Cancel what is in flight, store what came back, close the providers; prompt."""
        self.background.close(ENDING)
        self._committer.close(ENDING)

    def _start(self, batch: Batch, pairs: list[Pair]) -> None:
        """See to claimed prompts: from the cache, else from the provider."""
        question = batch.question
        try:
            found = self._look_up(question, pairs)
        except BaseException as error:
            batch.error = error if isinstance(error, Exception) else None
            self._claims.release(batch, outcomes(pairs, CANCELLED))
            raise
        question.tally.cached += len(found)
        if found:
            held = {outcome.key for outcome in found}
            pairs = [pair for pair in pairs if pair[0] not in held]
            self._claims.release(batch, found)
        if question.mode == "replay" and pairs:
            question.tally.failed += len(pairs)
            self._claims.release(batch, outcomes(pairs, MISSING))
        elif pairs:
            self.background.call(self._enqueue, batch, pairs)

    def _look_up(self, question: Question, pairs: list[Pair]) -> list[Outcome]:
        if question.cache is None or not question.read or not pairs:
            return []
        found = []
        for key, stored in question.cache.get_many([key for key, _ in pairs]).items():
            text = record.text_of(stored)
            if text is None:
                continue  # written by another version, or damaged: a miss, and overwritten
            value = read(question, text)
            if not isinstance(value, Invalid):
                found.append(Outcome(key, value, text))
        return found

    def _ask_again(self, batch: Batch, pairs: list[Pair]) -> None:
        """Whoever asked for this batch was stopped: it asks for itself."""
        self._committer.call(partial(self._reclaim, batch, pairs))

    def _reclaim(self, batch: Batch, pairs: list[Pair]) -> None:
        keys, prompts = [key for key, _ in pairs], [prompt for _, prompt in pairs]
        mine = self._claims.claim(batch, keys, prompts, again=True)
        with contextlib.suppress(Exception):  # the cache cannot be read: it is in `batch.error`
            self._start(batch, mine)

    def _enqueue(self, batch: Batch, pairs: list[Pair]) -> None:
        self._lane(batch.question).add(batch, pairs)

    def _hurry(self, batch: Batch) -> None:
        self._lane(batch.question).hurry(batch.question)

    def _lane(self, question: Question) -> Lane:
        name = id(question.provider), question.ask.model
        if name not in self._lanes:
            if len(self._lanes) >= IDLE_LANES:
                self._lanes = {name: lane for name, lane in self._lanes.items() if lane.busy}
            self._lanes[name] = Lane(
                question.provider,
                loop=self.background.loop,
                spawn=self.background.spawn,
                finish=self._finish,
                idle=self._committer.flush,
                random=random.random,
            )
        return self._lanes[name]

    def _finish(self, batch: Batch, key: bytes, value: object, reply: Response | None) -> None:
        question = batch.question
        outcome = Outcome(key, value, None if reply is None else reply.text)
        if reply is not None and question.write and question.cache is not None:
            self._committer.add(Answer(batch, outcome, record.encode(reply, time.time())))
        else:
            self._claims.release(batch, (outcome,))

    def _broken(self, batch: Batch, error: Exception) -> None:
        """Answers that cannot be kept are not bought."""
        self._lane(batch.question).stop_question(batch.question, Failure("stopped", f"not sent: {error}"))

    def _cancel(self, batch: Batch) -> None:
        self._claims.leave(batch, CANCELLED)
        with contextlib.suppress(RuntimeError):  # the loop has ended: the process is ending
            self.background.call(self._cancel_queued, batch)

    def _cancel_queued(self, batch: Batch) -> None:
        self._lane(batch.question).stop(batch, CANCELLED)

    def _died(self, error: BaseException) -> None:
        self.dead = True
        failure = PolarLlamaError(f"the engine has stopped for a reason of its own, please report it: {error!r}")
        failure.__cause__ = error
        for batch in self._claims.batches():
            batch.fail(failure)

    async def _close_providers(self) -> None:
        for provider in {id(lane.provider): lane.provider for lane in self._lanes.values()}.values():
            await provider.aclose()


_engine: Engine | None = None
_lock = threading.Lock()
_parents: list[Engine] = []


def dispatcher() -> Engine:
    """The engine of this process, started on first use."""
    global _engine  # noqa: PLW0603 -- one per process
    with _lock:
        if _engine is None or _engine.dead:
            _engine = Engine()
            atexit.register(_engine.close)
            call_off_at_end()
        return _engine


def _forked() -> None:
    """A forked child has no loop thread: it starts its own engine, and never touches its parent's."""
    global _engine, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    if _engine is not None:
        _engine.background.abandon()
        atexit.unregister(_engine.close)
        _parents.append(_engine)
        _engine = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
