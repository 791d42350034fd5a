"""A lane whose budget says "later": requests wait for those in flight, and for nothing else."""

from __future__ import annotations

import pytest
from engine_kit import Server, Simulation, pairs, question

from polar_llama.exec.base import Later, Limits, Tally
from polar_llama.exec.job import CANCELLED
from polar_llama.providers.base import Failure


class Narrow:
    """A gate that lets so many through at once, whatever the lane's limit."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.flying = self.widest = self.refused = 0
        self.later = Later()

    def __call__(self) -> Later | None:
        if self.flying >= self.most:
            self.refused += 1
            return self.later
        self.flying += 1
        self.widest = max(self.widest, self.flying)
        return None

    def settled(self) -> None:
        self.flying -= 1
        self.later.over()


@pytest.mark.parametrize("most", [1, 3])
def test_what_has_to_wait_is_asked_in_the_end(most: int) -> None:
    server, gate, tally = Server(), Narrow(most), Tally()
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, gate=gate, settled=gate.settled, tally=tally), pairs(60))
        sim.batch(question(server, gate=gate, settled=gate.settled, tally=tally), pairs(60, 60))

    simulation.run(scenario)
    assert len(simulation.finished) == tally.sent == server.asked == 120
    assert tally.failed == 0
    assert gate.widest == server.most == most
    assert gate.refused < 3 * 120  # nobody spins


def test_retries_wait_too() -> None:
    server, gate = Server(faults=((0.5, Failure("network", "connection reset")),)), Narrow(2)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, gate=gate, settled=gate.settled), pairs(50))

    simulation.run(scenario)
    assert all(not isinstance(value, Failure) for _, _, value in simulation.finished)
    assert gate.widest == 2
    assert server.asked > 50


def test_calls_with_another_budget_pass() -> None:
    server, gate = Server(latency=1.0), Narrow(1)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        limits = Limits(max_concurrency=8)
        sim.batch(question(server, gate=gate, settled=gate.settled, limits=limits), pairs(10))
        sim.batch(question(server, limits=limits), pairs(70, 10))

    simulation.run(scenario)
    free = [at for at, key, _ in simulation.finished if int(key[1:]) >= 10]
    assert len(free) == 70
    assert max(free) < 12  # seven or eight at a time; behind the other call it would be twenty
    assert server.most == 8


def test_what_waits_is_cancelled_with_its_batch() -> None:
    server, gate = Server(latency=1.0), Narrow(1)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        first = sim.batch(question(server, gate=gate, settled=gate.settled), pairs(5))
        second = sim.batch(first.question, pairs(5, 5))
        sim.lane.stop(first, CANCELLED)
        assert not second.done

    simulation.run(scenario)
    outcomes = {key: value for _, key, value in simulation.finished}
    assert len(outcomes) == 10
    assert [isinstance(outcomes[f"k{i}".encode()], Failure) for i in range(10)] == [False] + [True] * 4 + [False] * 5
