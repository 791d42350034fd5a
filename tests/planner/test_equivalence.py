"""Random plans run by hand, naively, with each rule alone and with all rules: equal frames, no more requests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from planner_kit import assert_equivalent, assert_same, engine, judged
from planner_plans import Case, cases, smallest

from polar_llama.errors import PlanError
from polar_llama.planner.nodes import Filter, Slice
from polar_llama.planner.optimizer import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.planner.nodes import Plan
    from polar_llama.planner.optimizer import Rule

REFUSED = (
    "gives one answer here",
    "is one for each row of a group",
    "stands beside an expression on an answer",
)
"""What a query that Polars would run may be told by the planner, before anything is asked."""


def seen(examples: int) -> settings:
    """The same plans in every run; a failure is made smaller here, not by Hypothesis, which sees but a seed."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


def by_polars(case: Case) -> pl.DataFrame:
    """What the query gives by hand; a query that fails there proves nothing."""
    try:
        expected: pl.DataFrame = judged(case.query, case.frame)
    except pl.exceptions.PolarsError:
        assume(condition=False)
        raise
    return expected


def differs(case: Case, rules: Sequence[Rule]) -> bool:
    """Whether a case fails, for making it smaller."""
    try:
        expected = judged(case.query, case.frame)
    except Exception:  # noqa: BLE001 -- without a verb, later ones may not stand
        return False
    try:
        assert_equivalent(case.query, case.frame, rules, expected)
    except PlanError:
        return False
    except Exception:  # noqa: BLE001 -- frames that differ, or an error of the planner
        return True
    return False


def prove(case: Case, rules: Sequence[Rule] = RULES) -> tuple[int, int]:
    """`assert_equivalent`, with the smallest query that fails in the error's notes."""
    expected = by_polars(case)
    try:
        requests: tuple[int, int] = assert_equivalent(case.query, case.frame, rules, expected)
    except PlanError:
        raise
    except Exception as error:
        small = smallest(case, lambda c: differs(c, rules))
        error.add_note(f"fails: {small.source}  # rows={small.rows}, wide={small.wide}")
        raise
    return requests


def test_2000_random_plans_are_equal_and_ask_no_more() -> None:
    checked: set[Case] = set()
    refused = naive = optimised = 0

    @seen(2_000)
    @given(cases())
    def check(case: Case) -> None:
        nonlocal refused, naive, optimised
        try:
            before, after = prove(case)
        except PlanError as error:
            if not any(text in str(error) for text in REFUSED):
                raise
            refused += 1
            assume(condition=False)
            raise
        checked.add(case)
        naive, optimised = naive + before, optimised + after

    check()
    assert len(checked) > 1_990
    assert refused < len(checked) / 20
    assert optimised < 0.9 * naive, "the rules do nothing"


@pytest.mark.parametrize("on", ["in-memory", "streaming"])
def test_random_plans_are_equal_on_the_real_engine(on: str) -> None:
    @seen(75)
    @given(cases())
    def check(case: Case) -> None:
        expected = by_polars(case)
        try:
            naive = engine(case.query, case.frame, rules=(), on=on)
            ran = engine(case.query, case.frame, on=on)
        except PlanError:
            assume(condition=False)
            raise
        assert_same(naive.frame, expected)
        assert_same(ran.frame, expected)
        assert ran.asked <= naive.asked

    check()


def swap_filter_and_head(node: Plan) -> Plan:
    """`Filter(Slice(x)) -> Slice(Filter(x))`: looks harmless, drops rows."""
    if isinstance(node, Filter) and isinstance(below := node.input, Slice):
        return replace(below, input=replace(node, input=below.input, schema=below.input.schema), schema=node.schema)
    return node


def forget_filter(node: Plan) -> Plan:
    """`Filter(x) -> x`: every row passes."""
    return node.input if isinstance(node, Filter) else node


@pytest.mark.parametrize(("unsafe", "verbs"), [(swap_filter_and_head, 3), (forget_filter, 2)])
def test_an_unsafe_rule_is_caught(unsafe: Rule, verbs: int) -> None:
    @seen(1_000)
    @given(cases(("answered", "filter", "rows")))
    def check(case: Case) -> None:
        prove(case, [unsafe])

    with pytest.raises(AssertionError, match="DataFrames are different") as caught:
        check()
    (found,) = [note for note in caught.value.__notes__ if note.startswith("fails: lf.")]
    assert found.count("\n") == 0
    assert sum(found.count(verb) for verb in (".filter(", ".remove(", ".head(", ".slice(", ".first(")) <= verbs
