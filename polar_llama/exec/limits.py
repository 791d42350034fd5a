"""How many requests one provider and model gets at once, and when: a pure state machine.

The rules, and what each is for (time in seconds of any clock, handed in):

* The limit starts at the user's `max_concurrency`, which is also the cap, or at `START`; every
  answer to a request sent at the full limit adds one. So it doubles in the time of one answer.
* A request that failed keeps its slot for as long as an answer usually takes (no longer than it
  waits itself). Refusals then come no faster than answers, and an isolated one costs one slot.
* Refusals add up as pressure and answers relieve it, twenty for one. Pressure of `FEW`, and of an
  eighth of the limit, shrinks the limit; while it still doubles, the second refusal does. What was
  refused is subtracted, so the limit lands on what the server took. Requests sent before that cut
  only complete its evidence: there is at most one cut in the time of one answer.
* Where nothing at all was taken, everyone waits as long as the server asked. One request
  goes ahead then; the limit doubles from there.
* Above a level that was refused the limit is probed: an eighth more for a while. It stays, or it
  returns at a few refusals and the patience doubles.
"""

from __future__ import annotations

import heapq
from math import ceil, inf
from typing import TYPE_CHECKING

from polar_llama.exec.pace import allowed, refilling
from polar_llama.exec.token_pace import TokenGuess, tokens_allowed

if TYPE_CHECKING:
    from polar_llama.exec.pace import Bucket
    from polar_llama.exec.token_pace import Entry, TokenPace
    from polar_llama.providers.base import Quota

START = 16
"""The first limit where the user sets none."""

MOST = 512
"""The highest limit where the user sets none: half the sockets a process may open on most systems."""

FEW = 4
"""So many refusals are no accident; fewer are."""

RELIEF = 0.05
"""Pressure an answer takes away: a server that refuses less than one in twenty is let be."""

PATIENCE = 4
"""Answers, as multiples of the limit, before the first probe above a refused level."""

MOST_PATIENCE = 32
"""The same after probes that were refused."""

UNKNOWN = 1.0
"""Seconds: what an answer takes, until one has come."""


class Limiter:
    """The limits of one provider and model, shared by every run of the process.

    Attributes:
        limit: How many requests may be in flight.
        in_flight: How many are.
        guess: How many tokens a request takes.
        spent: What the request that was sent last takes of the user's tokens a minute, for `used`.
    """

    def __init__(self) -> None:
        self.limit = START
        self.in_flight = 0
        self.spent: Entry | None = None
        self._cap: int | None = None
        self._requests: Bucket | None = None
        self._tokens: TokenPace | None = None
        self._request_quota: Bucket | None = None
        self._token_quota: Bucket | None = None
        self._paused = -inf
        self._held: list[float] = []
        self._ceiling: float = inf
        self._generation = 0
        self._cut = -1
        self._cut_from = START
        self._pressure = 0.0
        self._wary = False
        self._step = 0
        self._refusals = 0
        self._patience = PATIENCE
        self._calm = 0
        self._latency: float | None = None
        self.guess = TokenGuess()
        self._reserve = 0.0
        self._is_paced = False

    def allow(self, cap: int | None, requests: int | None, tokens: int | None, now: float) -> None:
        """Set what the user allows: requests at once, requests a minute, tokens a minute."""
        if cap != self._cap:
            self._cap = cap
            start = START if cap is None else cap
            self.limit = max(1, int(min(max(self.limit, start), cap or MOST, self._ceiling)))
        self._requests = allowed(self._requests, requests, now)
        self._tokens = tokens_allowed(self._tokens, tokens, now)
        self._note()

    def ready(self, now: float, size: int = 0) -> float:
        """When the next request may be sent: `now`, a later time, or `inf` when it waits for an answer.

        Args:
            now: The time.
            size: The characters of the next prompt, from which its tokens are guessed.
        """
        if now < self._paused:
            return self._paused
        while self._held and self._held[0] <= now:
            heapq.heappop(self._held)
        if self.in_flight + len(self._held) >= self.limit:
            return self._held[0] if self._held and self.in_flight < self.limit else inf
        return self.paced(now, size) if self._is_paced else now

    def paced(self, now: float, size: int = 0) -> float:
        """The same for a request that takes the place of one in flight: only what is allowed in a minute counts."""
        at = now
        for bucket in (self._requests, self._request_quota):
            if bucket is not None:
                at = max(at, bucket.ready(now))
        guess = self.guess.of(size)
        if self._tokens is not None:
            at = max(at, self._tokens.ready(now, guess))
        if self._token_quota is not None:
            at = max(at, self._token_quota.ready(now, guess + self._reserve))
        return at

    def sent(self, now: float, size: int = 0) -> int:
        """Count a request as sent; gives the generation to hand back with its outcome."""
        self.in_flight += 1
        if self._is_paced:
            self.spend(now, size)
        return self._generation

    def spend(self, now: float, size: int = 0) -> None:
        """The same for a request that takes the place of one in flight."""
        for bucket in (self._requests, self._request_quota):
            if bucket is not None:
                bucket.take(now)
        guess = self.guess.of(size)
        if self._token_quota is not None:
            self._token_quota.take(now, guess + self._reserve)
        self.spent = None if self._tokens is None else self._tokens.take(now, guess)

    def answered(self, generation: int, took: float) -> bool:
        """Count an answer; whether the limit has grown.

        Args:
            generation: What `sent` gave.
            took: Seconds from sending to the answer.
        """
        full = self.in_flight + len(self._held) >= self.limit
        self.in_flight -= 1
        self._latency = took if self._latency is None else self._latency + (took - self._latency) / 8
        if generation != self._generation:
            return False
        self._wary = False
        self._pressure = max(0.0, self._pressure - RELIEF)
        before = self.limit
        if full:
            self._grow()
        return self.limit > before

    def failed(self, generation: int, now: float, delay: float, *, refused: bool) -> None:
        """Count a request that is to be sent again.

        Args:
            generation: What `sent` gave.
            now: The time.
            delay: Seconds until it is sent again.
            refused: Whether the server said that it is asked too much.
        """
        self.in_flight -= 1
        if refused and generation == self._cut:
            self._subtract(1, now + delay)
            return
        if delay > 0:
            heapq.heappush(self._held, now + min(self._latency or UNKNOWN, delay))
        if not refused or generation != self._generation:
            return
        if self.limit == 1 and self._ceiling < inf:
            self._paused = max(self._paused, now + delay)
            return
        self._pressure += 1
        self._refusals += 1
        if self._step:
            if self._refusals >= max(1, self._step // 2):
                self._retreat()
        elif self._wary or (self._doubling and self._refusals > 1):
            self._shrink(self.limit if self._wary else self._refusals, now + delay)
        elif self._pressure >= max(FEW, self.limit // 8):
            self._shrink(ceil(self._pressure), now + delay)

    def dropped(self) -> bool:
        """Count a request that ended with nothing to learn from; the limit has not grown."""
        self.in_flight -= 1
        return False

    def used(self, tokens: int, spent: Entry | None) -> bool:
        """Correct the guess of a request's tokens, once the provider has counted them; whether there is more room now.

        Args:
            tokens: What was counted.
            spent: What `spent` was when the request was sent.
        """
        roomier = spent is not None and tokens < spent.amount
        if self._tokens is not None and spent is not None:
            self._tokens.correct(spent, tokens)
        self.guess.learn(tokens)
        return roomier

    def reported(self, quota: Quota, now: float, size: int = 0, most: int = 0) -> None:
        """Keep to the pace at which an allowance refills that the provider reports as spent.

        Otherwise never slow down. A spent allowance of `limit` that is full again in `reset` seconds
        refills by `limit / reset` a second; this holds until it is no longer short.

        Some count the most tokens that an answer may have, not those it has: a request that is refused
        with tokens left takes more than these.

        Args:
            quota: What is reported.
            now: The time.
            size: The characters of the prompt.
            most: Tokens that the answer might have had, if the request failed.
        """
        if quota.tokens_remaining is not None and quota.requests_remaining != 0:
            self._reserve = max(self._reserve, min(quota.tokens_remaining + 1 - self.guess.of(size), most))
        flying = self.in_flight
        self._request_quota = refilling(
            self._request_quota, quota.requests_limit, quota.requests_remaining, quota.requests_reset, (1, flying), now
        )
        need = max(1.0, self.guess.typical) + self._reserve
        self._token_quota = refilling(
            self._token_quota,
            quota.tokens_limit,
            quota.tokens_remaining,
            quota.tokens_reset,
            (need, need * flying),
            now,
        )
        self._note()

    def _note(self) -> None:
        buckets = (self._requests, self._request_quota, self._tokens, self._token_quota)
        self._is_paced = any(bucket is not None for bucket in buckets)

    @property
    def _doubling(self) -> bool:
        return self._ceiling == inf and self.limit < (self._cap or MOST)

    def _grow(self) -> None:
        if self.limit >= (self._cap or MOST):
            return
        if self.limit < self._ceiling:
            self.limit += 1
            return
        self._calm += 1
        if self._step and self._calm >= 2 * self.limit:
            self._patience = 1
            self._turn_over(step=0)
        elif not self._step and self._calm >= self._patience * self.limit:
            step = min(max(1, self.limit // 8), (self._cap or MOST) - self.limit)
            self.limit += step
            self._ceiling = self.limit
            self._turn_over(step=step)

    def _retreat(self) -> None:
        self.limit = max(1, self.limit - self._step)
        self._ceiling = self.limit
        self._patience = min(2 * self._patience, MOST_PATIENCE)
        self._turn_over(step=0)

    def _shrink(self, refused: int, until: float) -> None:
        self._cut = self._generation
        if not self._wary:
            self._cut_from = self.limit
        self._patience = PATIENCE
        self._held.clear()
        self._turn_over(step=0)
        self._subtract(refused, until)

    def _subtract(self, refused: int, until: float) -> None:
        self.limit -= refused
        self._ceiling = max(1, self.limit)
        if self.limit <= 0:
            self.limit = 1
            self._ceiling = max(1, self._cut_from // 2)
            self._paused = max(self._paused, until)
            self._wary = True

    def _turn_over(self, *, step: int) -> None:
        self._step = step
        self._generation += 1
        self._pressure = 0.0
        self._refusals = self._calm = 0
