"""Let a verb that drops or orders rows by answers of its own run before what is computed from other answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

from polar_llama.call import is_answer
from polar_llama.planner.exprs import touches
from polar_llama.planner.flow import reads_of
from polar_llama.planner.nodes import Answer, Filter, Native, Prompt, Select, Slice, Sort, WithColumns
from polar_llama.planner.rules.narrow_first import asks, made_by
from polar_llama.planner.schema import after, changed

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Plan

_Verb = Filter | Sort | Slice | Answer | WithColumns


def verb_first(node: Plan) -> Plan:
    """`Drop(h)(Rows(Answer(Render(h, WithColumns(x))))) -> WithColumns(Drop(h)(Rows(Answer(Render(h, x)))))`.

    `filter(llm(..))` is a verb of several steps: its hidden slots are rendered, answered, read and dropped.
    Safe, as for `narrow_first`, when no step of the verb reads a column that is made below it, and what is
    made is row-wise; and when the verb's slots are not in use below, by a call that is written twice.
    The verb's own answers are asked for the same rows as before, those below only for the rows it leaves.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> lf = lf.with_columns(q=pl.coalesce("q", llm("{n}"))).filter(llm("Is {n} odd?", returns=bool))
    >>> print(lf.llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    verb_first: FILTER llm("Is {n} odd?") runs before WITH COLUMNS col("q").coalesce([llm("{n}")]).alias("q")
    ...
    """
    if not isinstance(node, Native) or node.verb != "drop":
        return node
    assert node.schema is not None  # noqa: S101 -- resolve() gives every node a schema
    assert node.input.schema is not None  # noqa: S101
    hidden = frozenset(node.input.schema) - frozenset(node.schema)
    verb: list[_Verb] = []
    below = node.input
    while _part_of_verb(below, hidden):
        verb.append(below)
        below = below.input
    passed: list[Select | WithColumns | Native] = []
    while isinstance(below, Select | WithColumns | Native) and asks(below):
        made = made_by(below)
        if made is None or any(touches(reads_of(step)[0], made) for step in verb):
            break
        passed.append(below)
        below = below.input
    assert below.schema is not None  # noqa: S101
    rendered = {i.column for step in verb if isinstance(step, WithColumns) for i in step.items if isinstance(i, Prompt)}
    if not passed or rendered != hidden or not hidden.isdisjoint(below.schema):
        return node
    plan: Plan = below
    for step in reversed([*passed, node, *verb]):
        plan = _on(step, plan)
    return plan


def _part_of_verb(node: Plan, hidden: frozenset[str]) -> TypeGuard[_Verb]:
    match node:
        case Filter() | Sort() | Slice():
            return True
        case Answer():
            return node.column in hidden
        case WithColumns():
            return all(isinstance(i, Prompt) and i.column in hidden and is_answer(i.column) for i in node.items)
        case _:
            return False


def _on(step: _Verb | Select | Native, plan: Plan) -> Plan:
    """A step on another input, whose columns may be fewer."""
    assert plan.schema is not None  # noqa: S101
    if isinstance(step, Answer):
        return replace(step, input=plan, schema=changed(plan.schema, {step.column: step.call.dtype}))
    moved = replace(step, input=plan)
    return replace(moved, schema=after(moved, [plan.schema]))
