"""Let the free half of a predicate run first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from polar_llama.planner.answers import unstack
from polar_llama.planner.exprs import all_of, conjuncts, reads, row_wise, touches
from polar_llama.planner.nodes import Filter

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Plan


def split_filter(node: Plan) -> Plan:
    """`Filter(free & asked) -> Filter(asked) on Filter(free)`; several asked ones, one filter each.

    A filter keeps the rows where the AND is true, which are the rows where every operand is true, so
    the operands may run one after the other if each gives the same value on the rows left by those
    before it: every operand but the first to run must be row-wise. The operands that read no answer
    run first, together, on the rows the filter was written for.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.filter(llm("q", returns=bool) & (pl.col("n") > 1)).llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    split_filter: FILTER col("n") > 1 first, then FILTER llm("q")
    ...
    """
    if not isinstance(node, Filter):
        return node
    columns = [a.column for a in unstack(node.input)[0]]
    if not columns or not touches(reads([node.predicate]), columns):
        return node
    parts = conjuncts(node.predicate)
    free = [p for p in parts if not touches(reads([p]), columns)]
    asked = [p for p in parts if touches(reads([p]), columns)]
    steps = [[*free], *([p] for p in asked)] if free else [[p] for p in asked]
    if len(steps) < 2 or not all(row_wise(p) for step in steps[1:] for p in step):  # noqa: PLR2004 -- nothing to split
        return node
    plan: Plan = node.input
    for step in steps:
        plan = replace(node, input=plan, predicate=all_of(step))
    return plan
