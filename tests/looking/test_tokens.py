"""Tokens and dollars: guesses, what corrects them, and what is not known."""

from __future__ import annotations

import threading
from typing import Literal

import polars as pl
import pytest

import polar_llama as pll
from polar_llama import llm
from polar_llama.exec import tokens
from polar_llama.exec.price import price
from polar_llama.exec.tokens import FIRST_ANSWER, FIRST_SHORT_ANSWER, Calibration, guess
from polar_llama.providers.base import Ask, Response, Usage
from polar_llama.providers.registry import register_provider

LF = pl.LazyFrame({"q": ["a" * 400, "b" * 400, "a" * 400, None]})


class Counting:
    """A provider that counts three bytes a token, and answers with ten."""

    identity = host = "counting"

    async def complete(self, request):
        return Response("x", Usage(input=len(request.prompt) // 3, output=10, cached=len(request.prompt) // 6))

    async def aclose(self):
        """Nothing is held."""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(tokens.CALIBRATION, "_seen", type(tokens.CALIBRATION._seen)())


def one(lf: pl.LazyFrame) -> dict[str, object]:
    (row,) = pll.estimate(lf).rows(named=True)
    return row


def test_four_bytes_a_token_rounded_up():
    assert [guess(size) for size in (0, 1, 4, 5, 400)] == [1, 1, 1, 2, 100]


def test_first_guesses(emulator):
    assert one(LF.with_columns(a=llm("q")))["input_tokens"] == 200
    assert one(LF.with_columns(a=llm("q", system="s" * 40)))["input_tokens"] == 220
    for returns, expected in (
        (str, FIRST_ANSWER),
        (bool, FIRST_SHORT_ANSWER),
        (float, FIRST_SHORT_ANSWER),
        (Literal["x", "y"], FIRST_SHORT_ANSWER),
        (list[int], FIRST_ANSWER),
    ):
        assert one(LF.with_columns(a=llm("q", returns=returns)))["output_tokens"] == 2 * expected
    assert one(LF.with_columns(a=llm("q", max_tokens=7)))["output_tokens"] == 14


def test_dollars_are_list_prices(emulator):
    known = price("openai", "gpt-4o-mini")
    assert known is not None
    row = one(LF.with_columns(a=llm("q", max_tokens=7)))
    assert row["cost_usd"] == pytest.approx(200 * known.input + 14 * known.output)


def test_an_unknown_price_is_null_and_local_is_free(emulator):
    register_provider("counting", lambda _: Counting())
    assert one(LF.with_columns(a=llm("q", model="counting:m")))["cost_usd"] is None


@pytest.mark.local_model
def test_local_is_free():
    assert one(LF.with_columns(a=llm("q", model="local")))["cost_usd"] == 0.0


def test_what_was_counted_corrects_the_next_guess(monkeypatch):
    register_provider("counting", lambda _: Counting())
    with pll.session(model="counting:m", progress=False):
        assert one(LF.with_columns(a=llm("q")))["input_tokens"] == 200
        LF.head(1).with_columns(a=llm("q")).collect()
        row = one(LF.with_columns(a=llm("q", cache=False)))
        assert row["input_tokens"] == round(200 * 133 / 100)
        assert row["output_tokens"] == 20
        other = one(LF.with_columns(a=llm("q", system="another call")))
        assert other["output_tokens"] == 2 * FIRST_ANSWER  # its answers may be of another length


def test_averages_follow_slowly_and_servers_that_count_nothing_teach_nothing():
    calibration, ask = Calibration(), Ask("m")
    calibration.saw("p", ask, "x" * 400, Usage(0, 0))
    assert calibration.ratio("p", "m") == 1.0
    calibration.saw("p", ask, "x" * 400, Usage(200, 80, cached=50))
    assert calibration.ratio("p", "m") == 2.0
    assert calibration.cached("p", "m") == 0.25
    calibration.saw("p", ask, "x" * 400, Usage(100, 0))
    assert calibration.ratio("p", "m") == pytest.approx(2 - 1 / 8)
    assert calibration.answer("p", ask, short=False) == pytest.approx(70)
    assert calibration.answer("p", Ask("m", max_tokens=3), short=False) == 3


def test_it_stays_bounded_and_whole_when_threads_meet(monkeypatch):
    monkeypatch.setattr(tokens, "KNOWN", 50)
    calibration = Calibration()

    def learn(name: str) -> None:
        for i in range(500):
            calibration.saw(name, Ask(f"m{i}"), "x" * 40, Usage(20, 1))

    threads = [threading.Thread(target=learn, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calibration._seen) == 50
    assert {seen.ratio for seen in calibration._seen.values()} == {2.0}
