"""Several model predicates in one filter: whatever order they are written in, nearly the best is asked."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polar_llama.testing import EmulatedRequest

ROWS = 1_000
PASSES = {"rare": lambda i: i % 20 == 0, "half": lambda i: i % 2 == 0, "often": lambda i: i % 10 != 3}


def least_requests() -> int:
    """The best of all fixed orders, tried one after the other."""

    def asked(order: tuple[str, ...]) -> int:
        rows, count = range(ROWS), 0
        for name in order:
            count += len(rows)
            rows = [i for i in rows if PASSES[name](i)]
        return count

    return min(map(asked, itertools.permutations(PASSES)))


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    def answer(request: EmulatedRequest) -> str:
        name, number = request.prompt.split()
        return json.dumps({"answer": PASSES[name](int(number))})

    with Emulator(answer=answer) as running:
        yield running


@pytest.mark.parametrize("order", list(itertools.permutations(PASSES)), ids="-".join)
def test_within_a_tenth_of_the_best_order(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]
) -> None:
    for name, value in emulator.environ().items():
        monkeypatch.setenv(name, value)
    emulator.reset()
    with pll.session(model="openai:gpt-6-luna", cache="off"):
        asked = [pll.llm(f"{name} {{i}}", returns=bool) for name in order]
        found = pl.LazyFrame({"i": range(ROWS)}).filter(*asked).collect()
    assert found["i"].to_list() == [i for i in range(ROWS) if all(passes(i) for passes in PASSES.values())]
    assert emulator.stats().requests <= 1.1 * least_requests()


@pytest.mark.parametrize("order", [("rare", "often"), ("often", "rare")], ids="-".join)
def test_what_was_seen_counts_for_the_next_piece_of_an_early_stop(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]
) -> None:
    for name, value in emulator.environ().items():
        monkeypatch.setenv(name, value)
    emulator.reset()
    with pll.session(model="openai:gpt-6-luna", cache="off", max_concurrency=32):
        asked = [pll.llm(f"{name} {{i}}", returns=bool) for name in order]
        found = pl.LazyFrame({"i": range(ROWS)}).filter(*asked).head(20).collect()
    assert found["i"].to_list() == list(range(0, 400, 20))
    best = 381 + 20  # of the rare one until 20 have passed, and these of the other
    assert emulator.stats().requests < best + 32
