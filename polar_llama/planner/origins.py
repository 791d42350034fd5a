"""What the columns of a step are, written in the columns below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.exprs import reads, row_wise
from polar_llama.planner.flow import carried
from polar_llama.planner.nodes import Native, Prompt, Select, WithColumns, expression, output_name, schema_of

if TYPE_CHECKING:
    from collections.abc import Collection

STEPS = (Select, WithColumns, Native)

Step = Select | WithColumns | Native

Origins = Mapping[str, pl.Expr | None]
"""By column: what it is; None where that cannot be written."""

_ROW_BY_ROW = frozenset({"drop", "rename", "unnest", "cast", "hint_sorted"})


def is_row_by_row(step: Step) -> bool:
    """Whether a step makes one row of each, which depends on no other."""
    if isinstance(step, Native):
        return step.verb in _ROW_BY_ROW
    exprs = [expression(i) for i in step.items]
    read = reads(exprs)
    if read is None or (isinstance(step, Select) and not read):  # of nothing but literals there is one row
        return False
    return all(map(row_wise, exprs))


def origins(step: Step, columns: Collection[str]) -> dict[str, pl.Expr | None]:
    """What columns of a step are."""
    if isinstance(step, Native):
        return _of_native(step, columns)
    items = {output_name(i): i for i in step.items}
    found: dict[str, pl.Expr | None] = {}
    for column in columns:
        item = items.get(column)
        if item is None:
            found[column] = pl.col(column) if isinstance(step, WithColumns) else None
        else:
            found[column] = None if isinstance(item, Prompt) else item
    return found


def _of_native(step: Native, columns: Collection[str]) -> dict[str, pl.Expr | None]:
    if step.verb == "drop":
        return {c: pl.col(c) for c in columns}
    if step.reads is None:
        return dict.fromkeys(columns)
    below = schema_of(step.input)
    known = below if step.verb == "rename" else below.keys() & set(columns)
    handed = carried(step, 0, [c for c in known if c not in step.reads])
    found = {name: pl.col(c) for c, names in handed.items() for name in names}
    if step.verb == "unnest" and step.args[1] is None:  # no separator in the names
        fields = ((c, f.name) for c in step.reads if isinstance(t := below[c], pl.Struct) for f in t.fields)
        found |= {name: pl.col(c).struct.field(name) for c, name in fields}
    return {c: found.get(c) for c in columns}
