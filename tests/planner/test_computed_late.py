"""What is computed from answers below a join: frames stay the same, and what the join leaves is asked."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from planner_kit import assert_equivalent

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner_kit import Query

LEFT = pl.LazyFrame(
    {
        "k": [1, 2, 2, 3, None, 5],
        "q": ["p", "r", "s", "p", "t", None],
        "v": [3, 1, 2, None, 5, 6],
        "w": ["a", "b", None, "d", "e", "f"],
    }
)
RIGHT = pl.LazyFrame({"k": [1, 2, 2, 6], "z": [10, 20, 30, 60], "v": [7, 8, 9, None]})
A, V = pl.col("a"), pl.col("v")

STEPS: dict[str, Callable[[pl.LazyFrame, Any], pl.LazyFrame]] = {
    "a column": lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(b=A + "!"),
    "around the call": lambda lf, llm: lf.with_columns(a=llm("q").str.to_uppercase()),
    "in its own place": lambda lf, llm: lf.with_columns(q=llm("q") + "!"),
    "over another one": lambda lf, llm: lf.with_columns(w=pl.coalesce(llm("q"), "w") + "!"),
    "of two": lambda lf, llm: lf.with_columns(a=llm("q") + "/" + llm("w"), n=V + 1),
    "a chain": lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(b=A + "!").with_columns(c=pl.col("b") + A),
    "selected": lambda lf, llm: lf.select("k", a=llm("q") + "!"),
    "selected, other order": lambda lf, llm: lf.select("v", a=llm("q").fill_null("-"), k="k"),
    "swapped": lambda lf, llm: lf.with_columns(a=llm("q") + "!").select("k", q="w", w="a"),
    "dropped": lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(b=A + "!").drop("a", "q"),
    "dropped, and made again": lambda lf, llm: lf.with_columns(a=llm("q") + "!").drop("w").with_columns(w=A),
    "what both sides have": lambda lf, llm: lf.with_columns(v=llm("q") + "!"),
    "what the other has": lambda lf, llm: lf.with_columns(z=llm("q") + "!"),
    "what the join would make": lambda lf, llm: lf.with_columns(v_right=llm("q") + "!").drop("v"),
    "what both have, dropped": lambda lf, llm: lf.with_columns(a=llm("q") + "!").drop("v"),
    "the key": lambda lf, llm: lf.with_columns(k=llm("q").str.len_chars().cast(pl.Int64)),
    "asked again": lambda lf, llm: lf.with_columns(a=llm("q") + "!").with_columns(b=llm(A)),
    "a literal": lambda lf, llm: lf.with_columns(a=llm("q") + "!", one=pl.lit(1)),
    "not row by row": lambda lf, llm: lf.with_columns(a=llm("q").shift(1)),
    "a filter between": lambda lf, llm: lf.with_columns(a=llm("q") + "!").filter(V > 1).with_columns(b=A + "?"),
}
KINDS = ("inner", "left", "right", "full", "semi", "anti", "cross")
OPTIONS: tuple[dict[str, Any], ...] = ({}, {"coalesce": True}, {"coalesce": False}, {"nulls_equal": True})


def joined(steps: str, how: str, side: str, options: dict[str, Any]) -> Query:
    on: dict[str, Any] = {} if how == "cross" else {"on": "k", **options}
    order: Any = {} if how in {"semi", "anti", "cross"} else {"maintain_order": "left_right"}

    def query(lf: pl.LazyFrame, llm: Any) -> pl.LazyFrame:
        asked = STEPS[steps](lf, llm)
        first, second = (asked, RIGHT) if side == "left" else (RIGHT, asked)
        return first.join(second, how=how, **on, **order)  # type: ignore[arg-type]

    return query


@pytest.mark.parametrize("steps", STEPS)
def test_every_join_gives_the_same_frames(steps: str) -> None:
    for how, side, options in product(KINDS, ("left", "right"), OPTIONS):
        if how in {"semi", "anti", "cross"} and options:
            continue
        naive, optimised = assert_equivalent(joined(steps, how, side, options), LEFT)
        assert optimised <= naive


SAVED = ("a column", "around the call", "in its own place", "a chain", "selected", "swapped", "dropped", "a literal")


@pytest.mark.parametrize(
    ("how", "side", "least"),
    [("inner", "left", 3), ("inner", "right", 3), ("semi", "left", 3), ("anti", "left", 2), ("left", "left", 4)],
)
@pytest.mark.parametrize("steps", SAVED)
def test_what_the_join_leaves_is_asked(steps: str, how: str, side: str, least: int) -> None:
    assert assert_equivalent(joined(steps, how, side, {}), LEFT) == (4, least)


def test_a_join_below_a_limit_and_a_filter() -> None:
    def query(lf: pl.LazyFrame, llm: Any) -> pl.LazyFrame:
        lf = lf.with_columns(a=llm("q").str.to_uppercase()).join(RIGHT.select("k", "z"), on="k", maintain_order="left")
        return lf.filter(pl.col("z") > 10).sort("z").head(1)

    assert assert_equivalent(query, LEFT) == (4, 1)
