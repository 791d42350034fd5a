"""The requests that texts for embeddings would be: many in each, as the provider takes them."""

from __future__ import annotations

import polars as pl
import pytest

import polar_llama as pll
from polar_llama import embed

OPENAI = "openai:text-embedding-3-small"


def _frame(rows: int, distinct: int) -> pl.LazyFrame:
    return pl.LazyFrame({"i": range(rows), "t": [f"text {i % distinct}" for i in range(rows)]})


@pytest.mark.parametrize(
    ("model", "rows", "distinct", "requests"),
    [
        (OPENAI, 1_000, 900, 4),
        (OPENAI, 100, 100, 1),
        ("gemini:gemini-embedding-2", 1_000, 301, 4),
        ("bedrock:amazon.titan-embed-text-v2:0", 300, 30, 30),
        ("bedrock:cohere.embed-english-v3", 300, 97, 2),
    ],
)
def test_exactly_what_is_sent(emulator, model, rows, distinct, requests):
    lf = _frame(rows, distinct).select(embed("t", model=model, dimensions=256))
    row = pll.estimate(lf).row(0, named=True)
    assert (row["prompts"], row["requests"], row["exact"]) == (distinct, requests, True)
    assert emulator.stats().requests == 0
    lf.collect()
    assert emulator.stats().requests == requests
    assert pll.estimate(lf).row(0, named=True)["requests"] == 0


def test_of_more_rows_than_are_read_at_once_a_bound(emulator):
    lf = _frame(20_000, 5_000).select(embed("t", model=OPENAI, dimensions=8))
    row = pll.estimate(lf).row(0, named=True)
    assert (row["prompts"], row["exact"]) == (5_000, False)
    lf.collect()
    assert 20 <= emulator.stats().requests <= row["requests"] <= 26
