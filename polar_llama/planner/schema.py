"""Names and dtypes, found by running a step on frames without rows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl
from polars._plr import PyDataFrame, PySeries
from polars._utils.wrap import wrap_df

from polar_llama.planner.nodes import Distinct, Filter, Scan, Select, Slice, Sort, WithColumns, apply

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    found = apply(node, tuple(empty(s) for s in schemas))
    try:
        if isinstance(node, Filter | Sort | Slice | Distinct):  # they keep the columns; Polars checks them all the same
            found.select([]).collect_schema()
            return schemas[0]
        if isinstance(node, WithColumns):
            added = apply(Select(node.input, node.items), (empty(schemas[0]),)).collect_schema()
            return pl.Schema({**schemas[0], **added}, check_dtypes=False)
    except pl.exceptions.PolarsError:
        pass  # said again below, in the words for what was written
    return found.collect_schema()


def selected(schema: pl.Schema, expr: pl.Expr) -> pl.Schema:
    """The columns an expression gives on a frame of that schema."""
    frame = empty(schema)
    return apply(Select(Scan(frame), (expr,)), (frame,)).collect_schema()


def _column(name: str, dtype: pl.DataType) -> PySeries:
    """Polars' handle of a column without rows: ten times as quick as `pl.DataFrame(schema=…)`, which counts."""
    column = _no_rows(dtype)._s.clone()
    column.rename(name)
    return column


@lru_cache(maxsize=256)
def _no_rows(dtype: pl.DataType) -> pl.Series:
    return pl.Series("", [], dtype=dtype)
