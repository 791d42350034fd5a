"""Stacks of answers: neighbouring `Answer` nodes are independent, so their order is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.planner.nodes import Answer, schema_of
from polar_llama.planner.schema import changed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.planner.nodes import Plan


def unstack(plan: Plan) -> tuple[list[Answer], Plan]:
    """The answers on top of a plan, lowest first, and what they stand on."""
    found: list[Answer] = []
    while isinstance(plan, Answer):
        found.append(plan)
        plan = plan.input
    return found[::-1], plan


def stack(plan: Plan, answers: Sequence[Answer]) -> Plan:
    """Put answers on a plan, lowest first; a stack is answered at once, so all of it has one schema."""
    schema = changed(schema_of(plan), {a.column: a.call.dtype for a in answers})
    for answer in answers:
        plan = Answer(plan, answer.column, answer.call, schema)
    return plan
