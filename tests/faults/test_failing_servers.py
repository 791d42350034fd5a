"""Servers that fail now and then, refuse, or are not there: nothing is lost, and errors say what to do."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from fault_kit import KEY, ask, prompts, right, told

import polar_llama as pll
from polar_llama.testing import EmulatedFault, Emulator, Faults, Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Emulate = Callable[..., Emulator]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_mix_of_faults_loses_nothing(emulate: Emulate, seed: int) -> None:
    faults = Faults(rate_limited=0.02, server_error=0.01, reset=0.005, truncated=0.005, retry_after=0.2)
    emulator = emulate(seed=seed, faults=faults)
    assert ask(1_000)["a"].to_list() == right(1_000)
    stats, run = emulator.stats(), pll.last_run()
    assert run is not None
    assert set(stats.faults) == {"rate_limited", "server_error", "reset", "truncated"}
    assert (run.total.sent, run.total.failed) == (stats.requests, 0)
    assert run.total.retried == sum(stats.faults.values()) == stats.requests - 1_000
    emulator.reset()
    assert ask(1_000)["a"].to_list() == right(1_000)
    assert emulator.stats().requests == 0


def test_a_server_that_takes_32_at_once_refuses_few(emulate: Emulate) -> None:
    emulator = emulate(latency=0.05, limits=Limits(max_in_flight=32, retry_after=1))
    assert ask(1_000)["a"].to_list() == right(1_000)
    stats = emulator.stats()
    assert stats.refused < 0.05 * stats.requests
    assert stats.answered == 1_000


def test_an_explicit_concurrency_is_kept(emulate: Emulate) -> None:
    emulator = emulate(latency=0.005)
    with pll.session(max_concurrency=3):
        assert ask(60)["a"].to_list() == right(60)
    assert emulator.stats().max_in_flight == 3


HOPELESS = {
    "auth": ("auth", "Check the provider's API key"),
    "quota": ("quota", "credit and spend limits"),
    "unknown_model": ("unknown_model", "Check the model's name"),
}


RUNS: dict[str, Callable[[pl.LazyFrame, Path], Any]] = {
    "collect": lambda lf, _: lf.collect(),
    "sink": lambda lf, folder: lf.sink_parquet(folder / "never.parquet"),
    "native": lambda lf, _: pl.concat([lf, lf.drop("a")], how="diagonal").collect(),
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", HOPELESS)
def test_what_cannot_heal_stops_at_once(emulate: Emulate, tmp_path: Path, kind: Any, run: str) -> None:
    emulator = emulate(latency=0.01)
    served = itertools.count()
    emulator.fail(lambda _: EmulatedFault(kind) if next(served) >= 100 else None)
    frame = prompts(2_000).lazy().with_columns(a=pll.llm("q"))
    with pll.session(max_concurrency=20), pytest.raises(pll.ProviderError) as stopped:
        RUNS[run](frame, tmp_path)
    for text in HOPELESS[kind]:
        assert text in told(stopped.value)
    assert emulator.stats().requests <= 100 + 20
    emulator.fail(None)
    emulator.reset()
    assert ask(2_000)["a"].to_list() == right(2_000)
    assert emulator.stats().requests == 1_900


def test_a_wrong_key(emulate: Emulate) -> None:
    emulator = emulate(key="another", latency=0.01)
    with pll.session(max_concurrency=20), pytest.raises(pll.ProviderError) as stopped:
        ask(1_000)
    message = told(stopped.value)
    assert "401" in message
    assert "key" in message
    assert emulator.stats().requests <= 20


def test_a_wrong_key_is_no_null(emulate: Emulate) -> None:
    emulate(key="another")
    with pytest.raises(pll.ProviderError):
        pl.concat([prompts(5).lazy().select(pll.llm("q")), prompts(5).lazy().select(llm="q")]).collect()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://localhost:9/v1"])
@pytest.mark.parametrize("lazily", [False, True])
def test_a_server_that_is_not_there(
    emulate: Emulate,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    lazily: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    pll.configure(model="openai:gpt-6-luna")
    frame = prompts(3).lazy().with_columns(a=pll.llm("q"))
    with pll.session(max_retries=1), pytest.raises(pll.ProviderError) as stopped:
        (pl.concat([frame, frame], how="diagonal") if lazily else frame).collect()
    message = told(stopped.value)
    assert url.split("/")[2] in message
    assert "refused" in message.lower()
    assert "Check the connection and the base URL" in message


def test_a_server_that_dies_in_mid_run_leaves_what_it_answered(emulate: Emulate) -> None:
    emulator = emulate()
    served = itertools.count()
    emulator.fail(lambda _: EmulatedFault("reset") if next(served) >= 200 else None)
    with pll.session(max_retries=0, max_concurrency=10), pytest.raises(pll.PolarLlamaError) as stopped:
        ask(300)
    assert "100 of 300 rows" in told(stopped.value)
    emulator.fail(None)
    emulator.reset()
    assert ask(300)["a"].to_list() == right(300)
    assert emulator.stats().requests == 100


def test_retries_end(emulate: Emulate) -> None:
    emulator = emulate()
    emulator.fail(lambda request: EmulatedFault("server_error") if request.prompt.endswith(" 7") else None)
    with pll.session(max_retries=1), pytest.raises(pll.AnswerError) as failed:
        ask(10)
    assert "row 7" in told(failed.value)
    assert "500" in told(failed.value)
    assert emulator.stats().requests == 11
