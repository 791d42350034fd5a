"""Budgets of whole runs, against the emulator."""

from __future__ import annotations

import re

import polars as pl
import pytest

import polar_llama as pll
from polar_llama.errors import BudgetError
from polar_llama.exec.price import price
from polar_llama.providers.base import Usage
from polar_llama.testing import EmulatedAnswer, EmulatedRequest, Emulator

MODEL = "openai:gpt-4o-mini"
LATENCY = (0.001, 0.01)


def questions(count: int) -> pl.LazyFrame:
    return pl.LazyFrame({"q": [f"question {i}" for i in range(count)]})


def a_request() -> float:
    """US dollars of a request that reads 100 tokens and writes 50."""
    known = price("openai", "gpt-4o-mini")
    assert known is not None
    return 100 * known.input + 50 * known.output


def steady(request: object) -> EmulatedAnswer:
    return EmulatedAnswer("yes", usage=Usage(100, 50))


@pytest.fixture
def emulator(monkeypatch):
    with Emulator(answer=steady, latency=LATENCY) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        yield emulator


def ask(count: int, **settings: object) -> pl.DataFrame:
    with pll.session(model=MODEL, progress=False, **settings):
        return questions(count).with_columns(a=pll.llm("q")).collect()


def test_a_budget_that_is_just_enough_is_enough(emulator):
    assert ask(200, max_cost=200.5 * a_request())["a"].to_list() == ["yes"] * 200
    assert emulator.stats().requests == 200


@pytest.mark.parametrize("affordable", [7, 60])
def test_a_small_budget_is_used_up_and_not_exceeded(emulator, affordable):
    with pytest.raises(BudgetError, match=re.escape(f"were spent on {affordable} requests)")):
        ask(100, max_cost=(affordable + 0.5) * a_request())
    report = pll.last_run()
    assert report is not None
    assert report.total.sent == emulator.stats().requests == affordable
    assert report.cost == pytest.approx(affordable * a_request())


def test_the_error_says_how_far_it_came_and_the_rest_is_asked_next_time(emulator):
    with pytest.raises(BudgetError) as raised:
        ask(100, max_cost=30.5 * a_request())
    assert str(raised.value) == (
        f"one more request could exceed max_cost=${30.5 * a_request():,.6g} "
        f"(${30 * a_request():,.6g} were spent on 30 requests): 70 of 100 rows have no answer. "
        "All other answers are cached: raise the budget and run again to ask only for the rest."
    )
    assert len(ask(100, max_cost=71 * a_request())) == 100
    assert emulator.stats().requests == 100


def test_max_requests_is_exact_whatever_is_in_flight(emulator):
    with pytest.raises(BudgetError, match=r"max_requests=33 is reached: 67 of 100 rows"):
        ask(100, max_requests=33, max_concurrency=64)
    assert emulator.stats().requests == 33
    ask(100, max_requests=67)
    assert emulator.stats().requests == 100


def test_two_calls_of_a_run_share_its_money(emulator):
    with (
        pll.session(model=MODEL, progress=False, max_cost=50.5 * a_request()),
        pytest.raises(BudgetError, match="were spent on 50 requests"),
    ):
        questions(40).with_columns(
            a=pll.llm("q"), b=pll.llm("Why {q}", model="openai:gpt-4o-mini-2024-07-18")
        ).collect()
    report = pll.last_run()
    assert report is not None
    assert report.total.sent == 50


def test_with_max_tokens_a_budget_is_not_exceeded_by_prompts_and_answers_larger_than_any_before(emulator, monkeypatch):
    def ever_larger(request: EmulatedRequest) -> EmulatedAnswer:
        size = len(request.prompt.encode())
        return EmulatedAnswer("yes", usage=Usage(size + 20, 2 if size < 300 else 50))

    with Emulator(answer=ever_larger, latency=LATENCY) as other:
        for name, value in other.environ().items():
            monkeypatch.setenv(name, value)
        prompts = pl.LazyFrame({"q": [f"{i} " + "x" * (2 if i < 40 else 2_000) for i in range(200)]})
        with (
            pll.session(model=MODEL, progress=False, max_cost=0.01),
            pytest.raises(BudgetError, match="one more request could exceed"),
        ):
            prompts.with_columns(a=pll.llm("q", max_tokens=50)).collect()
    report = pll.last_run()
    assert report is not None
    assert 0.009 < report.cost <= 0.01


def test_nothing_is_sent_that_could_exceed_the_budget_by_itself(emulator):
    with pytest.raises(BudgetError, match=re.escape("($0 were spent on 0 requests)")):
        ask(5, max_cost=a_request())
    assert emulator.stats().requests == 0
