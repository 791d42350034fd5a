"""The walk: every rule at every node, children first, until nothing changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.planner.nodes import schema_of, with_inputs
from polar_llama.planner.rules.compute_late import compute_late
from polar_llama.planner.rules.defer_infer import defer_infer
from polar_llama.planner.rules.join_first import join_first
from polar_llama.planner.rules.mask_infer import mask_infer
from polar_llama.planner.rules.narrow_first import narrow_first
from polar_llama.planner.rules.order_filters import order_filters
from polar_llama.planner.rules.split_filter import split_filter
from polar_llama.planner.rules.stop_early import stop_early
from polar_llama.planner.rules.verb_first import verb_first
from polar_llama.planner.walk import each, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.planner.nodes import Plan

    Rule = Callable[[Plan], Plan]
    Observer = Callable[[str, Plan, Plan], None]

RULES: tuple[Rule, ...] = (
    mask_infer,
    split_filter,
    order_filters,
    narrow_first,
    verb_first,
    join_first,
    compute_late,
    defer_infer,
    stop_early,
)
"""In the order in which they are tried at a node."""

MAX_PASSES = 100
"""Passes over the plan, and one more for each of its steps, before the rules are taken to undo each other."""


def optimize(plan: Plan, rules: Sequence[Rule] = RULES, observe: Observer | None = None) -> Plan:
    """Rewrite a resolved plan until no rule changes it.

    Args:
        plan: A resolved plan.
        rules: The rules, in order.
        observe: Told of each change: the rule's name, the node before and after.

    Returns:
        An equal plan that asks no more.

    Raises:
        RuntimeError: If rules undo each other, or a rule changes a node's columns: a bug in a rule.
    """
    passes = MAX_PASSES + sum(1 for _ in each(plan))
    settled: dict[int, Plan] = {}
    for _ in range(passes):
        rewritten = _pass(plan, rules, observe, settled)
        if rewritten is plan:
            return plan
        plan = rewritten
    msg = f"the rules {', '.join(r.__name__ for r in rules)} undo each other: no end after {passes} passes"
    raise RuntimeError(msg)


def _pass(plan: Plan, rules: Sequence[Rule], observe: Observer | None, settled: dict[int, Plan]) -> Plan:
    """Try every rule at every node once; `settled` are nodes that no rule changes, by id, kept from pass to pass."""

    def tried(node: Plan, below: tuple[Plan, ...]) -> Plan:
        new = with_inputs(node, below)
        for rule in rules:
            changed = rule(new)
            if changed is not new:
                _check_columns(rule, new, changed)
                if observe is not None:
                    observe(rule.__name__, new, changed)
                new = changed
        if new is node:
            settled[id(node)] = node
        return new

    return fold(plan, tried, known=settled)


def _check_columns(rule: Rule, before: Plan, after: Plan) -> None:
    if before.schema is not after.schema and schema_of(before).names() != schema_of(after).names():
        msg = f"the rule {rule.__name__} changed the columns of a {type(before).__name__}: a bug in polar_llama"
        raise RuntimeError(msg)
