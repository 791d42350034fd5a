"""Faults: seeded, and decided per request whatever the order of arrival."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

FaultKind = Literal[
    "rate_limited",  # 429
    "server_error",  # 500
    "overloaded",  # 503, at Anthropic 529
    "bad_request",  # 400
    "auth",  # 401, or what the vendor says to a wrong key
    "quota",  # spent quota: a 429 that waiting does not heal
    "unknown_model",  # 404
    "reset",  # the connection is reset before the reply
    "truncated",  # the connection ends within the reply's body
    "malformed",  # 200 with broken JSON
    "slow",  # the answer, later
]


@dataclass(frozen=True, slots=True)
class EmulatedFault:
    """What happens to a request instead of an answer.

    Attributes:
        kind: What goes wrong.
        retry_after: Seconds the reply asks to wait (`rate_limited`, `server_error`, `overloaded`).
        seconds: How much later a `slow` answer comes.
    """

    kind: FaultKind
    retry_after: float | None = None
    seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often what goes wrong: shares of the requests, from 0 to 1, together at most 1.

    Which request is hit depends on the emulator's seed, the request itself and how often it came
    before: a retry is a new draw, and runs repeat whatever the order of arrival.

    Attributes:
        rate_limited: 429.
        server_error: 500.
        overloaded: 503, at Anthropic 529.
        bad_request: 400.
        reset: The connection is reset before the reply.
        truncated: The connection ends within the reply's body.
        malformed: 200 with broken JSON.
        slow: The answer comes `slow_seconds` later.
        slow_seconds: Seconds.
        retry_after: Seconds that 429, 500 and 503 replies ask to wait; None does not say.
    """

    rate_limited: float = 0.0
    server_error: float = 0.0
    overloaded: float = 0.0
    bad_request: float = 0.0
    reset: float = 0.0
    truncated: float = 0.0
    malformed: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 1.0
    retry_after: float | None = None

    def __post_init__(self) -> None:
        shares = [share for _, share in self._shares()]
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise ValueError(f"fault shares must be 0 or more and 1 at most in total, not {shares}")

    def _shares(self) -> tuple[tuple[FaultKind, float], ...]:
        return (
            ("rate_limited", self.rate_limited),
            ("server_error", self.server_error),
            ("overloaded", self.overloaded),
            ("bad_request", self.bad_request),
            ("reset", self.reset),
            ("truncated", self.truncated),
            ("malformed", self.malformed),
            ("slow", self.slow),
        )

    def strike(self, where: float) -> EmulatedFault | None:
        """The fault at `where` in [0, 1), or None."""
        for kind, share in self._shares():
            if where < share:
                waits = kind in {"rate_limited", "server_error", "overloaded"}
                return EmulatedFault(kind, self.retry_after if waits else None, self.slow_seconds)
            where -= share
        return None


def chance(seed: int, purpose: str, digest: bytes, seen: int) -> float:
    """A number in [0, 1) for the `seen`-th coming of the request with this digest."""
    drawn = blake2b(f"{seed} {purpose} {seen}".encode() + digest, digest_size=6).digest()
    return int.from_bytes(drawn, "big") / 2**48
