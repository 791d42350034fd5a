"""What the engine's tests share: a loop whose clock jumps, servers in it, and questions."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polar_llama.exec.base import Limits, Question, Tally
from polar_llama.exec.job import Batch
from polar_llama.exec.lane import Lane
from polar_llama.providers.base import Ask, Failure, Request, Response, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence


class _Jumping(selectors.DefaultSelector):
    """Never waits: moves the loop's clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        assert ready or timeout is not None, "everything waits for something that never comes"
        if not ready:
            self.now += timeout or 0.0
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


@dataclass
class Server:
    """A provider: answers after `latency`, refuses above `capacity` or `rate`, fails by `faults`.

    `faults` are (share, failure) pairs; which one a prompt meets depends on the seed, the prompt and the attempt.
    """

    latency: float = 0.05
    capacity: int | None = None
    rate: float | None = None
    retry_after: float | None = 1.0
    faults: Sequence[tuple[float, Failure]] = ()
    seed: int = 0
    travel: float = 0.001
    identity: str = "test"
    host: str = "test.example"
    answer: Callable[[Request], Response | Failure] | None = None
    busy: int = 0
    asked: int = 0
    refused: int = 0
    most: int = 0
    sent: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    closed: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def complete(self, request: Request) -> Response | Failure:
        now = asyncio.get_running_loop().time()
        self.asked += 1
        self.sent.append(request.prompt)
        self.times.append(now)
        if self.travel:
            await asyncio.sleep(self.travel)
        if self._full():
            self.refused += 1
            return Failure("rate_limited", "too many requests", status=429, retry_after=self.retry_after)
        attempt = self.attempts.get(request.prompt, 0)
        self.attempts[request.prompt] = attempt + 1
        draw = random.Random(f"{self.seed} {request.prompt} {attempt}").random()
        for share, failure in self.faults:
            if draw < share:
                return failure
            draw -= share
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            if self.latency:
                await asyncio.sleep(self.latency * self._random.uniform(0.95, 1.05))
        finally:
            self.busy -= 1
        if self.answer is not None:
            return self.answer(request)
        return Response(request.prompt.upper(), Usage(10, 5), "test-1")

    def _full(self) -> bool:
        if self.capacity is not None and self.busy >= self.capacity:
            return True
        if self.rate is None:
            return False
        now = asyncio.get_running_loop().time()
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) >= self.rate:
            return True
        self._recent.append(now)
        return False

    async def aclose(self) -> None:
        self.closed += 1


class MemoryCache:
    """A cache in memory that remembers how it was used."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.commits: list[int] = []
        self.looked_up = 0

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        self.looked_up += len(keys)
        return {key: self.stored[key] for key in keys if key in self.stored}

    def put_many(self, items: Mapping[bytes, bytes]) -> None:
        self.stored.update(items)
        self.commits.append(len(items))

    def close(self) -> None:
        pass


def question(provider: Server, **changes: object) -> Question:
    """A question about plain text, its cache off."""
    given: dict[str, object] = {
        "provider": provider,
        "ask": Ask("m"),
        "parse": None,
        "limits": Limits(),
        "mode": "use",
        "cache": None,
        "gate": lambda: None,
        "tally": Tally(),
        **changes,
    }
    return Question(**given)  # type: ignore[arg-type]


def pairs(count: int, start: int = 0) -> list[tuple[bytes, str]]:
    """Keys and prompts."""
    return [(f"k{i}".encode(), f"prompt {i}") for i in range(start, start + count)]


class Simulation:
    """A lane in virtual time."""

    def __init__(self, server: Server, seed: int = 0) -> None:
        self.server = server
        self.loop = VirtualLoop()
        self.lane: Lane
        self.finished: list[tuple[float, bytes, object]] = []
        self._seed = seed
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, scenario: Callable[[Simulation], Awaitable[None]]) -> float:
        """Run a scenario to its end, and the lane to its; gives the second of the last outcome."""
        self.loop.run_until_complete(self._main(scenario))
        self.loop.close()
        return self.finished[-1][0]

    def batch(self, asking: Question, items: list[tuple[bytes, str]]) -> Batch:
        """Queue prompts."""
        batch = Batch(asking, len(items), lambda b: None)
        self.lane.add(batch, items)
        return batch

    async def _main(self, scenario: Callable[[Simulation], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            self.lane = Lane(
                self.server,
                loop=self.loop,
                spawn=lambda work: self._tasks.append(group.create_task(work)),
                finish=self._finish,
                idle=lambda: None,
                random=random.Random(self._seed).random,
            )
            await scenario(self)
            while self.lane.busy:  # noqa: ASYNC110 -- virtual time
                await asyncio.sleep(0.05)

    def _finish(self, batch: Batch, key: bytes, value: object, reply: Response | None) -> None:
        assert (reply is None) == isinstance(value, Failure)
        self.finished.append((self.loop.time(), key, value))
        batch.settle([(key, value)])
