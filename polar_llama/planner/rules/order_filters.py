"""Free predicates first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.answers import unstack
from polar_llama.planner.exprs import bare_column, reads, repeatable, row_wise, touches
from polar_llama.planner.nodes import Aggregate, Distinct, Filter, Sort, Union, expression, output_name, schema_of
from polar_llama.planner.rewriting import Rewriter
from polar_llama.planner.rules.narrow_first import asks
from polar_llama.planner.safety import cannot_raise

if TYPE_CHECKING:
    from collections.abc import Collection

    from polar_llama.planner.nodes import Plan


def order_filters(node: Plan) -> Plan:
    """`Filter(free) on Step(asked) -> Step(asked) on Filter(free)`, for a Filter that reads answers, and other steps.

    Both filters must be row-wise: then each gives the same value on the rows the other leaves. The free
    predicate now also sees rows the asked one would have dropped, so it must be one that cannot raise
    (`safety`).

    Past steps that stand above answers: a Sort with row-wise keys, whose ties are in no promised order, or
    stay in theirs; a concatenation, frame by frame; and a Distinct or an Aggregate, where the filter reads
    nothing but their keys: then all rows of a group stay or go together. That holds for keys that are
    equal only if they are the same: 0.0 and -0.0 are not.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.filter(llm("q", returns=bool)).filter(pl.col("n") > 1).llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    order_filters: FILTER col("n") > 1 runs before FILTER llm("q")
    ...
    """
    if not isinstance(node, Filter) or not isinstance(node.input, Filter | Sort | Distinct | Aggregate | Union):
        return node
    below = node.input
    predicate = _passing(node, below) if row_wise(node.predicate) else None
    if predicate is None:
        return node
    if isinstance(below, Union):
        frames = (replace(node, predicate=predicate, input=f, schema=f.schema) for f in below.frames)
        return replace(below, frames=tuple(frames))
    moved = Filter(below.input, predicate, below.input.schema)
    return replace(below, input=moved)


def _passing(node: Filter, below: Filter | Sort | Distinct | Aggregate | Union) -> pl.Expr | None:
    """The predicate below a step; None where it must stay above."""
    match below:
        case Filter():
            columns = [a.column for a in unstack(below.input)[0]]
            is_safe = is_asked(below) and not touches(reads([node.predicate]), columns)
            is_safe = is_safe and row_wise(below.predicate) and cannot_raise(node.predicate, node.schema)
        case Sort():
            is_safe = asks(below.input) and all(map(row_wise, below.by))
        case Union():
            is_safe = asks(below)
        case Distinct():
            keys = None if below.subset is None else [c for e in below.subset if (c := bare_column(e)) is not None]
            is_safe = asks(below.input) and _reads_only(node, schema_of(below).names() if keys is None else keys)
            is_safe = is_safe and (below.keep != "none" or cannot_raise(node.predicate, node.schema))
        case Aggregate():
            return _below_groups(node, below) if asks(below.input) else None
    return node.predicate if is_safe else None


def _below_groups(node: Filter, below: Aggregate) -> pl.Expr | None:
    named = {output_name(key): bare_column(key) for key in below.keys if not key.meta.has_multiple_outputs()}
    keys = {name: column for name, column in named.items() if column is not None}
    parts = [*map(expression, below.items), *below.having]
    if not _reads_only(node, keys) or not all(map(row_wise, below.keys)) or not all(map(repeatable, parts)):
        return None
    if below.having and not cannot_raise(node.predicate, node.schema):
        return None
    of = {name: pl.col(column) for name, column in keys.items()}
    found = Rewriter(of, schema_of(below.input), schema_of(below)).all([node.predicate])
    return None if found is None else found[0]


def _reads_only(node: Filter, keys: Collection[str]) -> bool:
    """Whether a filter reads nothing but columns whose values are equal only if they are the same."""
    read = reads([node.predicate])
    schema = schema_of(node)
    return read is not None and read <= set(keys) and not any("Float" in str(schema[c]) for c in read)


def is_asked(node: Filter) -> bool:
    """Whether a filter reads answers that are filled in just below."""
    columns = [a.column for a in unstack(node.input)[0]]
    return bool(columns) and touches(reads([node.predicate]), columns)
