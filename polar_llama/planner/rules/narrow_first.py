"""Let what drops or orders rows run before what is computed from answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.exprs import bare_column, reads, row_wise, touches
from polar_llama.planner.flow import reads_of
from polar_llama.planner.nodes import (
    Answer,
    Distinct,
    Filter,
    Join,
    Native,
    Prompt,
    Scan,
    Select,
    Slice,
    Sort,
    Union,
    WithColumns,
    expression,
)

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Plan

_KEEPERS = frozenset({"tail", "top_k", "bottom_k", "drop_nulls", "drop_nans"})
"""Native verbs that keep some rows, and change no column."""

_Rows = Filter | Sort | Slice | Distinct | Native


def narrow_first(node: Plan) -> Plan:
    """`Rows(WithColumns(x)) -> WithColumns(Rows(x))`, likewise past a select, a drop and a rename.

    `Rows` keeps or orders rows: Filter, Sort, Slice, Distinct, tail, top_k. Safe when it reads no
    column that the step makes, renames or drops: it then sees the same values on the same rows; and
    when every new column is row-wise: computed on the rows that are left, it has the same values.
    Done only above answers, since Polars does it for the rest of the query anyway.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.with_columns(a=llm("q")).with_columns(b=pl.col("a") + "!").head(3).llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    narrow_first: KEEP 3 rows runs before WITH COLUMNS [col("a") + "!"].alias("b")
    ...
    """
    if not isinstance(node, _Rows) or (isinstance(node, Native) and node.verb not in _KEEPERS):
        return node
    passed: list[Select | WithColumns | Native] = []
    below, read = node.input, reads_of(node)[0]
    while isinstance(below, Select | WithColumns | Native) and asks(below):
        made = made_by(below)
        if made is None or touches(read, made):
            break
        passed.append(below)
        below = below.input
    if not passed:
        return node
    plan: Plan = replace(node, input=below, schema=below.schema)
    for step in reversed(passed):
        plan = replace(step, input=plan)
    return plan


def made_by(node: Select | WithColumns | Native) -> frozenset[str] | None:  # noqa: PLR0911 -- one line a step
    """The columns a step makes, renames or drops; None when rows must not be touched below it."""
    assert node.schema is not None  # noqa: S101 -- resolve() gives every node a schema
    assert node.input.schema is not None  # noqa: S101
    match node:
        case WithColumns():
            exprs = [expression(i) for i in node.items]
            if reads(exprs) is None or not all(map(row_wise, exprs)):
                return None
            return frozenset(_name(i) for i in node.items)
        case Select():
            exprs = [expression(i) for i in node.items]
            if reads(exprs) in (None, frozenset()) or not all(map(row_wise, exprs)):
                return None  # of nothing but literals there is one row
            kept = {_name(i) for i in node.items if isinstance(i, pl.Expr) and bare_column(i) == _name(i)}
            return (frozenset(node.input.schema) | frozenset(node.schema)) - kept
        case Native(verb="drop"):
            return frozenset(node.input.schema) - frozenset(node.schema)
        case Native(verb="rename"):
            return (
                frozenset(node.input.schema) ^ frozenset(node.schema)
                | frozenset(node.args[0])
                | frozenset(node.args[1])
            )
        case _:
            return None


def _name(item: Prompt | pl.Expr) -> str:
    return item.column if isinstance(item, Prompt) else item.meta.output_name()


def asks(node: Plan) -> bool:
    """Whether an answer is filled in below, on the way to the next join or scan."""
    while not isinstance(node, Scan | Join | Union):
        if isinstance(node, Answer):
            return True
        node = node.input
    return False
