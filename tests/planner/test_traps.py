"""The semantic traps of moving a call, each under its name: equal frames, no prompt more, and how many are asked.

Not here, and why:

| trap | why |
|---|---|
| `join_head_unordered` | Polars does not promise the rows: any result is right |
| `top_k_ties` | which of equal rows is kept differs between Polars' own engines |
| `self_join` of a volatile prompt | gives different prompts natively as well; only `.cache()` pins it |
| `horizontal_strict` | `concat(how="horizontal", strict=False)` no longer exists in Polars 2 |
| `filter_errors_that_vanish` | Polars promises nothing: fewer rows are looked at, an error may go, none may come |
| `seeded_shuffle` | the result depends on how many random expressions ran before, natively too |
| `io_sort_head` | a native sort hands no limit down; the captured one is `sort_then_head` in `test_minimum` |
| `unique([])` | Polars 2.1 panics, and so do we |
| section 8 | properties of expressions: `test_row_wise.py` |
| section 11 | SQL has its own tests |
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs
import pytest
from planner_kit import (
    PURE,
    Color,
    Person,
    answer,
    asking,
    assert_equivalent,
    assert_same,
    by_hand,
    engine,
    judged,
    planned,
)

import polar_llama as pll
from polar_llama.errors import PlanError
from polar_llama.planner.exprs import conjuncts

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner_kit import Query

D = pl.LazyFrame(
    {
        "i": [0, 1, 2, 3, 4, 5],
        "g": ["x", "x", "y", "y", "y", None],
        "q": ["p", "p", "r", "s", None, "t"],
        "v": [3, 3, 1, 2, 2, None],
    }
)
L = pl.LazyFrame({"k": [1, 2, 2, None], "q": ["p", "r", "r", "n"]})
R = pl.LazyFrame({"k": [2, 3, None], "z": ["x", "y", "z"]})
RA = R.with_columns(a=pl.lit("A"), q=pl.concat_str(pl.lit("R"), pl.col("k").fill_null(0).cast(pl.String)))
NUMBERS = pl.LazyFrame({"a": [1, 2, 3, 10, 90], "b": [1, 1, 2, 1, 9], "q": ["1", "2", "zz", None, "3"]})
ORDER: Any = {"maintain_order": "left_right"}
KEYS: Any = {"on": "k", **ORDER}

Trap = tuple[pl.LazyFrame, "Query", int, int]
"""A frame, a query, and the requests of the plan as written and of the optimised one."""

JOINS: dict[str, Trap] = {
    "join_right_literal_prompt": (
        L,
        lambda lf, llm: R.join(lf.with_columns(a=llm(pl.lit("const"))), how="left", **KEYS),
        1,
        1,
    ),
    "join_left_right_full_literal, right": (
        L,
        lambda lf, llm: lf.with_columns(a=llm(pl.lit("const"))).join(R, how="right", **KEYS),
        1,
        1,
    ),
    "join_left_right_full_literal, full": (
        L,
        lambda lf, llm: lf.with_columns(a=llm(pl.lit("const"))).join(R, how="full", **KEYS),
        1,
        1,
    ),
    "join_fill_null_template": (
        L,
        lambda lf, llm: lf.with_columns(a=llm(pl.format("ask {}", pl.col("q").fill_null("none")))).join(
            R, how="full", **KEYS
        ),
        3,
        3,
    ),
    "join_prompt_is_key, right": (L, lambda lf, llm: lf.with_columns(a=llm("{k}")).join(R, how="right", **KEYS), 2, 1),
    "join_prompt_is_key, full": (
        L,
        lambda lf, llm: lf.with_columns(a=llm("{k}")).join(R, how="full", coalesce=True, **KEYS),
        2,
        2,
    ),
    "join_prompt_is_key, right side": (
        L,
        lambda lf, llm: R.join(lf.with_columns(a=llm("{k}")), how="left", **KEYS),
        2,
        1,
    ),
    "join_prompt_collides": (L, lambda lf, llm: RA.join(lf.with_columns(b=llm("q")), how="left", **KEYS), 3, 1),
    "join_answer_collides": (L, lambda lf, llm: lf.with_columns(a=llm("q")).join(RA, **KEYS), 3, 1),
    "join_answer_collides_from_right": (
        L,
        lambda lf, llm: RA.join(lf.with_columns(a=llm("q")), how="left", **KEYS),
        3,
        1,
    ),
    "join_on_answer": (
        L,
        lambda lf, llm: lf.with_columns(a=llm("q")).join(R.with_columns(a=pl.lit("r!")), on="a", **ORDER),
        3,
        3,
    ),
    "join_on_answer, null": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q")).join(
            lf.with_columns(a=llm("q")), on="a", nulls_equal=True, **ORDER
        ),
        4,
        4,
    ),
    "semi": (L, lambda lf, llm: lf.with_columns(a=llm("q")).join(R, on="k", how="semi", maintain_order="left"), 3, 1),
    "anti": (L, lambda lf, llm: lf.with_columns(a=llm("q")).join(R, on="k", how="anti", maintain_order="left"), 3, 2),
    "semi, right side dropped": (
        L,
        lambda lf, llm: R.join(lf.with_columns(a=llm("q")), on="k", how="semi", maintain_order="left"),
        3,
        0,
    ),
    "cross": (L, lambda lf, llm: lf.with_columns(a=llm("q")).join(R.head(2), how="cross", **ORDER), 3, 3),
    "asof_right_literal": (
        L,
        lambda lf, llm: (
            R.drop_nulls()
            .sort("k")
            .join_asof(lf.drop_nulls().sort("k").with_columns(a=llm(pl.lit("c"))), on="k", tolerance=0)
        ),
        1,
        1,
    ),
    "horizontal_extend_short_side": (
        L,
        lambda lf, llm: pl.concat(
            [lf, pl.LazyFrame({"s": [1, 2]}).with_columns(a=llm(pl.lit("c")))], how="horizontal_extend"
        ),
        1,
        1,
    ),
    "filter_below_full": (
        L,
        lambda lf, llm: lf.with_columns(a=llm("q")).join(R, how="full", **KEYS).filter(pl.col("a").is_null()),
        3,
        3,
    ),
    "filter_right_of_left": (
        L,
        lambda lf, llm: lf.with_columns(a=llm("q")).join(R, how="left", **KEYS).filter(pl.col("z").is_null()),
        3,
        2,
    ),
    "self_join": (D, lambda lf, llm: lf.with_columns(a=llm("q")).pipe(lambda d: d.join(d, on="i", **ORDER)), 4, 4),
    "self_concat": (D, lambda lf, llm: lf.with_columns(a=llm("q")).pipe(lambda d: pl.concat([d, d])), 4, 4),
}

COLUMNS: dict[str, Trap] = {
    "input_overwritten": (D, lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(q=pl.lit("new")), 4, 4),
    "input_overwritten_same_verb": (D, lambda lf, llm: lf.with_columns(a=llm("q"), q=pl.lit("new")), 4, 4),
    "input_dropped": (D, lambda lf, llm: lf.with_columns(a=llm("q")).drop("q").head(2), 4, 1),
    "input_dropped, select": (D, lambda lf, llm: lf.with_columns(a=llm("q")).select("a").head(2), 4, 1),
    "input_rename_swap": (D, lambda lf, llm: lf.with_columns(a=llm("q")).rename({"q": "g", "g": "q"}).head(3), 4, 2),
    "answer_overwritten": (D, lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(a=pl.lit("z")), 4, 0),
    "answer_replaces_column": (D, lambda lf, llm: lf.with_columns(g=llm("q")).filter(pl.col("g") == "x"), 4, 4),
    "answer_replaces_own_prompt": (D, lambda lf, llm: lf.with_columns(q=llm("q")).filter(pl.col("q") != "p!"), 4, 4),
    "two names": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(b=pl.col("a")).filter(pl.col("v") == 2),
        4,
        1,
    ),
}


def _unique(column: str, keep: Any, returns: Any) -> Query:
    return lambda lf, llm: lf.with_columns(a=llm("q", returns=returns)).unique(column, keep=keep, maintain_order=True)


DISTINCT: dict[str, Trap] = {
    **{
        f"unique_subset_other, {keep}": (D, _unique("g", keep, str), 4, asked)
        for keep, asked in (("first", 3), ("last", 2), ("none", 1))
    },
    **{f"unique_by_answer, {keep}": (D, _unique("a", keep, bool), 4, 4) for keep in ("first", "last", "none")},
    "unique_all_with_slot": (
        D,
        lambda lf, llm: lf.select(a=llm("q", returns=bool)).unique(maintain_order=True),
        4,
        4,
    ),
    "unique_all_functional": (
        D,
        lambda lf, llm: lf.select("q", a=llm("q")).unique(keep="last", maintain_order=True),
        4,
        4,
    ),
    "unique_all_negative_zero": (
        pl.LazyFrame({"f": [0.0, -0.0]}),
        lambda lf, llm: lf.with_columns(a=llm("{f}")).unique(keep="first", maintain_order=True),
        2,
        2,
    ),
    "filter_unique_swap": (
        D,
        lambda lf, llm: lf.filter(llm("{i}", returns=bool)).unique("g", keep="none", maintain_order=True),
        6,
        6,
    ),
    "unique_filter_swap": (
        D,
        lambda lf, llm: (
            lf.with_columns(a=llm("{i}", returns=bool)).unique("g", keep="first", maintain_order=True).filter("a")
        ),
        6,
        3,
    ),
}


def _early(steps: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Query:
    return lambda lf, llm: steps(lf.with_columns(n="i").filter(llm("{i}", returns=bool)))


ROWS: dict[str, Trap] = {
    "sort_by_answer": (D, lambda lf, llm: lf.with_columns(a=llm("q")).sort("a", maintain_order=True).head(2), 4, 4),
    "sort_by_answer, expression": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q")).sort(pl.col("a").str.len_chars(), "i").head(2),
        4,
        4,
    ),
    "top_k_by_answer": (D, lambda lf, llm: lf.with_columns(a=llm("{i}")).top_k(2, by="a"), 6, 6),
    "sort_other": (D, lambda lf, llm: lf.with_columns(a=llm("q")).sort("v", "i", descending=True).tail(2), 4, 2),
    "filter_sort_swap": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q")).sort("v", maintain_order=True).filter(pl.col("a") != "p!"),
        4,
        4,
    ),
    "filter_sort_swap, key not row-wise": (
        D,
        lambda lf, llm: lf.sort(llm("q").shift(1), "i", maintain_order=True).filter(pl.col("v") > 1),
        4,
        4,
    ),
    "filter_head_swap": (D, lambda lf, llm: lf.with_columns(a=llm("q")).head(3).filter(pl.col("a") != "p!"), 4, 2),
    "filter_head_swap, free": (D, lambda lf, llm: lf.with_columns(a=llm("q")).head(3).filter(pl.col("v") < 3), 4, 1),
    "filter_top_k": (D, lambda lf, llm: lf.filter(llm("{i}", returns=bool)).top_k(1, by=["v", "i"]), 6, 6),
    "top_k_nulls": (D, lambda lf, llm: lf.with_columns(a=llm("q")).top_k(6, by=["v", "i"]), 4, 4),
    "row_index": (D, lambda lf, llm: lf.with_columns(a=llm("q")).with_row_index("n").filter(pl.col("n") < 2), 4, 1),
    "row_index, filter": (D, lambda lf, llm: lf.filter(llm("{i}", returns=bool)).with_row_index("n"), 6, 6),
    "row_index, answer": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("{i}", returns=bool)).with_row_index("n").filter("a"),
        6,
        6,
    ),
    "tail": (D, lambda lf, llm: lf.with_columns(a=llm("q")).tail(2), 4, 1),
    "slice(-2, 1)": (D, lambda lf, llm: lf.with_columns(a=llm("q")).slice(-2, 1), 4, 0),
    "slice(-9, 2)": (D, lambda lf, llm: lf.with_columns(a=llm("q")).slice(-9, 2), 4, 0),
    "gather_every": (D, lambda lf, llm: lf.with_columns(a=llm("q")).gather_every(3), 4, 2),
    "reverse": (D, lambda lf, llm: lf.with_columns(a=llm("q")).reverse().head(2), 4, 1),
    "first": (D, lambda lf, llm: lf.with_columns(a=llm("q")).first(), 4, 1),
    "last": (D, lambda lf, llm: lf.with_columns(a=llm("q")).last(), 4, 1),
    "gather": (D, lambda lf, llm: lf.with_columns(a=llm("q")).select(pl.all().gather([0, 0])), 4, 4),
    "shift(1)": (D, lambda lf, llm: lf.with_columns(a=llm(pl.lit("c"))).shift(1), 1, 1),
    "shift, fill_value": (D, lambda lf, llm: lf.select(a=llm("q", returns=int)).shift(2, fill_value=7), 4, 4),
    "early_stop_offset": (D, _early(lambda lf: lf.slice(1, 1)), 6, 6),
    "early_stop_tail": (D, _early(lambda lf: lf.tail(1)), 6, 6),
    "early_stop_over_row_wise": (D, _early(lambda lf: lf.with_columns(n=pl.col("i") + 1).head(1)), 6, 5),
    "early_stop_over_len": (D, _early(lambda lf: lf.with_columns(n=pl.len()).head(1)), 6, 6),
    "early_stop_over_sort": (D, _early(lambda lf: lf.sort("i", descending=True).head(1)), 6, 6),
    "early_stop_over_unique": (D, _early(lambda lf: lf.unique("g", keep="last", maintain_order=True).head(1)), 6, 6),
    "early_stop_over_group_by": (
        D,
        _early(lambda lf: lf.group_by("g", maintain_order=True).agg(pl.col("i").sum()).head(1)),
        6,
        6,
    ),
    "early_stop_over_explode": (
        D,
        _early(lambda lf: lf.with_columns(n=pl.int_ranges(0, "i")).explode("n").head(1)),
        6,
        6,
    ),
    "early_stop_over_join": (D, _early(lambda lf: lf.join(R, left_on="v", right_on="k", **ORDER).head(1)), 6, 4),
    "early_stop_over_cum_sum": (D, _early(lambda lf: lf.with_columns(n=pl.col("i").cum_sum()).head(1)), 6, 6),
}


def _beside(w: pl.Expr) -> Query:
    return lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(w=w).filter(pl.col("v") != 3)


NUMBERED = pl.LazyFrame({"q": ["p", "r", "s"], "f": [1.5, float("nan"), None]})

FILTERS: dict[str, Trap] = {
    **{
        f"filter_past_nonrowwise, {name}": (D, _beside(w), 4, 2)
        for name, w in {
            "shift": pl.col("v").shift(),
            "cum_sum": pl.col("v").cum_sum(),
            "mean": pl.col("v").mean(),
            "over": pl.col("v").sum().over("g"),
            "rank": pl.col("v").rank(),
            "len": pl.len(),
            "is_duplicated": pl.col("v").is_duplicated(),
            "reverse": pl.col("i").reverse(),
            "int_range": pl.int_range(pl.len()),
        }.items()
    },
    "and_split_aggregate": (
        NUMBERS,
        lambda lf, llm: lf.filter((pl.col("a") > pl.col("a").mean()) & llm("{b}", returns=bool) & (pl.col("b") < 3)),
        3,
        0,
    ),
    "and_split_aggregate, of an answer": (
        NUMBERS,
        lambda lf, llm: lf.filter((llm("{a}", returns=int) > llm("{a}", returns=int).mean()) & (pl.col("b") < 3)),
        5,
        5,
    ),
    "filter_multi_args": (
        D,
        lambda lf, llm: lf.filter(llm("{i}", returns=bool), pl.col("v") >= pl.col("v").mean(), g="x"),
        6,
        2,
    ),
    "and_split_nulls": (
        D,
        lambda lf, llm: lf.filter(llm("{i}", returns=bool | None) & (pl.col("v") > 1)),
        6,
        4,
    ),
    "remove_and": (D, lambda lf, llm: lf.remove(llm("{i}", returns=bool | None) & (pl.col("v") > 1)), 6, 4),
    "remove_and, two arguments": (D, lambda lf, llm: lf.remove(llm("{i}", returns=bool | None), pl.col("v") > 1), 6, 4),
    "filter_free_past_filter_model": (
        D,
        lambda lf, llm: lf.filter(llm("{i}", returns=bool)).filter(pl.col("g").is_duplicated()),
        6,
        6,
    ),
    "filter_free_past_filter_model, row-wise": (
        D,
        lambda lf, llm: lf.filter(llm("{i}", returns=bool)).filter(pl.col("g") == "x"),
        6,
        2,
    ),
    "guard_predicate": (
        NUMBERS,
        lambda lf, llm: lf.filter(llm("q", returns=Color).is_in(["green", "blue"]) & (pl.col("q") != "zz")).filter(
            pl.col("q").cast(pl.Int64) > 1
        ),
        4,
        3,
    ),
    "guard_column": (
        NUMBERS,
        lambda lf, llm: lf.filter(llm("q") != "zz!").with_columns(n=pl.col("q").cast(pl.Int64)).filter(pl.col("n") > 1),
        4,
        4,
    ),
    "positional_mask": (
        D,
        lambda lf, llm: lf.filter(llm("{i}", returns=bool)).filter(pl.lit(pl.Series([True, False]))),
        6,
        6,
    ),
    "selector_hidden_bool": (
        D.with_columns(c=pl.col("v") > 1),
        lambda lf, llm: lf.filter(cs.boolean(), llm("{i}", returns=bool)),
        6,
        4,
    ),
    "selector_of_answers": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q", returns=bool)).filter(cs.boolean(), pl.col("^v$") > 2),
        4,
        1,
    ),
    "selector_that_spares_answers": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q")).with_columns(cs.integer() * 2).sort(cs.integer()).head(1),
        4,
        1,
    ),
    "selector_in_a_mask": (
        D,
        lambda lf, llm: lf.filter(pl.any_horizontal(cs.integer() > 2, llm("{i}", returns=bool))),
        6,
        1,
    ),
    "selector_of_groups": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q")).group_by("g", maintain_order=True).agg(cs.integer().sum()),
        4,
        0,
    ),
    "selector_hidden_number": (
        D,
        lambda lf, llm: lf.filter(pl.all_horizontal(cs.integer() > 0), llm("{i}", returns=int) < 9),
        6,
        4,
    ),
    "cache": (D, lambda lf, llm: lf.with_columns(a=llm("q")).cache().filter(pl.col("i") < 2).lazy().clone(), 4, 1),
    "drop_nulls": (D, lambda lf, llm: lf.with_columns(a=llm("q")).drop_nulls(), 4, 3),
    "drop_nans": (NUMBERED, lambda lf, llm: lf.with_columns(a=llm("q")).drop_nans(), 3, 3),
    "drop_nans, subset": (NUMBERED, lambda lf, llm: lf.with_columns(a=llm("q")).drop_nans("f"), 3, 2),
    "drop_nulls, subset": (D, lambda lf, llm: lf.with_columns(a=llm("q")).drop_nulls("g"), 4, 3),
    "fill_null": (D, lambda lf, llm: lf.with_columns(a=llm("q")).fill_null("z"), 4, 4),
    "fill_null, of another dtype": (D, lambda lf, llm: lf.with_columns(a=llm("q", returns=int)).fill_null("z"), 4, 4),
    "fill_null, strategy": (D, lambda lf, llm: lf.with_columns(a=llm("q")).fill_null(strategy="forward"), 4, 4),
    "null_answers": (D, lambda lf, llm: lf.with_columns(a=llm("q")).filter(pl.col("a").is_null()), 4, 4),
    "enum_order": (D, lambda lf, llm: lf.with_columns(a=llm("q", returns=Color)).sort("a", "i"), 4, 4),
    "enum_fill_null": (
        D,
        lambda lf, llm: lf.with_columns(
            a=llm("q", returns=Color).fill_null("blue"), b=llm("q", returns=Color) == "blue"
        ),
        4,
        4,
    ),
}

HEIGHTS: dict[str, Trap] = {
    "select_literal_prompt": (D, lambda lf, llm: lf.select(a=llm(pl.lit("c"))), 1, 1),
    "select_literal_prompt, beside": (D, lambda lf, llm: lf.select("v", a=llm(pl.lit("c"))), 1, 1),
    "select_literal_prompt, no rows": (D.clear(), lambda lf, llm: lf.select(a=llm(pl.lit("c"))), 1, 1),
    "select_literal_prompt, no rows beside": (D.clear(), lambda lf, llm: lf.select("v", a=llm(pl.lit("c"))), 0, 0),
    "with_columns_literal, no rows": (D.clear(), lambda lf, llm: lf.with_columns(a=llm(pl.lit("c"))), 0, 0),
    "select_aggregated_prompt": (D, lambda lf, llm: lf.select(a=llm(pl.col("q").str.join(","))), 1, 1),
    "select_aggregated_prompt, no rows": (D.clear(), lambda lf, llm: lf.select(a=llm(pl.col("q").max())), 0, 0),
    "select_aggregated_prompt, len": (D, lambda lf, llm: lf.select(pl.len(), a=llm(pl.lit("c"))), 1, 1),
    "select_aggregated_prompt, computed": (
        D,
        lambda lf, llm: lf.select(a=llm(pl.col("q").max()).str.len_chars()),
        1,
        1,
    ),
    "select_filtered_prompts": (
        D,
        lambda lf, llm: lf.select(pl.col("i").filter(pl.col("v") > 2), a=llm(pl.col("q").filter(pl.col("v") > 2))),
        1,
        1,
    ),
    "select_reordering_beside": (D, lambda lf, llm: lf.select(pl.col("v").sort(), llm("q")), 4, 4),
    "head0": (D, lambda lf, llm: lf.with_columns(a=llm("q", returns=Person)).head(0), 4, 0),
    "select_len": (D, lambda lf, llm: lf.with_columns(a=llm("q", returns=bool)).select(pl.len()), 4, 0),
    "drop_all": (D, lambda lf, llm: lf.with_columns(a=llm("q")).drop(pl.selectors.all()), 4, 0),
    "name_leak, left literal": (D, lambda lf, llm: lf.select(pl.lit("x") + llm("q")), 4, 4),
    "name_leak, when": (
        D,
        lambda lf, llm: lf.select("q", pl.when(pl.col("v") > 1).then(llm("q")).otherwise(pl.col("g"))),
        4,
        2,
    ),
    "name_leak, coalesce": (D, lambda lf, llm: lf.select(pl.coalesce(llm("q"), "g")), 4, 4),
    "name_leak, struct": (D, lambda lf, llm: lf.select(s=pl.struct("i", llm("q").alias("a"))), 4, 4),
    "explode": (
        D.with_columns(n=pl.int_ranges(0, pl.col("v") - 1)),
        lambda lf, llm: lf.with_columns(a=llm("q")).explode("n"),
        4,
        3,
    ),
    "explode_empty": (
        pl.LazyFrame({"q": ["p", "r", "s"], "n": [[1], [], None]}),
        lambda lf, llm: lf.with_columns(a=llm("q")).explode("n"),
        3,
        2,
    ),
    "explode_answer": (D, lambda lf, llm: lf.with_columns(a=llm("q", returns=list[str])).explode("a"), 4, 4),
    "unnest_answer": (D, lambda lf, llm: lf.with_columns(a=llm("q", returns=Person)).unnest("a"), 4, 4),
    "unpivot_index": (D, lambda lf, llm: lf.with_columns(a=llm("q")).unpivot(on="v", index="i"), 4, 4),
    "group_by_answer": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q", returns=bool)).group_by("a", maintain_order=True).len(),
        4,
        4,
    ),
    "group_by_aggregated_prompt": (
        D,
        lambda lf, llm: lf.group_by("g", maintain_order=True).agg(a=llm(pl.col("q").str.join(","))),
        3,
        3,
    ),
    "group_by_aggregated_prompt, head": (
        D,
        lambda lf, llm: lf.group_by("g", maintain_order=True).agg(a=llm(pl.col("q").str.join(","))).head(1),
        3,
        1,
    ),
    "group_by_bare": (D, lambda lf, llm: lf.group_by("g", maintain_order=True).agg(a=llm("q")), 4, 4),
    "group_by_literal": (D, lambda lf, llm: lf.group_by("g", maintain_order=True).agg(a=llm(pl.lit("c"))), 1, 1),
    "group_by_first": (D, lambda lf, llm: lf.group_by("g", maintain_order=True).agg(a=llm("q").first()), 4, 4),
    "group_by_dropped": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q")).group_by("g", maintain_order=True).agg(pl.col("v").sum()),
        4,
        0,
    ),
    "concat_head": (
        D,
        lambda lf, llm: pl.concat([lf.with_columns(a=llm("q")), lf.reverse().with_columns(a=llm("{i}"))]).head(2),
        10,
        1,
    ),
    "concat_diagonal_missing": (
        D,
        lambda lf, llm: pl.concat([lf.with_columns(a=llm("q")), R], how="diagonal"),
        4,
        4,
    ),
    "concat_relaxed": (
        D,
        lambda lf, llm: pl.concat(
            [lf.select(a=llm("q", returns=int)), pl.LazyFrame({"a": [0.5]})], how="vertical_relaxed"
        ),
        4,
        4,
    ),
}


@pytest.mark.parametrize("name", [*JOINS, *COLUMNS, *DISTINCT, *ROWS, *FILTERS, *HEIGHTS])
def test_trap(name: str) -> None:
    frame, query, naive, optimised = {**JOINS, **COLUMNS, **DISTINCT, **ROWS, **FILTERS, **HEIGHTS}[name]
    assert assert_equivalent(query, frame) == (naive, optimised)


def test_join_on_call() -> None:
    """Polars takes no alias in a join key, so the judge cannot stand there; ours stands for its column."""
    other = pl.LazyFrame({"z": ["r!", "n!"], "y": [1, 2]})
    ran = planned(lambda lf, llm: lf.join(other, left_on=llm("q"), right_on="z", **ORDER), L)
    assert ran.frame.to_dict(as_series=False) == {
        "k": [2, 2, None],
        "q": ["r", "r", "n"],
        "z": ["r!", "r!", "n!"],
        "y": [1, 1, 2],
    }
    assert ran.prompts == {"p", "r", "n"}


REFUSED_BY_POLARS: dict[str, tuple[Query, type[Exception]]] = {
    "join_suffix_duplicate": (
        lambda lf, llm: lf.with_columns(v_right=llm("q")).join(D, on="i"),
        pl.exceptions.DuplicateError,
    ),
    "row_index_collides": (
        lambda lf, llm: lf.with_columns(index=llm("q")).with_row_index(),
        pl.exceptions.DuplicateError,
    ),
    "rename_missing": (
        lambda lf, llm: lf.with_columns(a=llm("q")).rename({"zz": "y"}),
        pl.exceptions.ColumnNotFoundError,
    ),
    "drop_missing": (lambda lf, llm: lf.with_columns(a=llm("q")).drop("zz"), pl.exceptions.ColumnNotFoundError),
    "wc_duplicate_names": (
        lambda lf, llm: lf.with_columns(llm("q").alias("a"), pl.lit(1).alias("a")),
        pl.exceptions.ComputeError,
    ),
    "selector_several": (
        lambda lf, llm: lf.with_columns(c=True, d=True).filter(cs.boolean() & llm("q", returns=bool)),
        pl.exceptions.ComputeError,
    ),
    "enum_of_another": (
        lambda lf, llm: lf.select(pl.when(pl.col("v") > 1).then(llm("q", returns=Color)).otherwise(pl.lit("zz"))),
        pl.exceptions.InvalidOperationError,
    ),
    "concat_of_other_enums": (
        lambda lf, llm: pl.concat(
            [lf.select(a=llm("q", returns=Color)), pl.LazyFrame({"a": []}, schema={"a": pl.Enum(["x"])})]
        ),
        pl.exceptions.PolarsError,
    ),
}


@pytest.mark.parametrize("name", REFUSED_BY_POLARS)
def test_what_polars_refuses_is_refused_before_anything_is_asked(name: str) -> None:
    query, error = REFUSED_BY_POLARS[name]
    with pytest.raises(error):
        judged(query, D)
    with pytest.raises(error):
        engine(query, D)
    assert PURE.asked == []


def test_head_negative_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="negative"):
        D.head(-1)
    with pytest.raises(ValueError, match="negative"):
        D.with_columns(a=pll.llm("q")).head(-1)


def test_select_mixed_lengths_is_refused_by_both() -> None:
    def query(lf: pl.LazyFrame, llm: Callable[..., pl.Expr]) -> pl.LazyFrame:
        return lf.select("v", pl.col("q").unique(), a=llm("q"))

    with pytest.raises(pl.exceptions.ShapeError):
        judged(query, D)
    with pytest.raises(pl.exceptions.ShapeError):
        planned(query, D)


# --- masks: c is a free operand, x an answer, and each row of the frame is one pair of their values

LETTERS: dict[str, bool | None] = {"T": True, "F": False, "N": None}


def _pairs() -> pl.LazyFrame:
    prompts = {x: (p for p in map(str, itertools.count()) if answer(p, bool | None) is x) for x in LETTERS.values()}
    rows = [(c, next(prompts[x])) for c in LETTERS.values() for x in LETTERS.values()]
    return pl.LazyFrame(rows, schema={"c": pl.Boolean, "q": pl.String}, orient="row")


PAIRS = _pairs()
C = pl.col("c")

MASKS: dict[str, tuple[Callable[[pl.Expr], pl.Expr], str, str, str]] = {
    "c | x": (lambda x: C | x, "FN", "FN", "FN"),
    "x | c": (lambda x: x | C, "FN", "FN", "FN"),
    "any_horizontal": (lambda x: pl.any_horizontal(C, x), "FN", "FN", "FN"),
    "c & x": (lambda x: C & x, "TN", "T", "T"),
    "all_horizontal": (lambda x: pl.all_horizontal(C, x), "TN", "T", "T"),
    "~(c & x)": (lambda x: ~(C & x), "TN", "TN", "TN"),
    "~(c | x)": (lambda x: ~(C | x), "FN", "F", "F"),
    "(c & x).fill_null(True)": (lambda x: (C & x).fill_null(value=True), "TN", "TN", "TN"),
    "(c & x).is_null()": (lambda x: (C & x).is_null(), "TN", "TN", "TN"),
    "when(c).then(x).otherwise(False)": (lambda x: pl.when(C).then(x).otherwise(statement=False), "T", "T", "T"),
    "when(c).then(False).otherwise(x)": (lambda x: pl.when(C).then(statement=False).otherwise(x), "FN", "FN", "FN"),
    "coalesce(c, x)": (lambda x: pl.coalesce(C, x), "N", "N", "N"),
    "c.fill_null(x)": (C.fill_null, "N", "N", "N"),
    "coalesce(x, c)": (lambda x: pl.coalesce(x, C), "TFN", "TFN", "TFN"),
    "c.eq_missing(x)": (C.eq_missing, "TFN", "TFN", "TFN"),
    "c ^ x": (lambda x: C ^ x, "TFN", "TFN", "TFN"),  # TF would do: null has no say in XOR, a mask not worth its lines
    "c == x": (lambda x: x == C, "TFN", "TFN", "TFN"),
}
"""By form: for which c the answer is asked for its value, in a filter, and in a remove."""

VERBS = (lambda lf, e: lf.with_columns(o=e), pl.LazyFrame.filter, pl.LazyFrame.remove)


@pytest.mark.parametrize("verb", [0, 1, 2], ids=["value", "filter", "remove"])
@pytest.mark.parametrize("form", MASKS)
def test_mask(form: str, verb: int) -> None:
    make, *wanted = MASKS[form]

    def query(lf: pl.LazyFrame, llm: Callable[..., pl.Expr]) -> pl.LazyFrame:
        return VERBS[verb](lf, make(llm("q", returns=bool | None)))

    assert_equivalent(query, PAIRS)
    asked = PAIRS.filter(pl.col("q").is_in(list(planned(query, PAIRS).prompts))).collect()["c"]
    assert {letter for letter, value in LETTERS.items() if value in asked.to_list()} == set(wanted[verb])


def _then(form: Callable[[pl.Expr], pl.Expr]) -> Query:
    return lambda lf, llm: lf.with_columns(o=pl.when(pl.col("v") > 1).then(form(llm("{i}", returns=int))))


def _windowed(condition: pl.Expr) -> Query:
    return lambda lf, llm: lf.with_columns(o=pl.when(condition).then(llm("{i}", returns=int)).max().over("g"))


PATHS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "shift": lambda x: x.shift(),
    "first": lambda x: x.first(),
    "n_unique": lambda x: x.n_unique(),
    "over": lambda x: x.max().over("g"),
    "any": lambda x: (x > 3).any(),
}

READERS: dict[str, Trap] = {
    "mask_null_condition": (
        D,
        lambda lf, llm: lf.filter((pl.col("v") > 1) | llm("{i}", returns=bool)),
        6,
        2,
    ),
    "mask_chain": (
        D,
        lambda lf, llm: lf.select(
            o=pl.when(pl.col("v") == 3)
            .then(llm("a {i}"))
            .when(pl.col("v") == 2)
            .then(llm("b {i}"))
            .otherwise(llm("c {i}"))
        ),
        18,
        6,
    ),
    "mask_visible_answer": (
        D,
        lambda lf, llm: lf.with_columns(a=llm("q")).filter((pl.col("v") > 1) | (pl.col("a") == "r!")),
        4,
        4,
    ),
    "mask_two_readers": (
        D,
        lambda lf, llm: lf.with_columns(
            x=pl.when(pl.col("v") > 1).then(llm("{i}")), y=pl.when(~(pl.col("v") > 1)).then(llm("{i}"))
        ),
        6,
        5,
    ),
    **{f"mask_nonrowwise_path, {name}": (D, _then(form), 6, 6) for name, form in PATHS.items()},
    "mask_inside_a_window": (D, _windowed(pl.col("v") > 1), 6, 4),
    "mask_inside_a_window, whose condition is another one there": (
        D,
        _windowed(pl.col("v") > pl.col("v").mean()),
        6,
        6,
    ),
    "mask_inside_a_window, guarded in vain": (
        D,
        lambda lf, llm: lf.with_columns(
            o=pl.when(pl.col("i") == 0).then(pl.when(pl.col("v") > 1).then(llm("{i}")).reverse().forward_fill())
        ),
        6,
        4,
    ),
    "mask_condition_nonrowwise": (
        D,
        lambda lf, llm: lf.with_columns(o=pl.when(pl.col("v") >= pl.col("v").mean()).then(llm("{i}"))),
        6,
        2,
    ),
    "mask_condition_reads_answer": (
        D,
        lambda lf, llm: lf.with_columns(o=pl.when(llm("{i}", returns=Color) != "blue").then(llm("on {i}"))),
        12,
        6 + sum(answer(str(i), Color) != "blue" for i in range(6)),
    ),
    "mask_condition_reads_answer, both ways": (
        D,
        lambda lf, llm: lf.with_columns(
            o=pl.when(llm("{i}", returns=bool)).then(llm("on {i}", returns=bool)),
            p=pl.when(llm("on {i}", returns=bool)).then(llm("{i}", returns=bool)),
        ),
        12,
        12,
    ),
    "when_dtype": (
        D,
        lambda lf, llm: lf.select(o=pl.when(pl.lit(value=True)).then(llm("q")).otherwise(pl.col("v"))),
        4,
        4,
    ),
    "coalesce": (D, lambda lf, llm: lf.select(o=pl.coalesce("g", llm("{i}"))), 6, 1),
    "coalesce_nan": (
        pl.LazyFrame({"f": [float("nan"), None, 1.0], "i": [0, 1, 2]}),
        lambda lf, llm: lf.select(o=pl.coalesce("f", llm("{i}", returns=int))),
        3,
        1,
    ),
    "is_in_null": (D, lambda lf, llm: lf.select(o=llm("q", returns=int).is_in([1, None])), 4, 4),
}


@pytest.mark.parametrize("name", READERS)
def test_mask_readers(name: str) -> None:
    frame, query, naive, optimised = READERS[name]
    assert assert_equivalent(query, frame) == (naive, optimised)


# --- reconstruct and compare

A, B = pl.col("a") > 1, pl.col("b") > 1


CONJUNCTS: dict[str, tuple[pl.Expr, int]] = {
    "a & b": (A & B, 2),
    "a.and_(b)": (A.and_(B), 2),
    "a.and_(b, a)": (A.and_(B, A), 3),
    "a & (b & a)": (A & (B & A), 3),
    "a & a": (A & A, 2),
    "alias": ((A & B).alias("z"), 2),
    "name.keep": ((A & B).name.keep(), 2),
    "all_horizontal of two": (pl.all_horizontal(A, B), 2),
    "all_horizontal of three": (pl.all_horizontal(A, B, A), 3),
    "a | b": (A | B, 1),
    "a ^ b": (A ^ B, 1),
    "a == b": (A == B, 1),
    "~(a & b)": (~(A & B), 1),
    "a.fill_null(b)": (A.fill_null(B), 1),
    "any_horizontal": (pl.any_horizontal(A, B), 1),
    "fold": (pl.fold(pl.lit(value=True), lambda x, y: x & y, [A, B]), 1),
    "when": (pl.when(A).then(B), 1),
    "a Python function": (A.map_batches(lambda s: s) & B, 2),
}


@pytest.mark.parametrize("name", CONJUNCTS)
def test_conjuncts(name: str) -> None:
    predicate, parts = CONJUNCTS[name]
    found = conjuncts(predicate)
    assert len(found) == parts
    frame = NUMBERS.collect()
    assert_same(frame.filter(predicate), frame.filter(*found))


def test_conjuncts_of_a_long_chain() -> None:
    chain = A
    for _ in range(300):
        chain = chain & B
    assert len(conjuncts(chain)) == 301


# --- the io source: queries of Polars over a native leaf


def leaf(frame: pl.LazyFrame) -> pl.LazyFrame:
    """What functions of Polars see of a captured frame."""
    return pl.LazyFrame._from_pyldf(frame._ldf)


LEAVES: dict[str, tuple[Callable[[pl.LazyFrame], pl.LazyFrame], int]] = {
    "io_limit_before_predicate": (lambda lf: lf.head(2).filter(pl.col("v") > 3), 1),
    "io_limit_after_predicate": (lambda lf: lf.filter(pl.col("v") == 2).head(1), 1),
    "io_empty_projection": (lambda lf: lf.with_row_index().select("index"), 0),
    "io_len_projects_answer": (lambda lf: lf.select("i", "q").select(pl.len()), 0),
    "io_count": (lambda lf: lf.count(), 4),
    "io_select_lit": (lambda lf: lf.select(pl.lit(1)), 0),
    "io_head0": (lambda lf: lf.head(0), 0),
    "io_predicate_forms, udf": (
        lambda lf: lf.filter(pl.col("v").map_batches(lambda v: v > 2, return_dtype=pl.Boolean, is_elementwise=True)),
        1,
    ),
    "io_predicate_forms, aggregate": (lambda lf: lf.filter(pl.col("v") >= pl.col("v").mean()), 4),
    "io_predicate_forms, answer": (lambda lf: lf.filter(pl.col("a") != "p!").select("i"), 4),
    "io_tail": (lambda lf: lf.tail(2), 4),
    "io_twice": (lambda lf: lf.join(lf, on="i", maintain_order="left_right"), 4),
    "io_projection": (lambda lf: lf.select("a", "i"), 4),
    "io_dropped": (lambda lf: lf.select("v", "i"), 0),
}


@pytest.mark.parametrize("on", ["in-memory", "streaming"])
@pytest.mark.parametrize("name", LEAVES)
def test_native_leaf(name: str, on: Any) -> None:
    steps, most = LEAVES[name]
    expected = steps(D.with_columns(a=by_hand("q")).collect().lazy()).collect()
    with asking():
        result = steps(leaf(D.with_columns(a=pll.llm("q")))).collect(engine=on)
    assert_same(result, expected)
    assert len(PURE.asked) <= most


def test_a_frame_may_be_combined_with_its_own_answers() -> None:
    """All frames of one origin share a lock in Polars, which a leaf must not need to know its schema."""
    base = D.select("i", "q").sort("i")
    base.collect_schema()
    with asking():
        result = base.merge_sorted(base.with_columns(q=pll.llm("q")), "i").collect()
    assert result.height == 12


def test_group_having_asks_once_a_group() -> None:
    def query(lf: pl.LazyFrame, llm: Callable[..., pl.Expr]) -> pl.LazyFrame:
        groups = lf.group_by("g", maintain_order=True)
        return groups.having(pl.len() > 1, llm(pl.col("q").str.join(","), returns=int) > 0).agg(pl.col("v").sum())

    naive, optimised = assert_equivalent(query, D)
    assert (naive, optimised) == (2, 2)


def test_group_prompts_of_rows_that_look_at_other_rows_are_refused() -> None:
    with pytest.raises(PlanError, match=r"over\(keys\)"):
        D.group_by("g").agg(pll.llm(pl.format("{} of {}", "q", pl.len())))
