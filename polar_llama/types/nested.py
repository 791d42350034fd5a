"""Columns of nested answers, by way of Arrow: about twenty times faster than Polars reads Python dicts and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence


def nested_series(name: str, values: Sequence[object | None], dtype: pl.DataType) -> pl.Series:
    """A Series of a List, Array or Struct `dtype`; None becomes the null list or struct."""
    arrow = pa.array(values, type=pl.Series(dtype=_without_enums(dtype)).to_arrow().type)
    made = pl.Series(name, arrow)
    return made if made.dtype == dtype else made.cast(dtype)


def _without_enums(dtype: Any) -> Any:
    """The dtype with String for Enum: Arrow has no Enum, and Polars casts labels natively."""
    match dtype:
        case pl.Enum():
            return pl.String()
        case pl.List():
            return pl.List(_without_enums(dtype.inner))
        case pl.Array():
            return pl.Array(_without_enums(dtype.inner), dtype.size)
        case pl.Struct():
            return pl.Struct({f.name: _without_enums(f.dtype) for f in dtype.fields})
        case _:
            return dtype
