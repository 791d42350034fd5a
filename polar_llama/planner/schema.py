"""Names and dtypes, found by running a step on frames without rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.nodes import Scan, Select, apply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.planner.nodes import Plan


def empty(schema: pl.Schema) -> pl.LazyFrame:
    """A frame of that schema without rows."""
    return pl.LazyFrame(schema=schema)


def after(node: Plan, schemas: Sequence[pl.Schema]) -> pl.Schema:
    """The schema of a native step's output, given those of its inputs.

    Raises:
        polars.exceptions.PolarsError: Whatever Polars says of a missing column, a wrong dtype, a duplicate name.
    """
    return apply(node, tuple(empty(s) for s in schemas)).collect_schema()


def selected(schema: pl.Schema, expr: pl.Expr) -> pl.Schema:
    """The columns an expression gives on a frame of that schema."""
    frame = empty(schema)
    return apply(Select(Scan(frame), (expr,)), (frame,)).collect_schema()
