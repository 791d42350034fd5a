"""Requests or tokens a minute, as a bucket that fills: pure, the time is an argument."""

from __future__ import annotations

MINUTE = 60.1
"""Seconds; a little more than a minute, because the server's clock and ours are not the same."""

ROUNDING = 1e-9
"""What adding up floats may lose."""

SLOWEST = 0.5
"""A minute: a reported allowance that refills slower than this is left to the server to enforce."""


class Bucket:
    """Allows at most `per_minute` in any 60 seconds.

    It holds one second's worth at most and fills a little slower than the allowance, so that what
    it holds and what flows in during any minute never sum to more than the allowance.
    """

    __slots__ = ("_level", "_most", "_rate", "at", "per_minute")

    def __init__(self, per_minute: float, now: float, *, full: bool = True) -> None:
        self.per_minute = per_minute
        self._most = max(1.0, per_minute / 60)
        self._rate = (per_minute - self._most + 1) / MINUTE
        self._level = self._most if full else 0.0
        self.at = now

    def ready(self, now: float, amount: float = 1.0) -> float:
        """When `amount` may be taken; more than the bucket holds may be taken when it is full."""
        self._fill(now)
        missing = min(amount, self._most) - self._level
        return now if missing <= ROUNDING else now + missing / self._rate

    def take(self, now: float, amount: float = 1.0) -> None:
        """Take an amount; the level may fall below zero, and is waited for."""
        self._fill(now)
        self._level -= amount

    def _fill(self, now: float) -> None:
        self._level = min(self._most, self._level + (now - self.at) * self._rate)
        self.at = now


def allowed(bucket: Bucket | None, per_minute: int | None, now: float) -> Bucket | None:
    """The bucket of what the user allows in a minute: the one there is, as long as that is the same.

    One that takes another's place begins empty: what the other has let pass is of the same minute.
    """
    if per_minute is None:
        return None
    if bucket is not None and bucket.per_minute == per_minute:
        return bucket
    return Bucket(per_minute, now, full=bucket is None)


def refilling(
    bucket: Bucket | None,
    limit: int | None,
    remaining: int | None,
    reset: float | None,
    short: tuple[float, float],
    now: float,
) -> Bucket | None:
    """The pace at which an allowance refills that the provider reports as spent; None where it is not short.

    Args:
        bucket: The pace kept so far.
        limit: The allowance.
        remaining: What is left of it.
        reset: Seconds until it is full.
        short: What a request needs, and what those in flight may still take.
        now: The time.
    """
    if limit is None or remaining is None or reset is None:
        return bucket
    need, taken = short
    if remaining >= need + taken:
        return None
    if bucket is not None or remaining >= need or reset <= 0 or limit / reset * 60 < SLOWEST * need:
        return bucket
    return Bucket(limit / reset * 60, now, full=False)
