"""Prompts that are lists of texts: an answer for each text, in lists of the same lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from planner_kit import DTYPES, Color, Person, answer, asking, assert_equivalent, assert_same, engine, judged, planned
from planner_plans import Case

import polar_llama as pll
from polar_llama.errors import PlanError

if TYPE_CHECKING:
    from planner_kit import Query

LISTS = [["p", "q"], [], None, [None, "p"], [None], ["r"] * 3]
FRAME = pl.LazyFrame({"i": range(6), "l": LISTS}, schema={"i": pl.Int64, "l": pl.List(pl.String)})


def answered(returns: Any = str) -> list[Any]:
    """What the lists are answered by."""
    return [None if texts is None else [p if p is None else answer(p, returns) for p in texts] for texts in LISTS]


@pytest.mark.parametrize("on", ["in-memory", "streaming"])
@pytest.mark.parametrize("returns", [str, bool, Color, Person, list[str], bool | None], ids=str)
def test_a_column_of_lists(returns: Any, on: str) -> None:
    ran = engine(lambda lf, llm: lf.with_columns(a=llm("l", returns=returns)), FRAME, on=on)
    assert_same(ran.frame, FRAME.collect().with_columns(a=pl.Series(answered(returns), dtype=pl.List(DTYPES[returns]))))
    assert ran.prompts == {"p", "q", "r"}


STEPS: dict[str, tuple[Query, set[str]]] = {
    "filter": (lambda lf, llm: lf.with_columns(a=llm("l")).filter(pl.col("i") > 2), {"p", "r"}),
    "limit": (lambda lf, llm: lf.with_columns(a=llm("l")).head(1), {"p", "q"}),
    "select": (lambda lf, llm: lf.with_columns(a=llm("l")).select("i"), set()),
    "mask": (lambda lf, llm: lf.with_columns(a=pl.when(pl.col("i") == 0).then(llm("l"))), {"p", "q"}),
    "predicate": (lambda lf, llm: lf.filter(llm("l", returns=bool).list.len() > 1, pl.col("i") < 3), {"p", "q"}),
    "predicates": (
        lambda lf, llm: lf.filter(llm("l", returns=bool).list.any(), llm("{i}", returns=bool)),
        {"p", "q", "r", *map(str, range(6))},
    ),
    "early stop": (lambda lf, llm: lf.filter(llm("l", returns=bool).list.len() > 1).head(1), {"p", "q"}),
    "join": (
        lambda lf, llm: lf.join(
            FRAME.with_columns(a=llm("l"), j=pl.col("i") + 5),
            left_on="i",
            right_on="j",
            how="left",
            maintain_order="left",
        ),
        {"p", "q"},
    ),
    "one of two": (lambda lf, llm: lf.with_columns(a=llm("l"), b=llm("on {i}")).head(1), {"p", "q", "on 0"}),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_after(name: str) -> None:
    query, most = STEPS[name]
    naive, ran, pure = engine(query, FRAME, rules=()), engine(query, FRAME), planned(query, FRAME)
    assert_same(ran.frame, naive.frame)
    assert_same(pure.frame, naive.frame)
    assert ran.asked <= naive.asked
    assert ran.prompts <= most


GROUPS = (
    "a=llm(pl.col('q').unique(maintain_order=True))",
    "a=llm(pl.col('q').drop_nulls(), returns=bool), n=pl.len()",
    "a=llm(pl.col('q').filter(pl.col('v') > 1)), b=llm(pl.col('q').first())",
    "a=llm(pl.format('{}!', pl.col('q')).head(2), returns=Person)",
)


@pytest.mark.parametrize("aggregations", GROUPS)
def test_several_prompts_a_group(aggregations: str) -> None:
    case = Case((f".group_by('k', maintain_order=True).agg({aggregations})",))
    assert_equivalent(case.query, case.frame)
    assert_same(engine(case.query, case.frame).frame, judged(case.query, case.frame))


def test_several_prompts_a_group_inside_an_expression_are_refused() -> None:
    with pytest.raises(PlanError, match="name the answers first"):
        FRAME.group_by("i").agg(pll.llm(pl.col("l").explode().unique()).is_null()).collect_schema()


def test_a_list_of_texts_has_no_embedding() -> None:
    with pytest.raises(PlanError, match="explode"):
        FRAME.select(pll.embed("l")).collect_schema()


def test_estimate_counts_the_texts() -> None:
    with asking():
        looked = pll.estimate(FRAME.with_columns(a=pll.llm("l"), b=pll.llm("{i}")).filter(pll.llm("{i}", returns=bool)))
        sent = pll.estimate(FRAME.select(a=pll.llm("l")))
    assert sent.select("rows", "prompts", "requests", "exact", "requests_as_written").rows() == [(8, 3, 3, True, 6)]
    assert looked["requests"].to_list() == [6, 3, 6]


def test_estimate_of_lists_of_answers_is_unknown() -> None:
    with asking():
        looked = pll.estimate(FRAME.with_columns(a=pll.llm("l")).with_columns(b=pll.llm("a")))
    assert looked["requests"].to_list() == [3, None]
