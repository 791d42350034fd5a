"""What the emulator has seen."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from polar_llama.providers.base import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Stats:
    """What an emulator has seen since it started, or since `reset()`.

    Attributes:
        requests: HTTP requests that arrived complete.
        answered: Requests that got a complete answer (status 200).
        refused: Requests refused with 429.
        abandoned: Requests whose client hung up before the reply.
        connections: Connections opened.
        max_in_flight: The most requests in flight at once.
        distinct: Different requests (path and body) among those that were understood.
        by_provider: Requests per wire format.
        by_status: Replies per HTTP status.
        faults: Faults per kind.
        usage: Tokens of the answers, in total.
        prompts: How often each prompt (or text to embed) was answered, in order of the first
            answer; empty with `record=False`.
    """

    requests: int
    answered: int
    refused: int
    abandoned: int
    connections: int
    max_in_flight: int
    distinct: int
    by_provider: Mapping[str, int]
    by_status: Mapping[int, int]
    faults: Mapping[str, int]
    usage: Usage
    prompts: Counter[str] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the prompts, for JSON."""
        counts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"prompts", "usage"}}
        return {**counts, "input_tokens": self.usage.input, "output_tokens": self.usage.output}


class Tally:
    """Counts, on the server's thread; read from any."""

    def __init__(self, *, record: bool) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but the requests in flight."""
        with self._lock:
            self._requests = self._answered = self._abandoned = self._connections = 0
            self._max_in_flight = self._in_flight
            self._seen: dict[bytes, int] = {}
            self._providers: Counter[str] = Counter()
            self._statuses: Counter[int] = Counter()
            self._faults: Counter[str] = Counter()
            self._prompts: Counter[str] = Counter()
            self._input = self._output = self._cached = 0

    def connected(self) -> None:
        """A connection was opened."""
        with self._lock:
            self._connections += 1

    def arrived(self, provider: str) -> None:
        """A request arrived complete."""
        with self._lock:
            self._requests += 1
            self._providers[provider] += 1
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def understood(self, digest: bytes) -> int:
        """A request was understood; how often it came before."""
        with self._lock:
            before = self._seen.get(digest, 0)
            self._seen[digest] = before + 1
            return before

    def failed(self, kind: str) -> None:
        """A fault struck."""
        with self._lock:
            self._faults[kind] += 1

    def replied(self, status: int | None, prompts: tuple[str, ...], usage: Usage | None) -> None:
        """A reply was sent; `usage` says that it was a complete answer, status None that it never left."""
        with self._lock:
            self._in_flight -= 1
            if status is not None:
                self._statuses[status] += 1
            if usage is not None:
                self._answered += 1
                self._input += usage.input
                self._output += usage.output
                self._cached += usage.cached
                if self._record:
                    for prompt in prompts:
                        self._prompts[prompt] += 1

    def abandoned(self) -> None:
        """A client hung up before the reply."""
        with self._lock:
            self._in_flight -= 1
            self._abandoned += 1

    def read(self) -> Stats:
        """A consistent copy."""
        with self._lock:
            return Stats(
                self._requests,
                self._answered,
                self._statuses[429],
                self._abandoned,
                self._connections,
                self._max_in_flight,
                len(self._seen),
                dict(self._providers),
                {status: count for status, count in self._statuses.items() if count},
                dict(self._faults),
                Usage(self._input, self._output, self._cached),
                Counter(self._prompts),
            )
