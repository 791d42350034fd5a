"""Stacks of answers: neighbouring `Answer` nodes are independent, so their order is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.nodes import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polar_llama.planner.nodes import Plan


def unstack(plan: Plan) -> tuple[list[Answer], Plan]:
    """The answers on top of a plan, lowest first, and what they stand on."""
    found: list[Answer] = []
    while isinstance(plan, Answer):
        found.append(plan)
        plan = plan.input
    return found[::-1], plan


def stack(plan: Plan, answers: Iterable[Answer]) -> Plan:
    """Put answers on a plan, lowest first."""
    for answer in answers:
        schema = plan.schema
        if schema is None or schema.get(answer.column) != answer.call.dtype:  # below, it may still be a prompt
            schema = pl.Schema({**(schema or {}), answer.column: answer.call.dtype}, check_dtypes=False)
        plan = Answer(plan, answer.column, answer.call, schema)
    return plan
