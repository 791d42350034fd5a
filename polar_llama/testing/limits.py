"""Rate limits as the vendors keep them: allowances that refill steadily, and requests in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polar_llama.providers.base import Quota

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits per wire format and model; None does not limit.

    Attributes:
        requests_per_minute: Requests; the allowance starts full and refills steadily.
        tokens_per_minute: Tokens in and out; likewise.
        max_in_flight: Requests that may be in flight at once.
        retry_after: Seconds a refused request is asked to wait; None computes it from the
            allowance, and says 1 second for requests in flight.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_in_flight: int | None = None
    retry_after: float | None = None


class Allowance:
    """So many a minute, refilled steadily, never above a minute's worth."""

    __slots__ = ("_left", "_limit", "_when")

    def __init__(self, limit: int, now: float) -> None:
        self._limit, self._left, self._when = limit, float(limit), now

    def left(self, now: float) -> float:
        """What is left; negative when more was taken than there was."""
        self._left = min(self._limit, self._left + (now - self._when) * self._limit / 60)
        self._when = now
        return self._left

    def take(self, amount: float) -> None:
        """Take, also what is not there."""
        self._left -= amount

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` (at most a full allowance) can be taken."""
        return max(0.0, min(amount, self._limit) - self.left(now)) * 60 / self._limit

    def state(self, now: float) -> tuple[int, int, float]:
        """The limit, what remains, and the seconds until it is full."""
        return self._limit, max(0, int(self.left(now))), self.wait(self._limit, now)


class Meter:
    """The limits of one wire format and model."""

    __slots__ = ("_clock", "_limits", "_requests", "_tokens", "in_flight")

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        now = clock()
        self._requests = None if limits.requests_per_minute is None else Allowance(limits.requests_per_minute, now)
        self._tokens = None if limits.tokens_per_minute is None else Allowance(limits.tokens_per_minute, now)
        self.in_flight = 0

    def refuse(self, tokens: int) -> tuple[str, float] | None:
        """What is exhausted and the seconds to wait, or None after admitting a request of so many tokens."""
        now, limits = self._clock(), self._limits
        refused: tuple[str, float] | None = None
        if limits.max_in_flight is not None and self.in_flight >= limits.max_in_flight:
            refused = ("concurrent requests", 1.0)
        elif self._requests is not None and (wait := self._requests.wait(1, now)):
            refused = ("requests per min", wait)
        elif self._tokens is not None and (wait := self._tokens.wait(tokens, now)):
            refused = ("tokens per min", wait)
        if refused is not None:
            return refused[0], refused[1] if limits.retry_after is None else limits.retry_after
        if self._requests is not None:
            self._requests.take(1)
        self.in_flight += 1
        return None

    def charge(self, tokens: int) -> None:
        """Take an admitted request's tokens from the allowance."""
        if self._tokens is not None:
            self._tokens.take(tokens)

    def quota(self) -> Quota:
        """What the reply's headers say."""
        now = self._clock()
        requests = (None, None, None) if self._requests is None else self._requests.state(now)
        tokens = (None, None, None) if self._tokens is None else self._tokens.state(now)
        return Quota(*requests, *tokens)
