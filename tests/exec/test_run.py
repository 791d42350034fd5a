# ruff: noqa: RUF001 -- messages count with a multiplication sign
from __future__ import annotations

import asyncio
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from stage_kit import OnDemand, answers, batches, call, echo, frame, settings

from polar_llama.errors import AnswerError, BudgetError, ConfigurationError, ProviderError
from polar_llama.exec.pool import provider_for
from polar_llama.exec.report import last_run
from polar_llama.exec.run import Run, Slot, start_run
from polar_llama.providers.base import Failure, Response, Usage
from polar_llama.providers.registry import register_provider
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from polar_llama.providers.base import Connection, Request


def ask(run: Run, prompts: Sequence[str | None], **changes: Any) -> list[object]:
    return answers(run, [frame(prompts)], Slot("a", call(**changes)))["a"].to_list()


def upper(prompts: list[str | None]) -> list[str | None]:
    return [prompt and prompt.upper() for prompt in prompts]


# what is asked


@pytest.mark.parametrize("mode", ["use", "refresh", "off"])
def test_equal_rows_of_one_run_are_asked_once(tmp_path, mode):
    model, provider = echo()
    run = start_run(settings(tmp_path, model=model, cache=mode), {})
    prompts = [None if i % 10 == 0 else f"p{i % 300}" for i in range(3_000)]
    assert ask(run, prompts) == upper(prompts)
    assert ask(run, prompts) == upper(prompts)
    run.raise_failures()
    total = run.finish().total
    assert len(provider.prompts) == 270
    assert (total.rows, total.null_prompts, total.distinct, total.sent) == (6_000, 600, 270, 270)
    assert (total.cached, total.failed, total.input_tokens, total.output_tokens) == (0, 0, 2_700, 1_350)


@pytest.mark.parametrize(
    ("mode", "cache", "asked_again"),
    [("use", True, 0), ("use", False, 3), ("refresh", True, 3), ("off", True, 3)],
)
def test_the_next_run_asks_again_only_if_told_to(tmp_path, mode, cache, asked_again):
    model, provider = echo()
    ask(start_run(settings(tmp_path, model=model), {}), ["x", "y", "z"])
    run = start_run(settings(tmp_path, model=model, cache=mode), {})
    assert ask(run, ["x", "y", "z", "x"], cache=cache) == ["X", "Y", "Z", "X"]
    assert len(provider.prompts) == 3 + asked_again
    assert run.finish().total.cached == 3 - asked_again


@pytest.mark.parametrize(("mode", "cache", "kept"), [("refresh", True, "2"), ("use", False, "2"), ("off", True, "1")])
def test_what_is_asked_again_replaces_what_was_kept(tmp_path, mode, cache, kept):
    counter = itertools.count(1)
    model, _ = echo(lambda _: Response(str(next(counter)), Usage(1, 1)))
    ask(start_run(settings(tmp_path, model=model), {}), ["x"])
    assert ask(start_run(settings(tmp_path, model=model, cache=mode), {}), ["x"], cache=cache) == ["2"]
    assert ask(start_run(settings(tmp_path, model=model), {}), ["x"]) == [kept]


def test_replay_never_sends_and_needs_no_key(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model, provider = echo()
    ask(start_run(settings(tmp_path, model=model), {}), ["x"])
    run = start_run(settings(tmp_path, model=model, cache="replay", max_cost=1.0), {})
    assert ask(run, ["x", "y"], cache=False) == ["X", None]
    assert provider.prompts == ["x"]
    with pytest.raises(AnswerError, match=r"1 of 2 rows have no answer: 1 × replay .*row 1\. cache=\"replay\" never"):
        run.raise_failures()
    start_run(settings(tmp_path, cache="replay"), {}).prepare([call("openai:gpt-6-luna")])


def test_two_threads_share_a_run(tmp_path):
    model, provider = echo()
    run = start_run(settings(tmp_path, model=model, cache="off"), {})
    given = frame([f"p{i % 2_000}" for i in range(6_000)])

    def one(rows: int) -> pl.DataFrame:
        return answers(run, batches(given, rows), Slot("a", call()))

    with ThreadPoolExecutor(2) as pool:
        for got in pool.map(one, (700, 1_100)):
            assert got["a"].to_list() == upper(given["a"].to_list())
    assert len(provider.prompts) == 2_000
    assert run.finish().total.rows == 12_000


def test_a_closed_stage_sends_no_more(tmp_path):
    model, provider = echo()
    gate = threading.Event()

    async def hold() -> None:
        while not gate.is_set():  # noqa: ASYNC110 -- opened by another thread
            await asyncio.sleep(0.001)

    provider.hold = hold
    run = start_run(settings(tmp_path, model=model, max_concurrency=2), {})
    stream = run.answer([frame([f"p{i}" for i in range(100)])], [Slot("a", call())], heartbeat=True)
    assert next(stream).is_empty()
    assert provider.arrived.wait(10)
    stream.close()
    gate.set()
    last = start_run(settings(tmp_path, model=model, max_concurrency=2), {})
    assert ask(last, ["p0", "p1", "p99"]) == ["P0", "P1", "P99"]
    assert sorted(provider.prompts) == ["p0", "p1", "p99"]


# what fails


def picky(request: Request) -> Response | Failure:
    number = int(request.prompt)
    if number % 1_000 == 17:
        return Failure("bad_request", "the prompt is too long", status=400)
    if number == 99:
        return Failure("refused", "the model refused to answer", billed=Usage(3, 4))
    return Response(str(number + 1), Usage(10, 5))


def numbers(n: int) -> list[str | None]:
    return [str(i) for i in range(n)]


def test_raise_counts_and_samples_after_everything_else_was_answered(tmp_path):
    model, provider = echo(picky)
    run = start_run(settings(tmp_path, model=model), {})
    got = ask(run, numbers(3_000), returns=int)
    assert got == [None if i % 1_000 == 17 or i == 99 else i + 1 for i in range(3_000)]
    with pytest.raises(AnswerError) as raised:
        run.raise_failures()
    assert str(raised.value) == (
        "4 of 3,000 rows have no answer: 3 × 400 bad_request (the prompt is too long), e.g. rows 17, 1017, 2017; "
        "1 × refused (the model refused to answer), row 99. "
        "All other answers are cached: run again to ask only for the rest."
    )
    assert run.finish().total.failed == 4
    sent = len(provider.prompts)
    again = start_run(settings(tmp_path, model=model), {})
    ask(again, numbers(3_000), returns=int)
    assert len(provider.prompts) == sent + 4


def test_rows_are_numbered_through_nulls_repeats_and_batches(tmp_path):
    model, _ = echo(picky)
    run = start_run(settings(tmp_path, model=model), {})
    prompts = [None, "1", "17", "2", "17", *["17"] * 7]
    answers(run, batches(frame(prompts), 3), Slot("a", call()))
    with pytest.raises(AnswerError, match=r"^9 of 12 rows have no answer: 9 × .*, e\.g\. rows 2, 4, 5, 6, 7\. "):
        run.raise_failures()


def test_null_and_struct_keep_going(tmp_path):
    model, _ = echo(picky)
    run = start_run(settings(tmp_path, model=model, on_error="null"), {})
    assert ask(run, ["16", "17"], returns=int) == [17, None]
    assert ask(run, ["16", "17", None], returns=int, on_error="struct") == [
        {"answer": 17, "error": None},
        {"answer": None, "error": "400 bad_request: the prompt is too long"},
        None,
    ]
    run.raise_failures()


def test_a_failure_is_not_asked_twice_in_a_run(tmp_path):
    model, provider = echo(picky)
    run = start_run(settings(tmp_path, model=model), {})
    for _ in range(3):
        ask(run, ["17"])
    assert provider.prompts == ["17"]


def test_a_refusal_for_good_stops_at_once_and_says_what_to_check(tmp_path):
    def locked(_: Request) -> Failure:
        return Failure("auth", "the key is not accepted", status=401)

    model, provider = echo(locked)
    run = start_run(settings(tmp_path, model=model, max_concurrency=1), {})
    pulled = []

    def source() -> Iterator[pl.DataFrame]:
        for piece in batches(frame(numbers(50_000)), 1_000):
            pulled.append(piece.height)
            yield piece

    with pytest.raises(
        ProviderError, match=rf"^{model}: 401 auth: the key is not accepted\. Check the provider's API key"
    ):
        answers(run, source(), Slot("a", call()))
    assert len(provider.prompts) == 1
    assert sum(pulled) <= 4_000


def test_a_provider_that_cannot_be_reached(tmp_path):
    model, _ = echo(lambda _: Failure("network", "connection refused"))
    run = start_run(settings(tmp_path, model=model, max_retries=0), {})
    assert ask(run, ["x", "y"]) == [None, None]
    with pytest.raises(ProviderError, match=r"connection refused.*Check the connection"):
        run.raise_failures()


def test_a_network_failure_of_one_row_is_a_failure_of_that_row(tmp_path):
    model, _ = echo(lambda r: Failure("network", "reset") if r.prompt == "x" else Response("ok", Usage(1, 1)))
    run = start_run(settings(tmp_path, model=model, max_retries=0), {})
    assert ask(run, ["x", "y"]) == [None, "ok"]
    with pytest.raises(AnswerError, match="1 of 2 rows"):
        run.raise_failures()


def test_errors_and_reports_hold_no_prompt(tmp_path):
    model, _ = echo(lambda _: Failure("bad_request", "wrong", status=400))
    run = start_run(settings(tmp_path, model=model), {})
    ask(run, ["very private words"])
    with pytest.raises(AnswerError) as raised:
        run.raise_failures()
    assert "private" not in str(raised.value) + str(run.finish()) + repr(run.finish().to_frame().rows())


@pytest.mark.parametrize(
    ("mode", "told"),
    [("off", 'are not kept, because cache="off"'), ("refresh", 'run again, with cache="use", to ask only')],
)
def test_the_way_on_depends_on_the_cache(tmp_path, mode, told):
    model, _ = echo(picky)
    run = start_run(settings(tmp_path, model=model, cache=mode), {})
    ask(run, ["17"])
    with pytest.raises(AnswerError, match=told):
        run.raise_failures()


# budgets


def test_max_requests_is_exact_and_what_came_back_is_kept(tmp_path):
    model, provider = echo(picky)
    run = start_run(settings(tmp_path, model=model, max_requests=50), {})
    with pytest.raises(BudgetError) as raised:
        ask(run, [str(i) for i in range(100, 300)])
    assert str(raised.value) == (
        "max_requests=50 is reached: 150 of 200 rows have no answer. "
        "All other answers are cached: raise the budget and run again to ask only for the rest."
    )
    assert len(provider.prompts) == 50
    again = start_run(settings(tmp_path, model=model), {})
    ask(again, [str(i) for i in range(100, 300)])
    assert len(provider.prompts) == 200


def test_a_budget_counts_all_calls_of_a_run_and_retries(tmp_path):
    failed_once: set[str] = set()

    def shaky(request: Request) -> Response | Failure:
        if request.prompt in failed_once:
            return Response("ok", Usage(1, 1))
        failed_once.add(request.prompt)
        return Failure("overloaded", "busy", status=500, retry_after=0.0)

    model, provider = echo(shaky)
    run = start_run(settings(tmp_path, model=model, max_requests=6, max_concurrency=1), {})
    assert ask(run, ["x"]) == ["ok"]
    assert ask(run, ["x"], seed=1) == ["ok"]
    with pytest.raises(BudgetError, match="max_requests=6"):
        ask(run, ["y", "z", "w"])
    assert len(provider.prompts) == 6


def test_max_requests_zero_answers_from_the_cache(tmp_path):
    model, _ = echo()
    ask(start_run(settings(tmp_path, model=model), {}), ["x"])
    run = start_run(settings(tmp_path, model=model, max_requests=0), {})
    assert ask(run, ["x"]) == ["X"]
    run.raise_failures()


# what is needed before the first request


def test_no_model_says_what_to_set(tmp_path):
    with pytest.raises(ConfigurationError) as raised:
        start_run(settings(tmp_path), {}).prepare([call()])
    for hint in ("model=", "configure(model=...)", "POLAR_LLAMA_MODEL", "local"):
        assert hint in str(raised.value)


def test_the_calls_model_wins(tmp_path):
    (one, first), (two, second) = echo(), echo()
    ask(start_run(settings(tmp_path, model=one), {}), ["x"], model=two)
    assert (first.prompts, second.prompts) == ([], ["x"])


def test_an_unknown_provider_and_a_missing_key_are_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    run = start_run(settings(tmp_path), {})
    with pytest.raises(ConfigurationError, match="nobody"):
        run.answer(iter(lambda: pytest.fail("was read"), None), [Slot("a", call("nobody:m"))])
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        run.prepare([call("openai:gpt-6-luna")])
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    run.prepare([call("openai:gpt-6-luna")])
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        start_run(settings(tmp_path), {}).prepare([call("openai:gpt-6-luna")])


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_sent(tmp_path):
    model, provider = echo()
    (tmp_path / "file").write_text("")
    run = start_run(settings(tmp_path, model=model, cache_dir=tmp_path / "file"), {})
    with pytest.raises(ConfigurationError):
        run.prepare([call()])
    assert provider.prompts == []


def test_max_cost_needs_a_known_price(tmp_path):
    model, _ = echo()
    with pytest.raises(ConfigurationError, match=r"price of 'echo.*' is not known.*max_requests"):
        start_run(settings(tmp_path, model=model, max_cost=1.0), {}).prepare([call()])


# what a run keeps and shares


def test_no_secret_reaches_what_is_kept(tmp_path, monkeypatch):
    seen: list[Connection] = []

    def create(connection: Connection) -> object:
        seen.append(connection)
        assert connection.environ.get("TEST_BASE_URL") == "http://x"
        return echo()[1]

    register_provider("watchful", create)  # type: ignore[arg-type]
    secrets = {"OPENAI_API_KEY": "s", "aws_secret_access_key": "s", "HF_TOKEN": "s", "DB_PASSWORD": "s"}
    run = start_run(settings(tmp_path, model="watchful:m"), {**secrets, "TEST_BASE_URL": "http://x"})
    run.prepare([call()])
    assert dict(seen[0].environ) == {"TEST_BASE_URL": "http://x"}
    monkeypatch.setenv("OPENAI_API_KEY", "read when sending")
    assert seen[0].secret("OPENAI_API_KEY") == "read when sending"


def test_a_provider_is_used_again_while_what_it_read_is_unchanged():
    def create(connection: Connection) -> object:
        connection.environ.get("POOLED_BASE_URL")
        return object()

    register_provider("pooled", create)  # type: ignore[arg-type]
    first = provider_for("pooled", "m", {"POOLED_BASE_URL": "a", "OTHER": "1"}, None)
    assert provider_for("pooled", "m", {"POOLED_BASE_URL": "a", "OTHER": "2"}, None) is first
    assert provider_for("pooled", "m", {"POOLED_BASE_URL": "b"}, None) is not first
    assert provider_for("pooled", "m", {}, None) is not first
    assert provider_for("pooled", "m", {"POOLED_BASE_URL": "a"}, None) is first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_providers():
    register_provider("forked", lambda _: object())  # type: ignore[arg-type, return-value]
    first = provider_for("forked", "m", {}, None)
    child = os.fork()
    if child == 0:
        os._exit(int(provider_for("forked", "m", {}, None) is first))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_local_file_is_a_provider_of_its_own(tmp_path):
    with pytest.raises(ConfigurationError, match=r"missing\.gguf"):
        start_run(settings(tmp_path), {}).prepare([call(f"local:{tmp_path / 'missing.gguf'}")])


def test_prepare_is_idempotent(tmp_path):
    model, _ = echo()
    run = Run(settings(tmp_path, model=model), {}, OnDemand)
    run.prepare([call(), call(), call(on_error="null")])
    assert len(run.finish().calls) == 1


# the last run


def test_the_last_run_is_that_of_whoever_started_it(tmp_path):
    model, _ = echo()

    def one(prompt: str) -> object:
        run = start_run(settings(tmp_path, model=model), {})
        before = last_run()
        ask(run, [prompt])
        finisher = threading.Thread(target=run.finish)
        finisher.start()
        finisher.join()
        assert run.finish() is run.finish()
        assert last_run() is run.finish()
        return before

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(one, "x").result() is None
        assert pool.submit(one, "y").result() is not None
        assert pool.submit(one, "y").result() is not None
    with ThreadPoolExecutor(1) as other:
        assert other.submit(last_run).result() is None


def test_an_unfinished_run_leaves_the_last_one(tmp_path):
    model, _ = echo()
    first = start_run(settings(tmp_path, model=model), {})
    report = first.finish()
    start_run(settings(tmp_path, model=model), {})
    assert last_run() is report


# over a real wire


def test_through_the_emulator(tmp_path, monkeypatch):
    with Emulator(answer=lambda request: request.prompt[::-1]) as emulator:
        environ = emulator.environ()
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        run = start_run(settings(tmp_path, model="openai:gpt-6-luna", max_cost=1.0), environ)
        prompts = [f"question {i % 500}" for i in range(2_000)]
        assert ask(run, prompts) == [prompt[::-1] for prompt in prompts]
        run.raise_failures()
        total = run.finish().total
        assert emulator.stats().requests == total.sent == total.distinct == 500
        assert total.input_tokens > 0
        assert total.cost is not None
        assert 0 < total.cost < 1


def test_max_cost_stops_before_it_is_exceeded(tmp_path, monkeypatch):
    with Emulator(latency=0.002) as emulator:
        environ = emulator.environ()
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        model = "openai:gpt-4o-mini"
        run = start_run(settings(tmp_path, model=model, max_cost=0.001, max_concurrency=4), environ)
        with pytest.raises(BudgetError, match=r"max_cost=\$0\.001"):
            ask(run, [f"question {i}" for i in range(2_000)], max_tokens=8)
        total = run.finish().total
        assert total.cost is not None
        assert 0.0008 < total.cost <= 0.001
        assert emulator.stats().requests == total.sent < 2_000
