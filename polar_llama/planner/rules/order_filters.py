"""Free predicates first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from polar_llama.planner.answers import unstack
from polar_llama.planner.exprs import reads, row_wise, touches
from polar_llama.planner.nodes import Filter, Sort
from polar_llama.planner.safety import cannot_raise

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Plan


def order_filters(node: Plan) -> Plan:
    """`Filter(free) on Step(asked) -> Step(asked) on Filter(free)`, for a Filter or a Sort that reads answers.

    Both filters must be row-wise: then each gives the same value on the rows the other leaves. The free
    predicate now also sees rows the asked one would have dropped, so it must be one that cannot raise
    (`safety`). Past a Sort its keys must be row-wise too, and the order of ties promised.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.filter(llm("q", returns=bool)).filter(pl.col("n") > 1).llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    order_filters: FILTER col("n") > 1 runs before FILTER llm("q")
    ...
    """
    if not isinstance(node, Filter) or not isinstance(below := node.input, Filter | Sort):
        return node
    columns = [a.column for a in unstack(below.input)[0]]
    keys = [below.predicate] if isinstance(below, Filter) else list(below.by)
    if not columns or not touches(reads(keys), columns) or touches(reads([node.predicate]), columns):
        return node
    if not row_wise(node.predicate) or not all(map(row_wise, keys)):
        return node
    if isinstance(below, Sort):
        maintains_order = bool(below.options[2])
        return _swapped(node, below) if maintains_order else node
    return _swapped(node, below) if cannot_raise(node.predicate, node.schema) else node


def _swapped(above: Filter, below: Filter | Sort) -> Plan:
    return replace(below, input=replace(above, input=below.input, schema=below.input.schema), schema=above.schema)
