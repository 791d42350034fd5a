"""Marks: what stands for a value that is not known before answers have come.

A mark is a string. Marks are equal only where the values must be equal, and null where they must be
null, so the distinct marks of a prompt are no fewer than its distinct texts.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

_origins = itertools.count()


def salted() -> pl.Expr:
    """What marks of one origin begin with, so that they differ from those of any other."""
    return pl.lit(f"{next(_origins)}:")


def mark(values: Iterable[pl.Expr], salt: pl.Expr | None = None) -> pl.Expr:
    """A mark of some values of a row."""
    row = pl.struct(value.alias(f"{i}") for i, value in enumerate(values))
    hashes = (row.hash(seed).cast(pl.String) for seed in (1, 2))
    return pl.concat_str(salted() if salt is None else salt, *hashes, separator=":")


def of_columns(columns: Iterable[str], schema: pl.Schema) -> pl.Expr:
    """A mark of some columns, or, where those cannot be hashed, one of its own for every row."""
    names = sorted(columns)
    if not names or any(schema.get(name) == pl.Object for name in names):
        return row_mark()
    # As text 0.0 and -0.0 differ, as numbers they do not.
    return mark([pl.col(n).cast(pl.String) if schema.get(n, pl.Null).is_float() else pl.col(n) for n in names])


def row_mark() -> pl.Expr:
    """A mark of its own for every row."""
    return salted() + pl.int_range(pl.len()).cast(pl.String)
