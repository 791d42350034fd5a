"""What each rule does, to be read: the plan as written, and after that rule alone.

The plans stand in `golden/`; `UPDATE_GOLDEN=1 pytest tests/planner/test_rules.py` writes them anew.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from planner_kit import logical

import polar_llama as pll
from polar_llama.planner.explain import describe
from polar_llama.planner.nodes import Filter
from polar_llama.planner.optimizer import RULES, optimize
from polar_llama.planner.rules.compute_late import compute_late
from polar_llama.planner.rules.defer_infer import defer_infer
from polar_llama.planner.rules.join_first import join_first
from polar_llama.planner.rules.mask_infer import mask_infer
from polar_llama.planner.rules.narrow_first import narrow_first
from polar_llama.planner.rules.order_filters import order_filters
from polar_llama.planner.rules.split_filter import split_filter
from polar_llama.planner.rules.stop_early import stop_early
from polar_llama.planner.rules.verb_first import verb_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner_kit import Query

    from polar_llama.planner.nodes import Plan
    from polar_llama.planner.optimizer import Rule

GOLDEN = Path(__file__).parent / "golden"

TICKETS = pl.LazyFrame({"id": [1], "text": ["late"], "stars": [1], "lang": ["en"], "note": ["-"]})
STARS = pl.col("stars")

EXAMPLES: dict[str, tuple[Sequence[Rule], Query]] = {
    "mask_infer": (
        [mask_infer],
        lambda lf, llm: lf.with_columns(
            reply=pl.when(STARS < 3).then(llm("Apologise: {text}")).otherwise(llm("Thank: {text}"))
        ),
    ),
    "split_filter": (
        [split_filter],
        lambda lf, llm: lf.filter(llm("Rude? {text}", returns=bool) & (STARS < 3)),
    ),
    "order_filters": (
        [order_filters],
        lambda lf, llm: lf.with_columns(a=llm("Rude? {text}", returns=bool)).filter("a").filter(STARS < 3),
    ),
    "narrow_first": (
        [narrow_first],
        lambda lf, llm: lf.with_columns(a=llm("text")).with_columns(n=pl.col("a").str.len_chars()).head(3),
    ),
    "verb_first": (
        [verb_first],
        lambda lf, llm: lf.with_columns(note=pl.coalesce("note", llm("text"))).filter(
            llm("Rude? {text}", returns=bool)
        ),
    ),
    "order_filters_and_groups": (
        [order_filters],
        lambda lf, llm: (
            lf.with_columns(a=llm("Stars of {text}", returns=int))
            .group_by(language="lang")
            .agg(pl.col("a").mean())
            .filter(pl.col("language") == "en")
        ),
    ),
    "narrow_first_under_other_names": (
        [narrow_first, order_filters],
        lambda lf, llm: lf.filter(llm("Rude? {text}", returns=bool)).select(k=STARS + 1).filter(pl.col("k") < 3),
    ),
    "join_first": (
        [join_first],
        lambda lf, llm: lf.filter(llm("Rude? {text}", returns=bool)).join(
            pl.LazyFrame({"lang": ["en"], "desk": ["London"]}), on="lang"
        ),
    ),
    "compute_late": (
        [compute_late],
        lambda lf, llm: (
            lf.with_columns(topic=llm("Topic of {text}").str.to_lowercase())
            .drop("note")
            .join(pl.LazyFrame({"lang": ["en"], "desk": ["London"]}), on="lang")
        ),
    ),
    "mask_infer_of_groups": (
        [mask_infer],
        lambda lf, llm: lf.group_by("lang").agg(
            topic=pl.when(pl.len() > 1).then(llm(pl.col("text").str.join("; "))).otherwise(pl.col("text").first())
        ),
    ),
    "defer_infer": (
        [defer_infer],
        lambda lf, llm: lf.with_columns(a=llm("text")).sort("stars").rename({"a": "reply"}).head(3),
    ),
    "drop_infer": (
        [defer_infer],
        lambda lf, llm: lf.with_columns(a=llm("text"), b=llm("More: {text}")).select("id", "b"),
    ),
    "stop_early": (
        [stop_early],
        lambda lf, llm: lf.filter(llm("Rude? {text}", returns=bool)).head(3),
    ),
    "whole_chain": (
        RULES,
        lambda lf, llm: (
            lf.with_columns(topic=llm("Topic of {text}"), note=pl.coalesce("note", llm("Note on {text}")))
            .filter(llm("Rude? {text}", returns=bool) & (STARS < 3))
            .filter(pl.col("lang") == "en")
            .sort("stars", "id")
            .select("id", "topic", "note")
            .head(5)
        ),
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden(name: str) -> None:
    rules, query = EXAMPLES[name]
    plan = logical(query, TICKETS)
    text = f"{describe(plan)}\n\n->\n\n{describe(optimize(plan, rules))}\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_has_an_example_and_says_what_it_does(rule: Rule) -> None:
    assert any(list(rules) == [rule] for rules, _ in EXAMPLES.values())
    assert rule.__doc__ is not None
    first = rule.__doc__.strip().splitlines()[0]
    assert "->" in first
    assert ">>> " in rule.__doc__
    assert f"{rule.__name__}: " in rule.__doc__


@pytest.mark.parametrize("name", EXAMPLES)
def test_rules_give_the_same_object_when_nothing_changes(name: str) -> None:
    plan = optimize(logical(EXAMPLES[name][1], TICKETS))
    assert optimize(plan) is plan


# --- the walk


def test_rules_that_undo_each_other_are_reported() -> None:
    def negate(node: Plan) -> Plan:
        return replace(node, predicate=~node.predicate) if isinstance(node, Filter) else node

    def negate_again(node: Plan) -> Plan:
        return replace(node, predicate=~node.predicate) if isinstance(node, Filter) else node

    plan = logical(lambda lf, llm: lf.filter(llm("{text}", returns=bool)), TICKETS)
    with pytest.raises(RuntimeError, match="negate, negate_again undo each other: no end after"):
        optimize(plan, [negate, negate_again])


def test_a_rule_that_changes_columns_is_reported() -> None:
    def lose_columns(node: Plan) -> Plan:
        return node.input if isinstance(node, Filter) else node

    def query(lf: pl.LazyFrame, llm: object) -> pl.LazyFrame:
        return lf.filter(pll.llm("{text}", returns=bool))

    plan = logical(query, TICKETS)
    assert describe(optimize(plan, [lose_columns])).count("FILTER") == 0

    def rename(node: Plan) -> Plan:
        schema = pl.Schema({f"{name}2": dtype for name, dtype in (node.schema or {}).items()})
        return replace(node, schema=schema) if isinstance(node, Filter) else node

    with pytest.raises(RuntimeError, match="the rule rename changed the columns of a Filter"):
        optimize(plan, [rename])


def test_an_observer_is_told_of_every_change() -> None:
    seen: list[str] = []
    plan = logical(EXAMPLES["whole_chain"][1], TICKETS)
    optimize(plan, observe=lambda rule, before, after: seen.append(rule))
    assert {"mask_infer", "split_filter", "order_filters", "narrow_first", "defer_infer"} <= set(seen)
