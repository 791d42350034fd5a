"""The table "Requests sent": how many requests a query sends, that its frame is the naive one, and that
a new process sends none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from frame_kit import Color, naive, python, questions
from polars.testing import assert_frame_equal
from table_queries import CHAINS, ROWS

import polar_llama as pll

if TYPE_CHECKING:
    from pathlib import Path

    from polar_llama.testing import Emulator

PLAIN = pl.QueryOptFlags.none()


def by_hand(query: Any) -> pl.DataFrame:
    """Every row answered by a Python function, in Polars without an optimizer."""
    result: pl.DataFrame = query(questions().lazy(), naive).collect(engine="in-memory", optimizations=PLAIN)
    return result


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("name", ROWS)
def test_requests_and_frame_are_what_the_table_says(emulator: Emulator, name: str, engine: Any) -> None:
    requests, query = ROWS[name]
    result = query(questions().lazy(), pll.llm).collect(engine=engine)
    assert emulator.stats().requests == requests
    assert_frame_equal(result, by_hand(query))


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_asks_again_only_for_rows_that_are_left(emulator: Emulator, name: str) -> None:
    result = CHAINS[name](questions().lazy(), pll.llm).collect()
    second = {p for p in emulator.stats().prompts if not p.startswith("Which")}
    assert emulator.stats().requests == 100 + result["b"].n_unique()
    assert len(second) == result["b"].n_unique()
    assert_frame_equal(result, by_hand(CHAINS[name]))


def test_a_chain_behind_a_limit_asks_no_more_than_it_needs(emulator: Emulator) -> None:
    def query(lf: Any, llm: Any) -> Any:
        red = lf.with_columns(a=llm("q", returns=Color)).filter(pl.col("a") == "red")
        return red.head(3).with_columns(b=llm("Why is it {a}? {q}"))

    result = query(questions().lazy(), pll.llm).collect()
    assert_frame_equal(result, by_hand(query))
    prompts = emulator.stats().prompts
    assert {p for p in prompts if not p.startswith("Which")} == {f"Why is it red? {q}" for q in result["q"]}
    assert emulator.stats().requests == len(prompts) <= 100 + result["b"].n_unique()


@pytest.mark.parametrize("name", ["with_columns", "then filter", "asked and free", "head", "unnest", "twice in a verb"])
def test_eager_frames_give_the_same(emulator: Emulator, name: str) -> None:
    query = ROWS[name][1]
    assert_frame_equal(query(questions(), pll.llm), by_hand(query))


def test_an_unordered_join_has_the_same_rows(emulator: Emulator) -> None:
    def query(lf: Any, llm: Any) -> Any:
        return lf.with_columns(a=llm("q")).join(pl.LazyFrame({"cat": [3, 3], "n": [1, 2]}), on="cat")

    result = query(questions().lazy(), pll.llm).collect()
    assert emulator.stats().requests == 10
    assert_frame_equal(result, by_hand(query), check_row_order=False)


def test_looking_sends_nothing(emulator: Emulator, tmp_path: Path) -> None:
    for _, query in ROWS.values():
        lf = query(questions().lazy(), pll.llm)
        assert lf.collect_schema() == query(questions().lazy(), naive).collect_schema()
        assert lf.explain()
        assert pll.explain(lf)
        assert repr(lf)
        assert lf.sink_parquet(tmp_path / "never.parquet", lazy=True).collect_schema() is not None
        assert lf.head(0).collect().height == 0
    assert emulator.stats().requests == 0
    assert not (tmp_path / "never.parquet").exists()


AGAIN = """
import sys
from pathlib import Path
import polar_llama as pll
from frame_kit import questions
from table_queries import CHAINS, ROWS

queries = {**{name: query for name, (_, query) in ROWS.items()}, **CHAINS}
for number, query in enumerate(queries.values()):
    query(questions().lazy(), pll.llm).collect().write_ipc(Path(sys.argv[1]) / f"{number}.arrow")
print(len(queries))
"""


def test_a_new_process_sends_nothing(emulator: Emulator, tmp_path: Path) -> None:
    queries = [*(query for _, query in ROWS.values()), *CHAINS.values()]
    for query in queries:
        query(questions().lazy(), pll.llm).collect()
    assert emulator.stats().requests > 0
    emulator.reset()
    out = python(AGAIN, tmp_path, environ={"POLAR_LLAMA_MODEL": "openai:gpt-6-luna"})
    assert int(out) == len(queries)
    assert emulator.stats().requests == 0
    for number, query in enumerate(queries):
        assert_frame_equal(pl.read_ipc(tmp_path / f"{number}.arrow"), by_hand(query))
