"""Tokens a minute, kept exactly though a request's are only guessed when it is sent: pure, the time is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from polar_llama.exec.pace import MINUTE, ROUNDING, Bucket


class TokenGuess:
    """How many tokens a request takes that has yet to be counted.

    Attributes:
        typical: What requests have taken so far, on average; 0.0 until one was counted.
    """

    __slots__ = ("_answer", "_around", "typical")

    def __init__(self) -> None:
        self.typical = self._around = self._answer = 0.0

    def of(self, size: int) -> float:
        """Tokens of a request whose prompt has so many characters."""
        read = size / 4 + self._around
        return max(self.typical, read) if self.typical else read + self._answer

    def around(self, prompt: float, answer: float) -> None:
        """Say what goes with every prompt, in tokens: around it, and as an answer, until answers were counted."""
        self._around, self._answer = prompt, answer

    def learn(self, tokens: int) -> None:
        """Learn from a request that was counted."""
        self.typical = tokens if not self.typical else self.typical + (tokens - self.typical) / 16


@dataclass(slots=True)
class Entry:
    """What was taken, and when."""

    at: float
    amount: float


class TokenPace:
    """Lets at most `per_minute` tokens pass in any minute: smoothly, by a bucket, and exactly, by a list.

    Requests may take more than a bucket holds, and how much they take is known for certain only later.
    """

    __slots__ = ("_bucket", "_entries", "_sum")

    def __init__(self, per_minute: int, now: float) -> None:
        self._bucket = Bucket(per_minute, now)
        self._entries: deque[Entry] = deque()
        self._sum = 0.0

    def allow(self, per_minute: int, now: float) -> None:
        """Keep to another number, from now on."""
        if per_minute != self._bucket.per_minute:
            self._bucket = Bucket(per_minute, now, full=False)

    def ready(self, now: float, amount: float) -> float:
        """When `amount` may be taken; more than is allowed in a minute may be taken when nothing else was."""
        entries = self._entries
        while entries and entries[0].at <= now - MINUTE:
            self._sum -= entries.popleft().amount
        over, at = self._sum + amount - self._bucket.per_minute, self._bucket.ready(now, amount)
        for entry in entries:
            if over <= ROUNDING:
                break
            over, at = over - entry.amount, max(at, entry.at + MINUTE)
        return at

    def take(self, now: float, amount: float) -> Entry:
        """Take an amount; what is given back is for `correct`."""
        self._bucket.take(now, amount)
        entry = Entry(now, amount)
        self._entries.append(entry)
        self._sum += amount
        return entry

    def correct(self, entry: Entry, amount: float) -> None:
        """Put what really was taken in the place of a guess."""
        self._bucket.take(self._bucket.at, amount - entry.amount)
        if self._entries and entry.at >= self._entries[0].at:
            self._sum += amount - entry.amount
        entry.amount = amount


def tokens_allowed(pace: TokenPace | None, per_minute: int | None, now: float) -> TokenPace | None:
    """The pace of what the user allows in a minute: the one there is, with the number as it is now."""
    if per_minute is None:
        return None
    pace = pace or TokenPace(per_minute, now)
    pace.allow(per_minute, now)
    return pace
