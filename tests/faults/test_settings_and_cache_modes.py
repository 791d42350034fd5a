"""Which setting wins, and what the cache modes do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from fault_kit import ask, prompts, right, told

import polar_llama as pll

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.testing import Emulator

    Emulate = Callable[..., Emulator]


def asked_model(**options: Any) -> str:
    """Which model is asked."""
    answer: str = pl.select(pll.llm(pl.lit("who?"), **options)).item()
    return answer


def test_the_most_specific_setting_wins(emulate: Emulate, monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(answer=lambda request: request.model)
    pll.configure(model=None)
    monkeypatch.setenv("POLAR_LLAMA_MODEL", "openai:environment")
    assert asked_model() == "environment"
    pll.configure(model="openai:configured")
    assert asked_model() == "configured"
    with pll.session(model="openai:session"):
        assert asked_model() == "session"
        with pll.session(model="openai:inner"):
            assert asked_model() == "inner"
            assert asked_model(model="openai:call") == "call"
        with pll.session(model=None), pytest.raises(pll.ConfigurationError, match="no model"):
            asked_model()
        assert asked_model() == "session"
    assert asked_model() == "configured"
    pll.configure(model=None)
    assert asked_model() == "environment"


def test_settings_are_read_when_the_run_starts(emulate: Emulate) -> None:
    emulate(answer=lambda request: request.model)
    frame = pl.LazyFrame({"q": ["who?"]}).select(pll.llm("q"), b=pll.llm("q", model="openai:bound"))
    with pll.session(model="openai:session"):
        assert frame.collect().row(0) == ("session", "bound")
    assert frame.collect().row(0) == ("gpt-6-luna", "bound")


def test_a_session_is_its_thread_s_own(emulate: Emulate) -> None:
    emulate(answer=lambda request: request.model)
    found: list[str] = []
    with pll.session(model="openai:session"):
        thread = threading.Thread(target=lambda: found.append(asked_model()))
        thread.start()
        thread.join()
    assert found == ["gpt-6-luna"]


def test_use(emulator: Emulator) -> None:
    for _ in range(2):
        assert ask(10)["a"].to_list() == right(10)
        assert emulator.stats().requests == 10


def test_refresh_asks_again_and_writes(emulate: Emulate) -> None:
    answers = iter(["old", "new", "never"])
    emulator = emulate(answer=lambda _: next(answers))
    assert ask(1)["a"].to_list() == ["old"]
    with pll.session(cache="refresh"):
        assert ask(1)["a"].to_list() == ["new"]
    assert ask(1)["a"].to_list() == ["new"]
    assert emulator.stats().requests == 2


def test_refresh_asks_equal_rows_once(emulator: Emulator) -> None:
    rows = pl.concat([prompts(10)] * 5).lazy()
    with pll.session(cache="refresh"):
        assert rows.with_columns(a=pll.llm("q"), b=pll.llm("q")).collect()["a"].to_list() == right(10) * 5
    assert emulator.stats().requests == 10


def test_replay_never_asks(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(10)
    emulator.reset()
    monkeypatch.delenv("OPENAI_API_KEY")
    with pll.session(cache="replay"):
        assert ask(10)["a"].to_list() == right(10)
        with pytest.raises(pll.AnswerError) as missed:
            ask(12)
        assert ask(12, on_error="null")["a"].to_list() == [*right(10), None, None]
    assert "2 of 12 rows" in told(missed.value)
    assert 'cache="replay" never asks' in told(missed.value)
    assert emulator.stats().requests == 0


def test_off_neither_reads_nor_writes(emulator: Emulator, tmp_path: Any) -> None:
    ask(5)
    for count in (10, 15):
        with pll.session(cache="off", cache_dir=tmp_path / "never"):
            assert ask(5)["a"].to_list() == right(5)
        assert emulator.stats().requests == count
    assert not (tmp_path / "never").exists()


def test_cache_false_asks_again_but_not_twice_in_a_run(emulator: Emulator) -> None:
    ask(10)
    emulator.reset()
    rows = pl.concat([prompts(10)] * 3).lazy()
    fresh = pll.llm("q", cache=False)
    assert rows.with_columns(a=fresh, b=fresh.str.to_uppercase()).collect()["a"].to_list() == right(10) * 3
    assert emulator.stats().requests == 10


def test_knobs_that_cannot_change_an_answer_are_not_in_the_key(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(5)
    with pll.session(max_concurrency=2, timeout=5.0, max_retries=1, on_error="null"):
        ask(5)
    monkeypatch.setenv("OPENAI_API_KEY", "another key")
    ask(5, on_error="struct")
    assert emulator.stats().requests == 5


@pytest.mark.parametrize(
    "options",
    [
        {"model": "openai:gpt-6-terra"},
        {"system": "Be brief."},
        {"temperature": 0.5},
        {"max_tokens": 50},
        {"seed": 1},
        {"options": {"top_p": 0.5}},
        {"returns": bool},
    ],
    ids=repr,
)
def test_what_can_change_an_answer_is_in_the_key(emulator: Emulator, options: dict[str, Any]) -> None:
    ask(5)
    ask(5, **options)
    assert emulator.stats().requests == 10
    ask(5, **options)
    assert emulator.stats().requests == 10


def test_another_server_is_another_key(emulate: Emulate) -> None:
    first = emulate()
    ask(5)
    second = emulate()
    ask(5)
    assert (first.stats().requests, second.stats().requests) == (5, 5)


def test_the_report(emulator: Emulator) -> None:
    frame = pl.concat([prompts(10), prompts(10), pl.DataFrame({"i": [0], "q": [None]}, schema=prompts(1).schema)])
    ask(4)
    frame.lazy().with_columns(a=pll.llm("q")).collect()
    run = pll.last_run()
    assert run is not None
    total = run.total
    assert (total.rows, total.null_prompts, total.distinct, total.cached, total.sent) == (21, 1, 10, 4, 6)
    assert (total.retried, total.failed) == (0, 0)
    assert "rows" in repr(run)
    assert run.to_frame().height == 1
