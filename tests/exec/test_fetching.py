"""Requests whose images are fetched first: nothing is counted before, and nobody waits for them who need not."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from engine_kit import Server, Simulation, pairs, question

from polar_llama.exec.base import Limits, Tally
from polar_llama.exec.fetching import AT_ONCE
from polar_llama.exec.job import CANCELLED
from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from polar_llama.exec.base import Question


class Fetcher:
    """Fetches in `seconds`; remembers how many at once. Prompts in `broken` have no images."""

    def __init__(self, seconds: float = 1.0, broken: frozenset[str] = frozenset()) -> None:
        self.seconds, self.broken = seconds, broken
        self.now = self.most = self.calls = 0

    async def __call__(self, prompt: str, limits: Limits) -> str | Failure:
        self.now += 1
        self.calls += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        return Failure("bad_request", "no such file") if prompt in self.broken else f"bytes of {prompt}"


def asking(server: Server, images: Fetcher | None, **changed: object) -> Question:
    return question(server, images=images, **changed)


def test_what_is_sent_holds_the_bytes_and_a_retry_fetches_nothing() -> None:
    fault = (0.5, Failure("overloaded", "busy", status=500))
    server, images, tally = Server(faults=(fault,)), Fetcher(), Tally()
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(asking(server, images, tally=tally), pairs(100))

    simulation.run(scenario)
    assert set(server.sent) == {f"bytes of {prompt}" for _, prompt in pairs(100)}
    assert tally.retried > 20
    assert tally.sent == tally.replied == server.asked == 100 + tally.retried
    assert (images.calls, images.most) == (100, AT_ONCE)


def test_what_was_not_fetched_passed_no_gate() -> None:
    passed: Counter[str] = Counter()

    def gate() -> None:
        passed["gate"] += 1

    broken = frozenset(prompt for _, prompt in pairs(70))
    server, images, tally = Server(), Fetcher(broken=broken), Tally()
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(asking(server, images, tally=tally, gate=gate), pairs(100))

    simulation.run(scenario)
    assert passed["gate"] == tally.sent == tally.replied == server.asked == 30
    assert tally.failed == 70
    assert simulation.lane.limiter.in_flight == 0


def test_calls_without_images_pass_those_that_wait_for_theirs() -> None:
    server, images = Server(latency=0.1), Fetcher(seconds=60.0)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(asking(server, images), pairs(50))
        await asyncio.sleep(1.0)
        plain = sim.batch(asking(server, None), pairs(10, 100))
        await asyncio.sleep(1.0)
        assert plain.done

    assert simulation.run(scenario) > 180


def test_who_is_stopped_does_not_wait_for_images() -> None:
    server, images = Server(), Fetcher(seconds=60.0)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        one, other = asking(server, images), asking(server, images)
        first, second = sim.batch(one, pairs(5)), sim.batch(other, pairs(5, 10))
        await asyncio.sleep(1.0)
        sim.lane.stop(first, CANCELLED)
        assert first.done
        assert set(first.results.values()) == {CANCELLED}
        await asyncio.sleep(61.0)
        assert second.done

    simulation.run(scenario)
    assert sorted(server.sent) == [f"bytes of prompt {i}" for i in range(10, 15)]
