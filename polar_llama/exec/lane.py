"""One provider and model: what waits to be sent to it, and what is on its way.

There is one task per request in flight and none per prompt: a task that has its answer takes the
next prompt, and ends when there is none or the limiter has no room. A request waiting for its
retry lies in a heap and occupies nothing. Everything here happens on the loop's thread.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from polar_llama.exec import counting, retry
from polar_llama.exec.agreed import agree
from polar_llama.exec.base import Later
from polar_llama.exec.fetching import Fetching
from polar_llama.exec.held import Held
from polar_llama.exec.judge import Invalid, invalid, judge
from polar_llama.exec.limits import Limiter
from polar_llama.exec.together import HOPELESS, Try, each, halves, sender
from polar_llama.exec.turns import Turns
from polar_llama.exec.waiting import Waiting
from polar_llama.providers.base import HEALS, Failure, Response, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from polar_llama.exec.base import Question
    from polar_llama.exec.inflight import Pair
    from polar_llama.exec.job import Batch
    from polar_llama.providers.base import Provider

FORGET = 60.0
"""Seconds without work after which what was learned about a server's limits is forgotten."""

BREATH = 64
"""Answers after which a task lets others run, should its provider never wait."""


class Lane:
    """Sends the prompts of every run to one provider and model.

    Args:
        provider: Who is asked.
        loop: The loop; its clock is the lane's.
        spawn: Starts a task.
        finish: Told of every outcome: a value with its response, or a `Failure` with None.
        idle: Called when nothing is in flight.
        random: Draws from [0, 1).
    """

    def __init__(
        self,
        provider: Provider,
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        finish: Callable[[Batch, bytes, object, Response | None], None],
        idle: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self.provider = provider
        self.limiter, self._sender = Limiter(), sender(provider)
        self._loop, self._spawn, self._finish, self._idle, self._random = loop, spawn, finish, idle, random
        self._turns = Turns()
        self._retries = Waiting()
        self._held = Held(self._go_on)
        self._fetching = Fetching(spawn, self._go_on, self._end_all)
        self._active: dict[Batch, None] = {}
        self._stops: WeakKeyDictionary[Question, Failure] = WeakKeyDictionary()
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = inf
        self._silent = self._refused = 0
        self._idle_since = self._answered_at = loop.time()

    @property
    def busy(self) -> bool:
        """Whether anything waits or is in flight."""
        return bool(self._active)

    def add(self, batch: Batch, pairs: list[Pair]) -> None:
        """Queue prompts: calls take turns, the batches of one call do not overtake each other."""
        if not self._active and self._loop.time() - self._idle_since > FORGET:
            self.limiter = Limiter()
        batch.open += len(pairs)
        self._active[batch] = None
        batch.waiting.extend(pairs)
        stopped = batch.stopped or self._stops.get(batch.question)
        if stopped is not None:
            self.stop(batch, stopped)
            return
        self._turns.add(batch, self._loop.time())
        self._agree_on_limits()
        self._pump()

    def hurry(self, question: Question) -> None:
        """Fill no further: nothing more comes of a call that could share its requests."""
        self._turns.ripen(question)
        self._pump()

    def stop(self, batch: Batch, failure: Failure) -> None:
        """Send nothing more of a batch: what waits has failed, what is in flight completes."""
        batch.stopped = failure
        waiting = [key for key, _ in batch.waiting]
        batch.waiting.clear()
        self._turns.remove(batch)
        waiting += self._retries.take(batch) + self._held.take(batch) + self._fetching.take(batch)
        for key in waiting:
            self._end(batch, key, failure)

    def stop_question(self, question: Question, failure: Failure) -> None:
        """Send nothing more of a call in this run, now and later."""
        self._stops[question] = failure
        for batch in [b for b in self._active if b.question is question]:
            self.stop(batch, failure)

    def _pump(self) -> None:
        while (attempt := self._next()) is not None:
            self._spawn(self._work(attempt))

    async def _work(self, attempt: Try | None) -> None:
        since_breath = 0
        while attempt is not None:
            try:
                reply = await self._sender(self.provider, attempt, self._another)
            except Exception as error:  # noqa: BLE001 -- a provider of the user's own: its bug is this row's failure
                what = f"the provider for {self.provider.host} raised {type(error).__name__}; this is a bug in it"
                reply = Failure("bad_request", what)
            if self._received(attempt, reply):
                self._pump()
            attempt.batch.question.settled()
            attempt, since_breath = self._next(), since_breath + 1
            if since_breath % BREATH == 0:
                await asyncio.sleep(0)
        if self.limiter.in_flight == 0:
            self._idle()

    def _next(self) -> Try | None:
        """What is sent now, counted as sent; None when there is nothing or no room (then a timer is set)."""
        retries = self._retries
        while retries.heap or self._turns:
            now = self._loop.time()
            due = bool(retries.heap) and retries.heap[0][0] <= now
            if not due and retries.heap and (not self._turns or self._silent >= retry.SILENT):
                self._wake(retries.heap[0][0])
                return None
            attempt = retries.heap[0][2] if due else self._turns.peek()
            at = max(self.limiter.ready(now, attempt.size), 0.0 if due else self._turns.ripe_at)
            if at > now:
                self._wake(at)
                return None
            attempt = retries.pop() if due else self._turns.pop()
            question = attempt.batch.question
            if question.images is not None and attempt.prompt is None:
                if not self._fetching.begin(attempt, question.images):
                    self._turns.pause(question)
                continue
            refusal = question.gate()
            if refusal is None:
                return self._send(attempt, now)
            if isinstance(refusal, Later):
                self._turns.pause(question)
                self._held.add(attempt, refusal)
                continue
            self._end_all(attempt, refusal)
            self.stop_question(question, refusal)
        return None

    async def _another(self, attempt: Try) -> Failure | None:
        """Let a provider send one more request for the same prompt: at the pace and within the budget of any other."""
        question = attempt.batch.question
        while attempt.batch.stopped is None:
            now = self._loop.time()
            if (at := self.limiter.paced(now, attempt.size)) > now:
                await asyncio.sleep(at - now)
                continue
            refusal = question.again()
            if refusal is None:
                self.limiter.spend(now, attempt.size)
                counting.further(attempt)
            return refusal
        return attempt.batch.stopped

    def _go_on(self, question: Question, held: list[Try]) -> None:
        for attempt in held:
            self._retries.push(attempt, self._loop.time())
        self._turns.resume(question)
        self._pump()

    def _send(self, attempt: Try, now: float) -> Try:
        attempt.generation = self.limiter.sent(now, attempt.size)
        attempt.spent = self.limiter.spent
        attempt.sent_at = now
        counting.sent(attempt)
        return attempt

    def _wake(self, at: float) -> None:
        if at >= self._wake_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wake_at = at
        self._timer = self._loop.call_at(at, self._woken)

    def _woken(self) -> None:
        self._timer, self._wake_at = None, inf
        self._pump()

    def _received(self, attempt: Try, reply: Response | Vectors | Failure) -> bool:
        """Draw every conclusion from a reply; whether the limit has grown."""
        batch, limiter = attempt.batch, self.limiter
        now = self._loop.time()
        if reply.quota is not None:
            limiter.reported(reply.quota, now, attempt.size, attempt.reserved if isinstance(reply, Failure) else 0)
        usage = counting.came(attempt, reply)
        if usage is not None and limiter.used(usage.input + usage.output, attempt.spent):
            self._wake(now)
        if isinstance(reply, Failure):
            return self._failed(attempt, reply, now)
        self._silent, self._answered_at = 0, now
        if isinstance(reply, Vectors):
            return self._embedded(attempt, reply, now)
        try:
            value = judge(batch.question, reply)
        except Exception as error:  # noqa: BLE001 -- a validator of the user's own
            value = Failure("invalid", f"reading the answer raised {type(error).__name__}", billed=reply.usage)
        if isinstance(value, Failure) and value.kind in HEALS:
            return self._failed(attempt, value, now)
        grown = limiter.answered(attempt.generation, now - attempt.sent_at)
        if isinstance(value, Invalid):
            if attempt.repair is None and batch.stopped is None:
                attempt.repair = reply.text, value.problem
                self._retries.push(attempt, now)
                return grown
            value = invalid(value.problem, reply)
        self._end(batch, attempt.pairs[0][0], value, None if isinstance(value, Failure) else reply)
        return grown

    def _embedded(self, attempt: Try, reply: Vectors, now: float) -> bool:
        if len(reply.texts) != len(attempt.pairs):
            wrong = f"{self.provider.host} answered {len(attempt.pairs):,} texts with {len(reply.texts):,} vectors"
            return self._failed(attempt, Failure("malformed", wrong), now)
        self._refused = 0
        took = now - attempt.sent_at
        grown = self.limiter.answered(attempt.generation, took) if reply.sent else self.limiter.dropped()
        for key, value, response in list(each(attempt, reply)):
            self._end(attempt.owner(key), key, value, response)
        return grown

    def _failed(self, attempt: Try, failure: Failure, now: float) -> bool:
        for one, key, stop in attempt.part():
            self._end(one, key, stop)
        batch, limits = attempt.batch, attempt.batch.question.limits
        if failure.sent:
            self._silent = self._silent + 1 if failure.kind == "network" else 0
        refused = retry.is_refusal(failure)
        if refused:
            attempt.refuse(now, self._answered_at, retry.EXCUSED * limits.max_retries)
        delay = retry.wait(failure, attempt.failures - attempt.excused, limits.max_retries, self._random())
        if failure.kind in HEALS:
            self.limiter.failed(attempt.generation, now, delay or 0.0, refused=refused)
        else:
            self.limiter.dropped()
        if delay is not None and batch.stopped is None:
            attempt.failures += 1
            self._retries.push(attempt, now + delay)
            return False
        if failure.kind == "bad_request" and len(attempt.pairs) > 1 and self._refused < HOPELESS and not batch.stopped:
            self._refused += 1
            for half in halves(attempt):
                self._retries.push(half, now)
            return False
        given_up = retry.given_up(failure, attempt.failures, limits.max_retries)
        self._end_all(attempt, given_up if delay is None else batch.stopped)
        if hopeless := retry.hopeless(failure, self.provider.host, self._silent, limits.max_retries):
            for question in {batch.question: None for batch in self._active}:
                self.stop_question(question, hopeless)
        return False

    def _end_all(self, attempt: Try, value: object) -> None:
        for key, _ in attempt.pairs:
            self._end(attempt.owner(key), key, value)

    def _end(self, batch: Batch, key: bytes, value: object, reply: Response | None = None) -> None:
        if isinstance(value, Failure):
            batch.question.tally.failed += 1
        batch.open -= 1
        if batch.open == 0:
            self._active.pop(batch, None)
            self._idle_since = self._loop.time()
            self._agree_on_limits()
        self._finish(batch, key, value, reply)

    def _agree_on_limits(self) -> None:
        """Apply the strictest limits of the runs that are active now."""
        if self._active:
            agree(self.limiter, {batch.question: None for batch in self._active}, self._loop.time())
