"""Requests for embeddings: filled from the batches of a question, never late, and each batch with its own outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from engine_kit import Server, Simulation, pairs, question

from polar_llama.exec.base import Limits, Tally
from polar_llama.exec.job import CANCELLED
from polar_llama.exec.turns import LONGEST, LULL
from polar_llama.providers.base import Ask, Failure, Room, Usage, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.exec.base import Question


@dataclass
class Embedder(Server):
    """Embeds a text as itself, `texts` at most at a time; fails as `fail` says."""

    texts: int = 100
    size: int = 10_000
    fail: Callable[[Sequence[str]], Failure | None] = lambda _: None
    requests: list[list[str]] = field(default_factory=list)

    def room(self, ask: Ask) -> Room:
        return Room(self.texts, self.size)

    async def embed(self, ask: Ask, texts: Sequence[str], timeout: float) -> Vectors | Failure:
        self.requests.append(list(texts))
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.latency)
        return self.fail(texts) or Vectors(tuple(texts), Usage(input=len(texts)))


def asking(server: Embedder, **changed: object) -> Question:
    return question(server, ask=Ask("m", embedding=True), **changed)


def sizes(server: Embedder) -> list[int]:
    return [len(texts) for texts in server.requests]


def test_small_batches_share_requests() -> None:
    server, tally = Embedder(), Tally()
    simulation = Simulation(server)
    one = asking(server, tally=tally)

    async def scenario(sim: Simulation) -> None:
        for i in range(50):
            sim.batch(one, pairs(7, 7 * i))
            await asyncio.sleep(0.0005)

    simulation.run(scenario)
    assert sizes(server) == [100, 100, 100, 50]
    assert server.requests[0] == [f"prompt {i}" for i in range(100)], "in their order"
    assert (tally.sent, tally.replied, tally.input_tokens) == (4, 4, 350)
    assert {key: value for _, key, value in simulation.finished} == dict(pairs(350))


@pytest.mark.parametrize("texts", [1, 10])
def test_a_full_request_does_not_wait(texts: int) -> None:
    server = Embedder(texts=texts)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(asking(server), pairs(10))

    simulation.run(scenario)
    assert set(server.times) == {0.0}


def test_one_that_is_not_full_waits_for_a_moment_only() -> None:
    server = Embedder()
    simulation = Simulation(server)
    one = asking(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(one, pairs(3))
        await asyncio.sleep(1)
        for i in range(90):  # they never cease to come
            sim.batch(one, pairs(1, 3 + i))
            await asyncio.sleep(0.8 * LULL)

    simulation.run(scenario)
    assert server.times[0] == pytest.approx(LULL)
    assert server.times[1] == pytest.approx(1 + LONGEST)
    assert sum(sizes(server)) == 93
    assert all(b - a <= LONGEST + LULL for a, b in zip(server.times[1:], server.times[2:], strict=False))


def test_bytes_bound_a_request_too() -> None:
    server = Embedder(size=40)
    simulation = Simulation(server)
    one = asking(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(one, pairs(2))
        sim.batch(one, [(b"long", "x" * 100)])
        sim.batch(one, pairs(6, 2))

    simulation.run(scenario)
    assert [sum(map(len, texts)) for texts in server.requests] == [16, 100, 40, 8]


def test_the_text_that_is_wrong_is_found_among_several_batches() -> None:
    def fail(texts: Sequence[str]) -> Failure | None:
        return Failure("bad_request", "no") if "prompt 13" in texts else None

    server = Embedder(fail=fail)
    simulation = Simulation(server)
    batches = []
    one = asking(server)

    async def scenario(sim: Simulation) -> None:
        batches.extend(sim.batch(one, pairs(5, 5 * i)) for i in range(6))

    simulation.run(scenario)
    assert all(batch.done for batch in batches)
    assert [key for _, key, value in simulation.finished if isinstance(value, Failure)] == [b"k13"]
    assert isinstance(batches[2].results[b"k13"], Failure)
    assert len(batches[2].results) == 5


@pytest.mark.parametrize("gone", [0, 1, 2])
@pytest.mark.parametrize("when", [0.0, 0.03, 0.2])
def test_a_batch_that_is_cancelled_takes_its_texts_out(gone: int, when: float) -> None:
    """Before it is sent, while it is on its way, and while it waits for its retry."""
    fails = iter([Failure("overloaded", "busy", retry_after=1.0)])
    server = Embedder(fail=lambda _: next(fails, None))
    simulation = Simulation(server)
    one = asking(server, limits=Limits(max_retries=3))
    batches = []

    async def scenario(sim: Simulation) -> None:
        batches.extend(sim.batch(one, pairs(5, 5 * i)) for i in range(3))
        await asyncio.sleep(when)
        sim.lane.stop(batches[gone], CANCELLED)

    simulation.run(scenario)
    assert sizes(server)[-1] == 10
    for number, batch in enumerate(batches):
        assert batch.done
        assert all((value is CANCELLED) == (number == gone) for value in batch.results.values())
    assert not simulation.lane.busy


def test_a_refusal_for_good_ends_them_all() -> None:
    server = Embedder(fail=lambda _: Failure("auth", "wrong key"))
    simulation = Simulation(server)
    one = asking(server)

    async def scenario(sim: Simulation) -> None:
        for i in range(30):
            sim.batch(one, pairs(5, 5 * i))

    simulation.run(scenario)
    assert len(simulation.finished) == 150
    assert sizes(server) == [100, 50]


def test_nobody_waits_for_what_does_not_come() -> None:
    server = Embedder()
    simulation = Simulation(server)
    one = asking(server)

    async def scenario(sim: Simulation) -> None:
        for start in (0, 10):
            batch = sim.batch(one, pairs(10, start))
            sim.lane.hurry(one)
            await asyncio.sleep(1.0)
            assert batch.done
        sim.batch(one, pairs(10, 20))

    simulation.run(scenario)
    assert [round(at, 3) for at in server.times] == [0.0, 1.0, 2.0 + LULL]
