"""What answers cost is what genai-prices says of their usage: cached, written to a cache, thought about."""

from __future__ import annotations

import polars as pl
import pytest
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

import polar_llama as pll
from polar_llama.providers.base import Usage
from polar_llama.testing import EmulatedAnswer, EmulatedRequest, Emulator

NAMES = {"gemini": "google", "bedrock": "aws"}
USAGES = [Usage(100, 20), Usage(9000, 10, 8000), Usage(9000, 10, 0, 8000), Usage(5000, 700, 1000, 2000, 600)]
MODELS = [
    "openai:gpt-6-luna",
    "openai:gpt-5.4-mini",
    "anthropic:claude-haiku-5-5",
    "gemini:gemini-3.8-flash",
    "groq:openai/gpt-oss-20b",
    "bedrock:us.anthropic.claude-haiku-4-5-20251001-v1:0",
]


@pytest.mark.parametrize("usage", USAGES, ids=["plain", "cached", "written", "all"])
@pytest.mark.parametrize("name", MODELS)
def test_costs(name: str, usage: Usage, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, _, model = name.partition(":")
    if provider == "gemini":
        usage = Usage(usage.input, usage.output, usage.cached, 0, usage.reasoning)  # it does not count writes
    with Emulator(answer=lambda _: EmulatedAnswer("ok", usage=usage)) as emulator:
        for variable, value in emulator.environ().items():
            monkeypatch.setenv(variable, value)
        pl.LazyFrame({"q": ["a"]}).select(pll.llm("q", model=name)).collect()
    report = pll.last_run()
    assert report is not None
    call = report.calls[0]
    assert (call.input_tokens, call.output_tokens) == (usage.input, usage.output)
    assert (call.cached_tokens, call.stored_tokens) == (usage.cached, usage.cache_write)
    counted = PricedUsage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cached,
        cache_write_tokens=usage.cache_write,
    )
    expected = calc_price(counted, model, provider_id=NAMES.get(provider, provider)).total_price
    assert report.cost == pytest.approx(float(expected), rel=1e-9)
    assert ("put into the provider's prompt cache" in repr(report)) == bool(usage.cache_write)


def test_answers_that_nothing_enforced_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as emulator:
        for variable, value in emulator.environ().items():
            monkeypatch.setenv(variable, value)
        asked = pl.LazyFrame({"q": ["a", "b"]}).select(
            old=pll.llm("q", model="anthropic:claude-3-opus", returns=bool),
            new=pll.llm("q", model="anthropic:claude-haiku-5-5", returns=bool),
        )
        asked.collect()
    report = pll.last_run()
    assert report is not None
    assert {call.model.partition(":")[2]: call.unenforced for call in report.calls} == {
        "claude-3-opus": 2,
        "claude-haiku-5-5": 0,
    }
    assert "2 answers were typed in words or by a tool" in repr(report)


def test_requests_that_find_out_how_a_server_takes_schemas_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that passes over schemas answers in prose: it is asked again in another form, and all that is sent."""

    def answer(request: EmulatedRequest) -> str:
        return "Yes." if "output_config" in request.body else '{"answer": true}'

    with Emulator(answer=answer) as emulator:
        for variable, value in emulator.environ().items():
            monkeypatch.setenv(variable, value)
        asked = pll.llm("q", model="anthropic:my-own", returns=bool)
        assert pl.DataFrame({"q": ["a", "b", "c"]}).select(asked).to_series().to_list() == [True] * 3
        sent = emulator.stats().requests
    report = pll.last_run()
    assert report is not None
    assert (sent, report.total.sent, report.total.retried, report.total.unenforced) == (4, 4, 0, 3)


@pytest.mark.parametrize("most", [1, 2])
def test_requests_that_find_out_how_a_server_takes_schemas_keep_to_the_budget(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(answer=lambda _: "Yes.") as emulator:  # never an object: every form is tried
        for variable, value in emulator.environ().items():
            monkeypatch.setenv(variable, value)
        asked = pll.llm("q", model="anthropic:my-own", returns=bool)
        with pll.session(max_requests=most), pytest.raises(pll.BudgetError, match=f"max_requests={most} is reached"):
            pl.DataFrame({"q": ["a"]}).select(asked)
        assert emulator.stats().requests == most
    report = pll.last_run()
    assert report is not None
    assert report.total.sent == most
