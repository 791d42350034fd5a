"""The queries of the table "Requests sent", each a function of a frame and of what stands for `llm`.

`llm` is the real one, or the judge's (`frame_kit.naive`): the query is the same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from frame_kit import Color, Person, questions

if TYPE_CHECKING:
    from collections.abc import Callable

    Query = Callable[[Any, Any], Any]

cat3 = pl.col("cat") == 3
tripled = pl.LazyFrame({"cat": [c for c in range(10) for _ in range(3)], "copy": [0, 1, 2] * 10})
third = pl.LazyFrame({"cat": [3], "team": ["three"]})


def expected(rows: pl.DataFrame) -> int:
    """The distinct prompts of some rows."""
    return rows["q"].n_unique()


_frame = questions()
_head = expected(_frame.head(10))
_sorted = expected(_frame.sort("x").head(10))
_top = expected(_frame.top_k(10, by="x"))

ROWS: dict[str, tuple[int, Query]] = {
    "with_columns": (100, lambda lf, llm: lf.with_columns(a=llm("q"))),
    "select": (100, lambda lf, llm: lf.select("i", llm("q"))),
    "a template": (100, lambda lf, llm: lf.with_columns(a=llm("{cat}: {q}"))),
    "then filter": (10, lambda lf, llm: lf.with_columns(a=llm("q")).filter(cat3)),
    "filter first": (10, lambda lf, llm: lf.filter(cat3).with_columns(a=llm("q"))),
    "asked and free": (10, lambda lf, llm: lf.filter(llm("q", returns=bool) & cat3)),
    "free and asked": (10, lambda lf, llm: lf.filter(cat3 & llm("q", returns=bool))),
    "two predicates": (10, lambda lf, llm: lf.filter(llm("q", returns=bool), cat3)),
    "a predicate by name": (10, lambda lf, llm: lf.filter(llm("q", returns=bool), cat=3)),
    "asked, then free": (10, lambda lf, llm: lf.filter(llm("q", returns=bool)).filter(cat3)),
    "free, then asked": (10, lambda lf, llm: lf.filter(cat3).filter(llm("q", returns=bool))),
    "a column, then its filter": (
        10,
        lambda lf, llm: lf.with_columns(a=llm("q", returns=bool)).filter(pl.col("a")).filter(cat3),
    ),
    "remove": (10, lambda lf, llm: lf.with_columns(a=llm("q")).remove(pl.col("cat") != 3)),
    "head": (_head, lambda lf, llm: lf.with_columns(a=llm("q")).head(10)),
    "limit": (_head, lambda lf, llm: lf.with_columns(a=llm("q")).limit(10)),
    "slice": (_head, lambda lf, llm: lf.with_columns(a=llm("q")).slice(500, 10)),
    "sort, head": (_sorted, lambda lf, llm: lf.with_columns(a=llm("q")).sort("x").head(10)),
    "top_k": (_top, lambda lf, llm: lf.with_columns(a=llm("q")).top_k(10, by="x").sort("x")),
    "bottom_k": (_sorted, lambda lf, llm: lf.with_columns(a=llm("q")).bottom_k(10, by="x").sort("x")),
    "tail": (_head, lambda lf, llm: lf.with_columns(a=llm("q")).tail(10)),
    "select without it": (0, lambda lf, llm: lf.with_columns(a=llm("q")).select("i", "q")),
    "drop": (0, lambda lf, llm: lf.with_columns(a=llm("q")).drop("a")),
    "overwritten": (0, lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(a=pl.lit("z"))),
    "len": (0, lambda lf, llm: lf.with_columns(a=llm("q")).select(pl.len())),
    "len by group": (0, lambda lf, llm: lf.with_columns(a=llm("q")).group_by("cat", maintain_order=True).len()),
    "twice in a verb": (100, lambda lf, llm: lf.with_columns(a=llm("q"), b=llm("q"))),
    "twice in two verbs": (100, lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(b=llm("q"))),
    "twice, in expressions": (
        100,
        lambda lf, llm: lf.with_columns(a=llm("q").str.to_uppercase(), b=llm("q").str.len_chars()),
    ),
    "twice, written two ways": (100, lambda lf, llm: lf.with_columns(a=llm("q"), b=llm("{q}"), c=llm(pl.col("q")))),
    "unnest": (100, lambda lf, llm: lf.with_columns(a=llm("q", returns=Person)).unnest("a")),
    "two fields": (
        100,
        lambda lf, llm: lf.with_columns(
            name=llm("q", returns=Person).struct.field("name"), age=llm("q", returns=Person).struct.field("age")
        ),
    ),
    "two fields of a column": (
        100,
        lambda lf, llm: lf.with_columns(a=llm("q", returns=Person)).select(
            "i", pl.col("a").struct.field("name"), pl.col("a").struct.field("age")
        ),
    ),
    "inner join": (
        10,
        lambda lf, llm: lf.with_columns(a=llm("q")).join(third, on="cat", maintain_order="left_right"),
    ),
    "semi join": (
        10,
        lambda lf, llm: lf.with_columns(a=llm("q")).join(third, on="cat", how="semi", maintain_order="left"),
    ),
    "anti join": (
        90,
        lambda lf, llm: lf.with_columns(a=llm("q")).join(third, on="cat", how="anti", maintain_order="left"),
    ),
    "right side of an inner join": (
        10,
        lambda lf, llm: third.join(lf.with_columns(a=llm("q")), on="cat", maintain_order="left_right"),
    ),
    "join that triples": (
        100,
        lambda lf, llm: lf.with_columns(a=llm("q")).join(tripled, on="cat", maintain_order="left_right"),
    ),
    "join that triples, first": (
        100,
        lambda lf, llm: lf.join(tripled, on="cat", maintain_order="left_right").with_columns(a=llm("q")),
    ),
    "concatenated with itself": (
        100,
        lambda lf, llm: pl.concat([lf.with_columns(a=llm("q")), lf.with_columns(a=llm("q"))]),
    ),
    "group by an answer": (
        100,
        lambda lf, llm: lf.group_by(a=llm("q", returns=Color), maintain_order=True).agg(pl.col("x").sum()),
    ),
}
"""Name: the requests that are sent, and the query."""


def _red(frame: Any, llm: Any) -> Any:
    return frame.with_columns(a=llm("q", returns=Color)).filter(pl.col("a") == "red")


CHAINS: dict[str, Query] = {
    "filtered between": lambda lf, llm: _red(lf, llm).with_columns(b=llm("Why is it {a}? {q}")),
    "filtered after": lambda lf, llm: (
        lf.with_columns(a=llm("q", returns=Color))
        .with_columns(b=llm("Why is it {a}? {q}"))
        .filter(pl.col("a") == "red")
    ),
    "few second prompts": lambda lf, llm: _red(lf, llm).with_columns(b=llm("Who likes {a}?")),
}
"""Chains: `a` for every row, `b` for the distinct prompts of the rows that are left."""
