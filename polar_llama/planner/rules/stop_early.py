"""Stop asking when enough rows have passed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

from polar_llama.planner.answers import unstack
from polar_llama.planner.exprs import reads, row_wise, touches
from polar_llama.planner.nodes import Answer, Filter, Native, Select, Slice, WithColumns, expression

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Plan


def stop_early(node: Plan) -> Plan:
    """`Slice(n)(Filter(asked)(x)) -> Slice(n, early)(Filter(asked)(x))`: x is read in pieces until n rows came out.

    Safe when every step between the slice and the lowest answer is row-wise: then the rows that come out
    of a piece are those that would have come out of the whole, in the same order. The slice must count
    from the start and know its length; a negative offset needs the end of the frame.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.filter(llm("q", returns=bool)).head(3).llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    stop_early: KEEP 3 rows stops asking when enough rows came out
    ...
    """
    if not isinstance(node, Slice) or node.early or node.offset < 0 or node.length is None:
        return node
    steps = piecewise(node)
    if steps is None or not any(_asks(step) for step in steps):
        return node
    return replace(node, early=True)


def piecewise(node: Slice) -> list[Plan] | None:
    """The steps between a slice and the lowest answer it can be read through in pieces, top down; None without one."""
    steps: list[Plan] = []
    lowest = 0
    step = node.input
    while _row_by_row(step):
        steps.append(step)
        if isinstance(step, Answer):
            lowest = len(steps)
        step = step.input
    return steps[:lowest] if lowest else None


def _row_by_row(node: Plan) -> TypeGuard[Answer | Filter | Select | WithColumns | Native]:
    match node:
        case Answer():
            return True
        case Filter():
            return row_wise(node.predicate)
        case WithColumns():
            return all(row_wise(expression(i)) for i in node.items)
        case Select():
            # A literal alone would give one row a piece.
            exprs = [expression(i) for i in node.items]
            return bool(exprs) and all(map(row_wise, exprs)) and any(e.meta.root_names() for e in exprs)
        case Native():
            return node.verb in {"drop", "rename"}
        case _:
            return False


def _asks(step: Plan) -> bool:
    """Whether a step drops rows by answers: any other limit has long moved below them."""
    if not isinstance(step, Filter):
        return False
    return touches(reads([step.predicate]), [a.column for a in unstack(step.input)[0]])
