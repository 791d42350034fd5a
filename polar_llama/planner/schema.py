"""Names and dtypes, found by running a step on frames without rows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl
from polars._plr import PyDataFrame, PySeries
from polars._utils.wrap import wrap_df

from polar_llama.planner.nodes import Distinct, Filter, Scan, Select, Slice, Sort, WithColumns, apply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polar_llama.planner.nodes import Plan

KEPT = 64
"""Empty frames that are kept: the steps of a plan ask for those of their inputs again and again."""

_kept: dict[int, tuple[pl.Schema, pl.LazyFrame]] = {}


def empty(schema: pl.Schema) -> pl.LazyFrame:
    """A frame of that schema without rows."""
    known, frame = _kept.get(id(schema), (None, None))
    if known is not schema or frame is None:
        frame = wrap_df(PyDataFrame([_column(name, dtype) for name, dtype in schema.items()])).lazy()
        if len(_kept) >= KEPT:
            _kept.clear()
        _kept[id(schema)] = schema, frame
    return frame


def after(node: Plan, schemas: Sequence[pl.Schema]) -> pl.Schema:
    """The schema of a native step's output, given those of its inputs.

    Raises:
        polars.exceptions.PolarsError: Whatever Polars says of a missing column, a wrong dtype, a duplicate name.
    """
    frames = tuple(map(empty, schemas))
    try:
        if isinstance(node, Filter | Sort | Slice | Distinct):  # they keep the columns; Polars checks them all the same
            apply(node, frames)._ldf.select([]).collect_schema()
            return schemas[0]
        if isinstance(node, WithColumns):
            return changed(schemas[0], apply(Select(node.input, node.items), frames)._ldf.collect_schema())
    except pl.exceptions.PolarsError:
        pass  # said again below, in the words for what was written
    return schema_of_native(apply(node, frames))


def selected(schema: pl.Schema, expr: pl.Expr) -> pl.Schema:
    """The columns an expression gives on a frame of that schema."""
    frame = empty(schema)
    return schema_of_native(apply(Select(Scan(frame), (expr,)), (frame,)))


def schema_of_native(frame: pl.LazyFrame) -> pl.Schema:
    """The schema of a frame without calls; `collect_schema`, but for checks of what Polars itself has made."""
    return pl.Schema(frame._ldf.collect_schema(), check_dtypes=False)


def changed(schema: pl.Schema, changes: Mapping[str, pl.DataType]) -> pl.Schema:
    """A schema with columns of other dtypes, or more columns; the same object when nothing changed."""
    if changes.items() <= schema.items():
        return schema
    return pl.Schema({**schema, **changes}, check_dtypes=False)


@lru_cache(maxsize=1_024)
def _column(name: str, dtype: pl.DataType) -> PySeries:
    """Polars' handle of a column without rows: far quicker than `pl.DataFrame(schema=…)`, which counts."""
    return pl.Series(name, [], dtype=dtype)._s
