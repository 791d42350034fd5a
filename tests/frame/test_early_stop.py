"""`filter(llm(..)).head(n)` asks in vain for less than one window of requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polar_llama.testing import EmulatedRequest

CONCURRENCY = 32


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    def answer(request: EmulatedRequest) -> str:
        every, number = map(int, request.prompt.split())
        return json.dumps({"answer": number % every == every - 1})

    with Emulator(answer=answer) as running:
        yield running


@pytest.mark.parametrize("every", [1, 2, 7, 40])
@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("rows", [1, 20, 45])
def test_the_overshoot_stays_below_a_window(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, every: int, offset: int, rows: int
) -> None:
    for name, value in emulator.environ().items():
        monkeypatch.setenv(name, value)
    emulator.reset()
    with pll.session(model="openai:gpt-6-luna", cache="off", max_concurrency=CONCURRENCY, progress=False):
        passing = pl.LazyFrame({"i": range(2_500)}).filter(pll.llm(f"{every} {{i}}", returns=bool))
        found = passing.slice(offset, rows).collect()
    assert found["i"].to_list() == [every * (offset + n) + every - 1 for n in range(rows)]
    needed = every * (offset + rows)
    assert needed <= emulator.stats().requests < needed + CONCURRENCY
