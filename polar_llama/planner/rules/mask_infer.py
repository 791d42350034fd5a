"""Ask only for rows where the answer can matter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.call import is_answer
from polar_llama.planner.answers import stack, unstack
from polar_llama.planner.exprs import conjuncts, per_row, row_wise
from polar_llama.planner.masks import Rows, any_of, needed
from polar_llama.planner.nodes import Aggregate, Answer, Filter, Prompt, Select, WithColumns, expression, schema_of

if TYPE_CHECKING:
    from polar_llama.planner.masks import Asked
    from polar_llama.planner.nodes import Plan

    Where = pl.Expr | bool | None  # all rows and no rows; None: all rows, too


def mask_infer(node: Plan) -> Plan:
    """`Verb(Answer(Prompt p)) -> Verb(Answer(Prompt when(matters).then(p)))`.

    For answers used inside the expressions of one verb (`when(c).then(llm(a)).otherwise(llm(b))`,
    `c | llm(..)`, `coalesce(x, llm(..))`), whose slot is hidden: nobody else can read it, so rows where
    no expression of the verb needs the answer (`masks`) need no prompt, and a null prompt asks nothing.
    Where a condition is an answer itself, that one is filled in before the prompt is rendered. A verb
    is looked at once, before filters are split: a mask made of half its expressions would be wrong.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.select(pl.when(pl.col("n") > 1).then(llm("q"))).llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    mask_infer: llm("q") is asked where col("n") > 1
    ...
    """
    if not isinstance(node, Filter | Select | WithColumns) or _renders(node):
        return node
    while (next_ := _one_masked(node)) is not node:
        node = next_
    return node


def _one_masked(node: Filter | Select | WithColumns) -> Filter | Select | WithColumns:
    answers, base = unstack(node.input)
    for answer in answers:
        found = _rendered(base, answer.column) if is_answer(answer.column) else None
        if found is not None and not found[1].masked and answer.column in _roots(node):
            asked: Asked = "true" if isinstance(node, Filter) else "value"
            mask = any_of(needed(part, answer.column, schema_of(node.input), asked) for part in _parts(node))
            rows = mask.where if isinstance(mask, Rows) else mask
            return replace(node, input=_masked(answers, base, answer, found, rows))
    return node


def _renders(node: Plan) -> bool:
    """Whether a step only renders hidden slots: it is part of a verb, whose other expressions read answers too."""
    return isinstance(node, WithColumns) and all(isinstance(i, Prompt) and is_answer(i.column) for i in node.items)


def _parts(node: Filter | Select | WithColumns) -> list[pl.Expr]:
    """The expressions of a verb; a filter's conjuncts are split later, each is a reader of its own."""
    if isinstance(node, Filter):
        return conjuncts(node.predicate)
    return [expression(i) for i in node.items]


def _roots(node: Filter | Select | WithColumns) -> set[str]:
    return {name for part in _parts(node) for name in part.meta.root_names()}


def _rendered(base: Plan, column: str) -> tuple[Plan, Prompt] | None:
    """The step that renders a hidden slot: below nothing but steps that render other hidden slots."""
    while isinstance(base, Select | Aggregate) or _renders(base):
        assert isinstance(base, Select | WithColumns | Aggregate)  # noqa: S101 -- as `_renders` says
        for item in base.items:
            if isinstance(item, Prompt) and item.column == column:
                return base, item
        if not isinstance(base, WithColumns):
            break
        base = base.input
    return None


def _masked(answers: list[Answer], base: Plan, answer: Answer, found: tuple[Plan, Prompt], mask: Where) -> Plan:
    step, prompt = found
    assert prompt.expr is not None  # noqa: S101 -- resolve() renders every prompt
    first = _conditions(answers, answer, mask, schema_of(base))
    # Of a constant and a condition that may be one value for all rows Polars does not always make a column.
    is_one = isinstance(mask, pl.Expr) and not row_wise(mask) and not per_row(prompt.expr)
    if mask is None or mask is True or first is None or is_one:
        return stack(_replaced(base, replace(prompt, masked=True)), answers)
    matters = pl.lit(mask) if isinstance(mask, bool) else mask
    is_beside = not isinstance(step, WithColumns)
    if is_beside:  # the condition is a column of the same step
        base, prompt = _replaced(base, replace(prompt, masked=True)), replace(prompt, expr=pl.col(prompt.column))
    new = replace(prompt, expr=pl.when(matters).then(prompt.expr), masked=True)
    if not first and not is_beside:
        return stack(_replaced(base, new), answers)
    below = stack(base, first)
    rendered = WithColumns(below, (new,), base.schema)
    return stack(rendered, [a for a in answers if a not in first])


def _conditions(answers: list[Answer], answer: Answer, mask: Where, below: pl.Schema) -> list[Answer] | None:
    """The answers a mask reads, which come first; None where one of them is already waiting for this one."""
    if mask is None or isinstance(mask, bool):
        return []
    names = set(mask.meta.root_names())
    is_waiting = answer.column in names or not names <= set(below)
    return None if is_waiting else [a for a in answers if a.column in names]


def _replaced(base: Plan, new: Prompt) -> Plan:
    assert isinstance(base, Select | WithColumns | Aggregate)  # noqa: S101 -- `_rendered` came this way
    if any(isinstance(i, Prompt) and i.column == new.column for i in base.items):
        items = tuple(new if isinstance(i, Prompt) and i.column == new.column else i for i in base.items)
        return replace(base, items=items)
    return replace(base, input=_replaced(base.input, new))
