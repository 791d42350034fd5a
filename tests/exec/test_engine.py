"""The engine as a whole: its loop, its claims, its cache, its threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from engine_kit import MemoryCache, Server, pairs, question

from polar_llama.errors import ConfigurationError, PolarLlamaError
from polar_llama.exec import record
from polar_llama.exec.base import Limits, Tally
from polar_llama.exec.dispatch import Engine
from polar_llama.providers.base import Failure, Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from polar_llama.exec.base import Question
    from polar_llama.exec.job import Batch

WAIT = 10.0


@pytest.fixture
def engine() -> Iterator[Engine]:
    before = set(threading.enumerate())  # another test may have used the process's own engine
    engine = Engine()
    yield engine
    engine.close()
    left = {t.name for t in threading.enumerate() if t not in before}
    assert left.isdisjoint({"polar_llama", "polar_llama-cache"})


def quick(**changes: object) -> Server:
    return Server(**{"latency": 0.0, "travel": 0.0, **changes})  # type: ignore[arg-type]


def submit(engine: Engine, asking: Question, count: int, start: int = 0) -> Batch:
    items = pairs(count, start)
    return engine.submit(asking, [key for key, _ in items], [prompt for _, prompt in items])


class Held(Server):
    """Answers when told to."""

    def __init__(self) -> None:
        super().__init__(latency=0.0, travel=0.0)
        self.reached = threading.Event()
        self.go = threading.Event()

    async def complete(self, request: Request) -> Response | Failure:
        self.reached.set()
        while not self.go.is_set():  # noqa: ASYNC110 -- set from another thread
            await asyncio.sleep(0.001)
        return await super().complete(request)


def test_every_prompt_gets_its_answer(engine: Engine) -> None:
    server, tally = quick(), Tally()
    job = submit(engine, question(server, tally=tally), 500)
    assert job.wait(WAIT)
    assert job.done
    assert job.results == {key: prompt.upper() for key, prompt in pairs(500)}
    assert (tally.sent, tally.cached, tally.shared, tally.failed) == (500, 0, 0, 0)
    assert (tally.input_tokens, tally.output_tokens) == (5_000, 2_500)
    assert len(engine._claims) == 0


def test_nothing_to_ask_is_done_at_once(engine: Engine) -> None:
    assert submit(engine, question(quick()), 0).done


def test_an_answer_is_stored_before_it_is_seen_and_read_the_next_time(engine: Engine) -> None:
    server, cache = quick(), MemoryCache()
    seen_before_stored: list[bytes] = []
    put = cache.put_many

    def spying(items: Mapping[bytes, bytes]) -> None:
        seen_before_stored.extend(key for key in items if key in job.results)
        put(items)

    cache.put_many = spying  # type: ignore[method-assign]
    job = submit(engine, question(server, cache=cache), 3_000)
    assert job.wait(WAIT)
    assert seen_before_stored == []
    assert len(cache.stored) == 3_000
    assert len(cache.commits) <= 30
    tally = Tally()
    again = submit(engine, question(server, cache=cache, tally=tally), 3_100)
    assert again.wait(WAIT)
    assert again.results == {key: prompt.upper() for key, prompt in pairs(3_100)}
    assert (tally.cached, tally.sent) == (3_000, 100)


def test_a_stored_answer_that_does_not_validate_is_a_miss(engine: Engine) -> None:
    server, cache = quick(answer=lambda _: Response("7")), MemoryCache()
    cache.stored[b"k0"] = record.encode(Response("seven"), 0)
    cache.stored[b"k1"] = b"damaged"
    cache.stored[b"k2"] = record.encode(Response("3"), 0)
    job = submit(engine, question(server, cache=cache, parse=int), 3)
    assert job.wait(WAIT)
    assert job.results == {b"k0": 7, b"k1": 7, b"k2": 3}
    assert record.decode(cache.stored[b"k1"]).text == "7"


def test_failures_are_never_stored(engine: Engine) -> None:
    cache = MemoryCache()
    job = submit(engine, question(quick(answer=lambda _: Response("no", finish="refusal")), cache=cache), 5)
    assert job.wait(WAIT)
    assert cache.stored == {}


def test_replay_sends_nothing_and_says_what_is_missing(engine: Engine) -> None:
    server, cache, tally = quick(), MemoryCache(), Tally()
    cache.stored[b"k1"] = record.encode(Response("stored"), 0)
    job = submit(engine, question(server, cache=cache, mode="replay", tally=tally), 3)
    assert job.done
    assert job.results[b"k1"] == "stored"
    assert [getattr(job.results[key], "kind", None) for key in (b"k0", b"k2")] == ["replay", "replay"]
    assert (server.asked, tally.cached, tally.failed) == (0, 1, 2)


def test_refresh_asks_again_and_writes(engine: Engine) -> None:
    server, cache = quick(), MemoryCache()
    cache.stored[b"k0"] = record.encode(Response("old"), 0)
    job = submit(engine, question(server, cache=cache, read=False, scope="this run"), 1)
    assert job.wait(WAIT)
    assert record.decode(cache.stored[b"k0"]).text == "PROMPT 0"
    assert cache.looked_up == 0


def test_two_runs_at_once_pay_once(engine: Engine) -> None:
    server, cache, tally = Held(), MemoryCache(), Tally()
    first = submit(engine, question(server, cache=cache), 100)
    second = submit(engine, question(server, cache=cache, tally=tally, parse=str.lower), 150)
    server.go.set()
    assert first.wait(WAIT)
    assert second.wait(WAIT)
    assert server.asked == 150
    assert (tally.shared, tally.sent) == (100, 50)
    assert second.results == dict(pairs(150))
    assert len(engine._claims) == 0


def test_runs_that_must_not_share_do_not(engine: Engine) -> None:
    server = Held()
    jobs = [submit(engine, question(server, scope=scope), 10) for scope in ("a", "b")]
    server.go.set()
    assert all(job.wait(WAIT) for job in jobs)
    assert server.asked == 20


def test_who_shares_with_a_cancelled_run_asks_for_itself(engine: Engine) -> None:
    server, tally = Held(), Tally()
    first = submit(engine, question(server, limits=Limits(max_concurrency=4)), 50)
    second = submit(engine, question(server, tally=tally), 50)
    assert server.reached.wait(WAIT)
    first.cancel()
    server.go.set()
    assert first.wait(WAIT)
    assert second.wait(WAIT)
    assert sum(isinstance(value, Failure) for value in first.results.values()) == 46
    assert second.results == {key: prompt.upper() for key, prompt in pairs(50)}
    assert (tally.shared, tally.sent, server.asked) == (4, 46, 50)


def test_who_shares_with_a_run_of_wrong_credentials_asks_with_its_own(engine: Engine) -> None:
    locked, open_ = Held(), quick()
    locked.answer = lambda _: Failure("auth", "invalid key", status=401)
    first = submit(engine, question(locked), 20)
    second = submit(engine, question(open_), 20)
    locked.go.set()
    assert first.wait(WAIT)
    assert second.wait(WAIT)
    assert {getattr(v, "kind", None) for v in first.results.values()} <= {"auth", "stopped"}
    assert second.results == {key: prompt.upper() for key, prompt in pairs(20)}


def test_a_cancelled_sharer_waits_for_nobody(engine: Engine) -> None:
    server = Held()
    first = submit(engine, question(server), 10)
    second = submit(engine, question(server), 10)
    second.cancel()
    assert second.wait(WAIT)
    assert not first.done
    server.go.set()
    assert first.wait(WAIT)
    assert set(first.results.values()) == {prompt.upper() for _, prompt in pairs(10)}


class FullDisk(MemoryCache):
    def put_many(self, items: Mapping[bytes, bytes]) -> None:
        raise OSError(28, "No space left on device")


def test_answers_that_cannot_be_stored_are_handed_on_and_no_more_are_bought(engine: Engine) -> None:
    server = Server(latency=0.01, travel=0.0)
    job = submit(engine, question(server, cache=FullDisk(), limits=Limits(max_concurrency=8)), 2_000)
    assert job.wait(WAIT)
    assert isinstance(job.error, ConfigurationError)
    assert "No space left" in str(job.error)
    answers = [value for value in job.results.values() if isinstance(value, str)]
    assert len(answers) == server.asked < 2_000


class Unreadable(MemoryCache):
    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        msg = "the cache directory cannot be read"
        raise ConfigurationError(msg)


def test_a_cache_that_cannot_be_read_raises_and_leaves_no_claim(engine: Engine) -> None:
    server = quick()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        submit(engine, question(server, cache=Unreadable()), 3)
    assert server.asked == 0
    assert len(engine._claims) == 0


def test_many_threads_at_once(engine: Engine) -> None:
    server, cache = quick(), MemoryCache()

    def run(start: int) -> Mapping[bytes, object]:
        job = submit(engine, question(server, cache=cache), 400, start)
        assert job.wait(WAIT)
        return job.results

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(run, range(0, 1_600, 100)))
    for start, result in zip(range(0, 1_600, 100), results, strict=True):
        assert result == {key: prompt.upper() for key, prompt in pairs(400, start)}
    assert server.asked == 1_900


def test_a_caller_inside_a_running_loop(engine: Engine) -> None:
    async def main() -> bool:
        return submit(engine, question(quick()), 10).wait(WAIT)

    assert asyncio.run(main())


def test_waiting_ends_at_its_timeout(engine: Engine) -> None:
    server = Held()
    job = submit(engine, question(server), 1)
    assert job.wait(0.01) is False
    server.go.set()
    assert job.wait(WAIT) is True


def test_a_bug_of_the_engine_is_heard_and_not_waited_for() -> None:
    engine = Engine()

    class Torn(Tally):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "output_tokens" and value:
                raise RuntimeError("torn")
            super().__setattr__(name, value)

    job = submit(engine, question(quick(), tally=Torn()), 10)
    assert job.wait(WAIT)
    assert isinstance(job.error, PolarLlamaError)
    assert "torn" in str(job.error)
    assert engine.dead
    engine.close()


def test_closing_cancels_what_is_in_flight_and_closes_the_providers() -> None:
    engine, server = Engine(), Held()
    cache = MemoryCache()
    submit(engine, question(server, cache=cache), 10)
    assert server.reached.wait(WAIT)
    engine.close()
    assert server.closed == 1
    assert not engine.background._thread.is_alive()
