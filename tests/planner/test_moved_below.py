"""What may run below the step under it, written in the columns there, and what may not: frames stay the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from planner_kit import Color, Person, assert_equivalent

if TYPE_CHECKING:
    from planner_kit import Query

D = pl.LazyFrame(
    {
        "i": [0, 1, 2, 3, 4, 5],
        "g": ["x", "x", "y", "y", "y", None],
        "q": ["p", "p", "r", "s", None, "t"],
        "v": [3, 3, 1, 2, 2, None],
        "s": ["1", "2", "zz", "4", None, "6"],
        "f": [0.0, -0.0, 0.0, 1.5, float("nan"), None],
        "n": pl.Series([100, 120, 3, 4, None, 6], dtype=pl.Int8),
        "l": [[1], [2, 3], [], [4], [5], None],
    }
)
R = pl.LazyFrame({"g": ["x", "y", "z"], "z": ["a", "b", "c"], "v": [3, 8, 9]})
ON = {"on": "g", "maintain_order": "left_right"}
NUMBER, V, K = pl.col("i"), pl.col("v"), pl.col("k")
NUMBERS = pl.col("s").str.contains(r"^\d$")


def _asked(then: Query) -> Query:
    """Verbs after a model predicate on all texts, of which there are four."""
    return lambda lf, llm: then(lf.filter(llm("q", returns=bool)), llm)


MOVED: dict[str, tuple[Query, int, int]] = {
    "renamed twice": (
        _asked(lambda lf, _: lf.rename({"v": "i", "i": "v"}).rename({"i": "k"}).filter(K == 2)),
        4,
        1,
    ),
    "a name in a struct": (
        _asked(lambda lf, _: lf.select("q", k="i").filter(pl.struct("k", "q").struct.field("k") == 2)),
        4,
        1,
    ),
    "a literal keeps the dtype of its column": (
        lambda lf, llm: lf.select("n", k=pl.lit(100), a=llm("q") + "!").filter(K + pl.col("n") > 150),
        4,
        1,
    ),
    "a literal in a branch, too": (
        lambda lf, llm: lf.select(
            "n", k=pl.when(NUMBER > 0).then(100).otherwise(90), a=llm("q", returns=Person).struct.field("age")
        ).filter(K + pl.col("n") > 150),
        4,
        1,
    ),
    "a literal alone": (_asked(lambda lf, _: lf.with_columns(k=pl.lit(value=False)).filter("k")), 4, 0),
    "unnested fields": (
        _asked(lambda lf, _: lf.select("q", p=pl.struct(k="i", w="g")).unnest("p").filter(K > 4)),
        4,
        1,
    ),
    "cast, and read": (_asked(lambda lf, _: lf.cast({"i": pl.Float64}).filter(NUMBER > 3.5)), 4, 4),
    "cast, and another read": (_asked(lambda lf, _: lf.cast({"i": pl.Float64}).filter(V == 1)), 4, 1),
    "columns by suffix": (
        _asked(lambda lf, _: lf.select(pl.all().name.suffix("_k")).filter(pl.col("i_k") == 3)),
        4,
        1,
    ),
    "distinct under another name": (
        lambda lf, llm: lf.select(k="g", a=llm("q") + "!").unique("k", keep="first", maintain_order=True),
        4,
        3,
    ),
    "ordered by what is computed": (
        lambda lf, llm: lf.select(k=-NUMBER, a=llm("q") + "!").top_k(2, by="k"),
        4,
        1,
    ),
    "exploded": (_asked(lambda lf, _: lf.explode("l").filter(NUMBER == 2)), 4, 1),
    "groups by another name": (
        lambda lf, llm: lf.with_columns(a=llm("q")).group_by(k="g", maintain_order=True).agg("a").filter(K == "x"),
        4,
        1,
    ),
    "nulls dropped": (_asked(lambda lf, _: lf.rename({"v": "k"}).drop_nulls("k")), 4, 3),
    "joined on the left": (_asked(lambda lf, _: lf.join(R, how="left", **ON).filter(pl.col("z") == "a")), 4, 1),
    "joined on the right": (
        lambda lf, llm: R.join(lf.filter(llm("q", returns=bool)), how="right", **ON).filter(pl.col("z") == "a"),
        4,
        1,
    ),
    "joined on both sides": (
        lambda lf, llm: lf.filter(llm("q", returns=bool)).join(R.filter(llm("z", returns=bool)), **ON),
        7,
        3,
    ),
    "joined with itself": (
        lambda lf, llm: lf.filter(llm("q", returns=bool)).pipe(lambda d: d.join(d, on="i", maintain_order="left")),
        4,
        4,
    ),
}
"""Queries, with the requests as written and optimised."""

KEPT: dict[str, tuple[Query, int, int]] = {
    "a cast that may raise": (
        lambda lf, llm: (
            lf.filter(NUMBERS.fill_null(value=False) & llm("q", returns=Color).is_not_null())
            .with_columns(k=pl.col("s").cast(pl.Int64))
            .filter(K > 5)
        ),
        4,
        3,
    ),
    "a limit between": (_asked(lambda lf, _: lf.head(3).rename({"i": "k"}).filter(K < 1)), 4, 4),
    "a row number between": (_asked(lambda lf, _: lf.with_row_index("k").filter(V == 1)), 4, 4),
    "the rows counted": (_asked(lambda lf, _: lf.explode("l").filter(pl.len() > 4)), 4, 4),
    "a sum of what is exploded": (_asked(lambda lf, _: lf.explode("l").filter(NUMBER.sum() > NUMBER)), 4, 4),
    "the first of numbers that are equal and not the same": (
        lambda lf, llm: (
            lf.filter(llm("{i}", returns=Color) != "")
            .unique("f", keep="last", maintain_order=True)
            .filter((1 / pl.col("f")) > 0)
        ),
        6,
        6,
    ),
    "a filter on what is aggregated": (
        lambda lf, llm: lf.with_columns(a=llm("q")).group_by("g", maintain_order=True).agg("a", V.sum()).filter(V > 4),
        4,
        4,
    ),
    "an aggregation that draws": (
        lambda lf, llm: (
            lf.with_columns(a=llm("q"))
            .group_by("g", maintain_order=True)
            .agg("a", w=V.shuffle(seed=1).first() * 0)
            .filter(pl.col("g") == "x")
        ),
        4,
        4,
    ),
    "a join that looks for duplicates": (
        _asked(lambda lf, _: lf.filter(NUMBER == 2).join(R, on="g", validate="1:1", maintain_order="left")),
        4,
        1,
    ),
    "a full join": (_asked(lambda lf, _: lf.join(R, how="full", **ON)), 4, 4),
    "the right side of a left join": (
        lambda lf, llm: R.join(lf.filter(llm("q", returns=bool)), how="left", **ON),
        4,
        4,
    ),
    "a column that would be another one's": (
        lambda lf, llm: R.join(lf.with_columns(v=llm("q", returns=int)).filter(V > 0), **ON),
        4,
        4,
    ),
    "a dropped column comes back in a join": (
        lambda lf, llm: lf.with_columns(z=llm("q", returns=bool)).filter("z").drop("z").join(R, **ON),
        4,
        4,
    ),
}
"""Queries in which a move would change the frame, or might raise."""


@pytest.mark.parametrize("name", [*MOVED, *KEPT])
def test_frames_stay_and_requests_are_saved(name: str) -> None:
    query, naive, optimised = {**MOVED, **KEPT}[name]
    assert assert_equivalent(query, D) == (naive, optimised)


def test_what_is_computed_from_itself_stays_short() -> None:
    def query(lf: pl.LazyFrame, llm: object) -> pl.LazyFrame:
        lf = lf.with_columns(p=llm("q", returns=Person))  # type: ignore[operator]
        lf = lf.unnest("p").with_columns(k=NUMBER)
        for _ in range(40):
            lf = lf.with_columns(k=K - K + 1, a=pl.col("name") + "!")
        return lf.filter(K < 5)

    assert assert_equivalent(query, D) == (4, 4)


AROUND: dict[str, tuple[Query, int, int]] = {
    "a column": (lambda lf, llm: lf.select("i", a=pl.col("g") + llm(pl.lit("c"))), 1, 1),
    "an aggregate": (lambda lf, llm: lf.select(a=V.sum().cast(pl.String) + llm(pl.col("q").str.join(","))), 1, 1),
    "another call, a row each": (lambda lf, llm: lf.select(a=llm("q") + llm(pl.lit("c"))), 5, 5),
    "two calls": (lambda lf, llm: lf.select(a=llm(pl.col("q").max()) + llm(pl.lit("c"))), 2, 2),
    "a condition": (
        lambda lf, llm: lf.select("i", a=pl.when(V > 9).then(llm(pl.lit("c"))).otherwise(pl.col("g"))),
        1,
        0,
    ),
    "an empty frame": (lambda lf, llm: lf.head(0).select("i", a=pl.col("g") + llm(pl.lit("c"))), 0, 0),
    "no rows and one value": (lambda lf, llm: lf.head(0).select(a=pl.len().cast(pl.String) + llm(pl.lit("c"))), 1, 1),
    "one value a group": (
        lambda lf, llm: lf.group_by("g", maintain_order=True).agg(
            a=pl.format("{}: {}", V.first(), llm(pl.col("q").str.join(",")))
        ),
        3,
        3,
    ),
    "a field of a struct": (
        lambda lf, llm: lf.group_by("g", maintain_order=True).agg(
            a=pl.struct(n=pl.len(), a=llm(pl.col("q").first(), returns=int))
        ),
        3,
        3,
    ),
    "a condition of the group": (
        lambda lf, llm: lf.group_by("g", maintain_order=True).agg(
            a=pl.when(pl.len() > 2).then(llm(pl.col("q").str.join(","))).otherwise(pl.col("q").first())
        ),
        3,
        1,
    ),
    "what the group has, or else": (
        lambda lf, llm: lf.group_by("g", maintain_order=True).agg(
            a=pl.coalesce(pl.col("q").filter(V > 2).first(), llm(pl.col("s").str.join(",")))
        ),
        3,
        2,
    ),
    "groups that pass, by more than an answer": (
        lambda lf, llm: (
            lf.group_by("g", maintain_order=True)
            .having((pl.len() > 2) | llm(pl.col("q").str.join(","), returns=bool))
            .agg(pl.len())
        ),
        3,
        2,
    ),
}


@pytest.mark.parametrize("name", AROUND)
def test_an_expression_around_one_answer_reads_other_columns(name: str) -> None:
    query, naive, optimised = AROUND[name]
    assert assert_equivalent(query, D) == (naive, optimised)


def test_a_long_list_is_not_looked_into() -> None:
    values = pl.Series(range(100_000))
    query = _asked(lambda lf, _: lf.rename({"i": "k"}).filter(K.is_in(values.implode())))
    assert assert_equivalent(query, D) == (4, 4)
