"""A lane against servers of every temper, in virtual time: what is asserted in seconds took none."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from engine_kit import Server, Simulation, VirtualLoop, pairs, question

from polar_llama.exec import retry
from polar_llama.exec.base import Limits, Tally
from polar_llama.exec.budget import Budget
from polar_llama.providers.base import Ask, Failure, Quota, Request, Response, Usage

FAULTS = (
    (0.02, Failure("rate_limited", "too many requests", status=429, retry_after=1.0)),
    (0.01, Failure("overloaded", "internal error", status=500)),
    (0.005, Failure("network", "connection reset")),
    (0.005, Failure("malformed", "cut off")),
)


def simulate(server: Server, count: int, limits: Limits, seed: int = 0) -> tuple[float, Simulation, Tally]:
    simulation, tally = Simulation(server, seed), Tally()

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, limits=limits, tally=tally), pairs(count))

    took = simulation.run(scenario)
    assert Counter(key for _, key, _ in simulation.finished) == Counter(key for key, _ in pairs(count))
    assert tally.sent == tally.replied == server.asked
    return took, simulation, tally


def bare(server: Server, count: int, workers: int, seed: int = 0) -> float:
    """The client most people would write: workers that sleep through their own retries."""
    loop, draw = VirtualLoop(), random.Random(seed).random

    async def work(items: list[str]) -> None:
        while items:
            prompt, failures = items.pop(), 0
            while isinstance(reply := await server.complete(Request(Ask("m"), prompt)), Failure):
                await asyncio.sleep(retry.wait(reply, failures, 6, draw()) or 0.0)
                failures += 1

    async def main() -> None:
        items = [prompt for _, prompt in reversed(pairs(count))]
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work(items))

    loop.run_until_complete(main())
    took = loop.time()
    loop.close()
    return took


@pytest.mark.parametrize("seed", range(3))
def test_isolated_faults_cost_no_more_than_a_bare_client_pays(seed: int) -> None:
    took, simulation, tally = simulate(Server(faults=FAULTS, seed=seed), 5_000, Limits(max_concurrency=256), seed)
    assert all(not isinstance(value, Failure) for _, _, value in simulation.finished)
    assert simulation.lane.limiter.limit == 256
    assert tally.retried == tally.sent - 5_000
    assert took <= 1.3 * bare(Server(faults=FAULTS, seed=seed), 5_000, 256, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_server_with_32_places_is_kept_busy_and_hardly_ever_refuses(seed: int) -> None:
    server = Server(capacity=32, seed=seed)
    took, simulation, _ = simulate(server, 2_000, Limits(), seed)
    assert all(not isinstance(value, Failure) for _, _, value in simulation.finished)
    assert took <= 1.4 * 2_000 / 32 * 0.05
    assert server.refused < 0.05 * server.asked


@pytest.mark.parametrize("cap", [35, 64, 256])
def test_a_limit_set_too_high_finds_down(cap: int) -> None:
    server = Server(capacity=32)
    took, simulation, _ = simulate(server, 2_000, Limits(max_concurrency=cap))
    assert all(not isinstance(value, Failure) for _, _, value in simulation.finished)
    assert took <= 1.4 * 2_000 / 32 * 0.05
    assert server.refused <= cap - 32 + 0.05 * 2_000


def test_an_explicit_limit_is_used_from_the_first_request() -> None:
    took, _, _ = simulate(Server(), 2_000, Limits(max_concurrency=256))
    assert took <= 1.1 * bare(Server(), 2_000, 256)


@pytest.mark.parametrize("retry_after", [1.0, None])
def test_a_server_with_a_rate_and_no_headers_is_not_hammered(retry_after: float | None) -> None:
    server = Server(rate=100, retry_after=retry_after)
    took, simulation, _ = simulate(server, 2_000, Limits())
    assert all(not isinstance(value, Failure) for _, _, value in simulation.finished)
    assert took <= 1.6 * 2_000 / 100
    assert server.refused < 0.1 * server.asked


def test_requests_a_minute_are_kept() -> None:
    server = Server()
    took, _, _ = simulate(server, 900, Limits(requests_per_minute=300))
    assert all(later - earlier >= 60 for earlier, later in zip(server.times, server.times[300:], strict=False))
    assert took < 185


def test_a_spent_quota_is_waited_for() -> None:
    server = Server()
    left = 10

    def answer(request: Request) -> Response:
        nonlocal left
        left -= 1
        return Response("x", quota=Quota(requests_limit=10, requests_remaining=max(left, 0), requests_reset=20.0))

    server.answer = answer
    took, _, _ = simulate(server, 11, Limits(max_concurrency=1))
    assert 2.4 < took < 3.0  # ten in twenty seconds: one in two


def test_a_waiting_retry_occupies_nothing() -> None:
    server = Server(latency=1.0)
    complete = server.complete

    async def once(request: Request) -> Response | Failure:
        if request.prompt == "prompt 0" and server.attempts.get("prompt 0", 0) == 0:
            server.attempts["prompt 0"] = 1
            server.asked += 1
            return Failure("overloaded", "busy", status=503, retry_after=60.0)
        return await complete(request)

    server.complete = once  # type: ignore[method-assign]
    _, simulation, _ = simulate(server, 20, Limits(max_concurrency=1))
    assert simulation.finished[-1][1] == b"k0"
    assert simulation.finished[-2][0] < 23


def test_a_request_is_tried_as_often_as_asked_and_then_fails() -> None:
    server = Server(faults=[(1.0, Failure("overloaded", "busy", status=500))])
    _, simulation, tally = simulate(server, 3, Limits(max_retries=2))
    assert server.asked == 9
    assert (tally.sent, tally.retried, tally.failed) == (9, 6, 3)
    assert all("given up after 3 tries" in value.message for _, _, value in simulation.finished)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["auth", "quota", "unknown_model"])
def test_what_cannot_heal_stops_the_lane_at_once_and_a_later_run_starts_fresh(kind: str) -> None:
    server = Server(answer=lambda r: broken if r.prompt == "prompt 3" else Response(r.prompt))
    broken = Failure(kind, "no such luck", status=401)  # type: ignore[arg-type]
    simulation = Simulation(server)
    limits = Limits(max_concurrency=8)

    async def scenario(sim: Simulation) -> None:
        first = question(server, limits=limits)
        batch = sim.batch(first, pairs(5_000))
        other = sim.batch(question(server, limits=limits), pairs(10, 5_000))
        while sim.lane.busy:  # noqa: ASYNC110 -- virtual time
            await asyncio.sleep(0.01)
        assert server.asked <= 24
        kinds = Counter(getattr(v, "kind", "answer") for v in batch.results.values())
        assert kinds[kind] == 1
        assert kinds["answer"] + kinds["stopped"] + 1 == 5_000
        stopped = next(v for v in batch.results.values() if getattr(v, "kind", "") == "stopped")
        assert "no such luck" in stopped.message  # type: ignore[attr-defined]
        assert other.done
        asked = server.asked
        late = sim.batch(first, pairs(5, 6_000))
        assert late.done
        assert server.asked == asked
        fresh = sim.batch(question(server, limits=limits), pairs(10, 7_000))
        while sim.lane.busy:  # noqa: ASYNC110 -- virtual time
            await asyncio.sleep(0.01)
        assert set(fresh.results.values()) == {f"prompt {i}" for i in range(7_000, 7_010)}

    simulation.run(scenario)


def test_a_server_that_cannot_be_reached_stops_the_run_instead_of_trying_every_row() -> None:
    server = Server(faults=[(1.0, Failure("network", "connection refused"))])
    took, simulation, tally = simulate(server, 10_000, Limits())
    assert server.asked < 200
    assert took < 60
    assert tally.failed == 10_000
    message = simulation.finished[-1][2].message  # type: ignore[attr-defined]
    assert "test.example" in message
    assert "connection refused" in message
    assert {getattr(value, "kind", "") for _, _, value in simulation.finished} == {"network"}


def test_a_server_that_comes_back_is_asked_again() -> None:
    server = Server()
    complete = server.complete
    hit: set[str] = set()

    async def down(request: Request) -> Response | Failure:
        if 0.2 < simulation.loop.time() < 2.0:
            hit.add(request.prompt)
            return Failure("network", "connection refused")
        return await complete(request)

    server.complete = down  # type: ignore[method-assign]
    simulation, tally = Simulation(server), Tally()

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, tally=tally), pairs(2_000))

    simulation.run(scenario)
    assert tally.failed == 0
    assert len(simulation.finished) == 2_000
    assert len(hit) < 400  # the others waited for the first sign of life


def test_the_gate_is_asked_once_a_send_and_closes_for_good() -> None:
    asked = 0

    def gate() -> Failure | None:
        nonlocal asked
        asked += 1
        return Failure("stopped", "max_requests=50 is reached") if asked > 50 else None

    server = Server(faults=FAULTS)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, gate=gate), pairs(1_000))

    simulation.run(scenario)
    assert server.asked == 50
    assert asked == 51
    failures = [v for _, _, v in simulation.finished if isinstance(v, Failure)]
    assert len(failures) >= 950
    assert {f.message for f in failures} == {"max_requests=50 is reached"}


def test_a_cancelled_batch_sends_nothing_more_and_keeps_what_was_in_flight() -> None:
    server = Server(latency=1.0)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        batch = sim.batch(question(server), pairs(100))
        await asyncio.sleep(0.5)
        sim.lane.stop(batch, Failure("stopped", "cancelled"))
        while not batch.done:  # noqa: ASYNC110 -- virtual time
            await asyncio.sleep(0.01)
        answers = [v for v in batch.results.values() if isinstance(v, str)]
        assert len(answers) == server.asked == 16
        assert len(batch.results) == 100

    simulation.run(scenario)


def test_an_invalid_answer_is_repaired_once() -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response("42" if request.repair and request.prompt == "prompt 0" else "many", Usage(3, 2))

    server, tally = Server(answer=answer), Tally()
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, parse=int, tally=tally), pairs(2))

    simulation.run(scenario)
    values = {key: value for _, key, value in simulation.finished}
    assert values[b"k0"] == 42
    assert isinstance(values[b"k1"], Failure)
    assert values[b"k1"].kind == "invalid"
    assert len(seen) == 4
    assert [r.repair for r in seen if r.repair] == [("many", "invalid literal for int() with base 10: 'many'")] * 2
    assert (tally.sent, tally.retried, tally.failed) == (4, 2, 1)
    assert (tally.input_tokens, tally.output_tokens) == (12, 8)


@pytest.mark.parametrize(
    ("reply", "schema", "kind"),
    [
        (Response("no", finish="refusal"), None, "refused"),
        (Response("", finish="filtered"), None, "refused"),
        (Response('{"a":', finish="length"), "{}", "truncated"),
        (Response("", finish="length"), None, "truncated"),
        (Response("", finish="tool"), None, "invalid"),
        (Response("", finish="error"), None, "malformed"),
        (Failure("bad_request", "unknown field", status=400), None, "bad_request"),
    ],
)
def test_what_is_no_answer_is_a_failure_of_its_row(reply: Response | Failure, schema: str | None, kind: str) -> None:
    server = Server(answer=lambda r: reply if r.prompt == "prompt 0" else Response("fine"))
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, ask=Ask("m", schema=schema), limits=Limits(max_retries=1)), pairs(3))

    simulation.run(scenario)
    values = {key: value for _, key, value in simulation.finished}
    assert getattr(values.pop(b"k0"), "kind", None) == kind
    assert set(values.values()) == {"fine"}


def test_a_cut_off_text_is_still_a_text() -> None:
    _, simulation, _ = simulate(Server(answer=lambda _: Response("half a sen", finish="length")), 1, Limits())
    assert simulation.finished[0][2] == "half a sen"


def test_a_providers_bug_is_a_failure_that_does_not_show_the_prompt() -> None:
    server = Server()

    async def raising(request: Request) -> Response:
        server.asked += 1
        raise KeyError(request.prompt)

    server.complete = raising  # type: ignore[method-assign]
    _, simulation, _ = simulate(server, 3, Limits())
    failures = [value for _, _, value in simulation.finished if isinstance(value, Failure)]
    assert len(failures) == 3
    assert "KeyError" in failures[0].message
    assert "prompt" not in failures[0].message


def test_calls_take_turns_and_the_batches_of_a_call_do_not() -> None:
    server = Server()
    simulation = Simulation(server)
    limits = Limits(max_concurrency=2)

    async def scenario(sim: Simulation) -> None:
        long = question(server, limits=limits)
        sim.batch(long, pairs(100))
        sim.batch(long, pairs(100, 100))
        sim.batch(question(server, limits=limits), pairs(5, 900))

    simulation.run(scenario)
    order = [int(key[1:]) for _, key, _ in simulation.finished]
    assert max(order.index(i) for i in range(900, 905)) < 15
    assert max(order.index(i) for i in range(100)) < min(order.index(i) for i in range(105, 200))


def test_the_strictest_limit_of_the_active_runs_holds() -> None:
    server = Server(latency=1.0)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, limits=Limits(max_concurrency=50)), pairs(400))
        await asyncio.sleep(0.5)
        assert server.busy == 50
        strict = sim.batch(question(server, limits=Limits(max_concurrency=2)), pairs(1, 900))
        while not strict.done:
            assert sim.lane.limiter.limit == 2
            await asyncio.sleep(0.01)
        assert sim.lane.limiter.limit == 50

    simulation.run(scenario)
    assert server.most == 50


class Finding(Server):
    """Takes the third form of a request only: each prompt is sent three times, if that may be."""

    async def complete(self, request: Request) -> Response | Failure:
        for _ in range(2):
            await super().complete(request)
            if (why := await request.another()) is not None:
                return why
        return await super().complete(request)


def test_further_requests_for_a_prompt_keep_the_pace() -> None:
    server, tally = Finding(latency=0.01), Tally()
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, limits=Limits(requests_per_minute=60), tally=tally), pairs(100))

    simulation.run(scenario)
    assert tally.sent == tally.replied == server.asked == 300
    times = server.times
    assert all(times[i + 60] - times[i] >= 60 for i in range(len(times) - 60))


def test_further_requests_for_a_prompt_pass_the_budget() -> None:
    budget = Budget(max_requests=7, max_cost=None)
    server, tally = Finding(), Tally()
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        asking = question(server, gate=lambda: budget.admit(None), again=budget.again, tally=tally)
        sim.batch(asking, pairs(100))

    simulation.run(scenario)
    assert tally.sent == tally.replied == server.asked == 7
    assert {v.message for _, _, v in simulation.finished if isinstance(v, Failure)} == {"max_requests=7 is reached"}
    assert simulation.lane.limiter.in_flight == 0


def test_a_cancelled_batch_sends_no_further_requests() -> None:
    server = Finding(latency=1.0)
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        batch = sim.batch(question(server), pairs(10))
        await asyncio.sleep(0.5)
        sim.lane.stop(batch, Failure("stopped", "cancelled"))
        await asyncio.sleep(5.0)
        assert batch.done

    simulation.run(scenario)
    assert server.asked == 10


def test_what_was_not_sent_is_not_counted() -> None:
    refunds: Counter[str] = Counter()

    def refund() -> None:
        refunds["request"] += 1

    server, tally = Server(answer=lambda _: Failure("bad_request", "not sent", sent=False)), Tally()
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        sim.batch(question(server, tally=tally, refund=refund), pairs(20))

    simulation.run(scenario)
    assert (tally.sent, tally.replied, tally.failed, refunds["request"]) == (0, 0, 20, 20)
    assert simulation.lane.limiter.in_flight == 0


@pytest.mark.parametrize(
    ("limit", "system", "max_tokens"), [(6_000, None, None), (6_000, 8_000, None), (2_000, 0, 500)]
)
def test_no_minute_holds_more_tokens_than_are_allowed(limit: int, system: int | None, max_tokens: int | None) -> None:
    """From the first request on, when nothing was counted yet: what goes with every prompt is known."""
    tokens = 68 + (system or 0) // 4
    server = Server(latency=0.5, answer=lambda _: Response("x", Usage(tokens - 60, 60)))
    simulation = Simulation(server)
    ask = Ask(f"model of {limit} and {system}", system="x" * (system or 0), max_tokens=max_tokens)

    async def scenario(sim: Simulation) -> None:
        limits = Limits(tokens_per_minute=limit)
        sim.batch(question(server, ask=ask, limits=limits), [(b"%d" % i, f"{i}".zfill(32)) for i in range(100)])

    took = simulation.run(scenario)
    times = server.times
    assert max(sum(start <= at < start + 60 for at in times) * tokens for start in times) <= max(limit, tokens)
    assert took < 1.1 * 60 * 100 / (limit // tokens) + 30


def test_room_that_was_guessed_away_is_used_at_once() -> None:
    """Answers turn out to be a hundredth of `max_tokens`."""
    server = Server(latency=5.0, answer=lambda _: Response("x", Usage(8, 40)))
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        ask = Ask("m", max_tokens=4_000)
        sim.batch(question(server, ask=ask, limits=Limits(tokens_per_minute=6_000)), pairs(100))

    assert simulation.run(scenario) < 70


class Bucketed(Server):
    """Has `limit` tokens a minute, of which a request takes 88; says nothing of what is left, as Gemini."""

    limit = 6_000
    left = 6_000.0
    at = 0.0

    async def complete(self, request: Request) -> Response | Failure:
        await asyncio.sleep(self.latency / 10)
        now = asyncio.get_running_loop().time()
        self.left, self.at = min(self.limit, self.left + (now - self.at) * self.limit / 60), now
        if self.left < 88:
            self.asked += 1
            wait = None if self.retry_after is None else (88 - self.left) * 60 / self.limit
            return Failure("rate_limited", "too many tokens", status=429, retry_after=wait)
        self.left -= 88
        return await super().complete(request)


@pytest.mark.parametrize("latency", [0.1, 1.0])
@pytest.mark.parametrize("says", [1.0, None])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_server_that_is_asked_too_much_answers_every_row_in_the_end(
    latency: float, says: float | None, seed: int
) -> None:
    """A request that is refused while others are answered was unlucky, not wrong."""
    took, simulation, _ = simulate(Bucketed(latency=latency, retry_after=says), 150, Limits(), seed)
    assert not [value for _, _, value in simulation.finished if isinstance(value, Failure)]
    assert took < 1.15 * (150 * 88 - 6_000) / 100


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (2, 3)])
def test_refusals_use_up_the_tries_where_nothing_is_answered(retries: int, tries: int) -> None:
    _, simulation, tally = simulate(Server(capacity=0), 10, Limits(max_retries=retries))
    assert all(isinstance(value, Failure) for _, _, value in simulation.finished)
    assert tally.sent == 10 * tries


class Hanging(Server):
    """Never answers, and looks at no clock."""

    async def complete(self, request: Request) -> Response | Failure:
        self.asked += 1
        if request.prompt == "prompt 1":
            await request.another()
            return Response("x")
        await asyncio.Event().wait()
        raise AssertionError


def test_a_provider_that_hangs_is_given_up() -> None:
    server, tally = Hanging(), Tally()
    simulation = Simulation(server)

    async def scenario(sim: Simulation) -> None:
        limits = Limits(timeout=10.0, max_retries=1)
        sim.batch(question(server, limits=limits, tally=tally), pairs(2))

    took = simulation.run(scenario)
    values = {key: value for _, key, value in simulation.finished}
    assert values[b"k1"] == "x"
    assert isinstance(values[b"k0"], Failure)
    assert values[b"k0"].kind == "timeout"
    assert 2 * 10 < took < 2 * 16
    assert simulation.lane.limiter.in_flight == 0
