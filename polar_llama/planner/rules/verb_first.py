"""Let a verb that drops or orders rows by answers of its own run before what is computed from other answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

from polar_llama.call import is_answer
from polar_llama.planner.nodes import Answer, Filter, Native, Prompt, Select, Slice, Sort, WithColumns, schema_of
from polar_llama.planner.origins import STEPS, is_row_by_row
from polar_llama.planner.rewriting import below as written_below
from polar_llama.planner.rules.narrow_first import asks
from polar_llama.planner.schema import after, changed

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Plan
    from polar_llama.planner.origins import Step

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
    hidden = frozenset(schema_of(node.input)) - frozenset(schema_of(node))
    verb: list[_Verb] = []
    below = node.input
    while _part_of_verb(below, hidden):
        verb.append(below)
        below = below.input
    passed: list[Select | WithColumns | Native] = []
    while isinstance(below, STEPS) and asks(below):
        lower = _below(verb, below, hidden)
        if lower is None:
            break
        passed.append(below)
        verb, below = lower, below.input
    rendered = {i.column for step in verb if isinstance(step, WithColumns) for i in step.items if isinstance(i, Prompt)}
    if not passed or not hidden or rendered != hidden or not hidden.isdisjoint(schema_of(below)):
        return node
    plan: Plan = below
    for step in reversed([*passed, node, *verb]):
        plan = _on(step, plan)
    return plan


def _below(verb: list[_Verb], step: Step, hidden: frozenset[str]) -> list[_Verb] | None:
    """The steps of a verb, to be run below a step that is computed from other answers."""
    if not is_row_by_row(step):
        return None
    moved: list[_Verb] = []
    for part in verb:
        lower = written_below(part, step, lambda waits: asks(step.input, waits), hidden)
        if lower is None:
            return None
        moved.append(lower)
    return moved


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
    schema = schema_of(plan)
    if isinstance(step, Answer):
        return replace(step, input=plan, schema=changed(schema, {step.column: step.call.dtype}))
    moved = replace(step, input=plan)
    return replace(moved, schema=after(moved, [schema]))
