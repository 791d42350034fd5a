"""Marks: what stands for a value that is not known before answers have come.

A mark is a string. Marks are equal only where the values must be equal, and null where they must be
null, so the distinct marks of a prompt are no fewer than its distinct texts.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.exprs import bare_column, reads, row_wise, touches
from polar_llama.planner.nodes import Prompt, expression, output_name
from polar_llama.planner.safety import cannot_raise
from polar_llama.planner.schema import selected
from polar_llama.planner.wording import mask
from polar_llama.template import Template

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polar_llama.planner.nodes import Item
    from polar_llama.planner.rows import Rows

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


def computed(item: Item, rows: Rows, before: pl.Schema) -> tuple[list[str], list[pl.Expr], bool]:
    """The columns an expression gives, how they are made, and whether their values are known."""
    expr = expression(item)
    read = reads([expr])
    if not touches(read, rows.unknown) and (rows.sure or (row_wise(expr) and (rows.exact or _is_safe(item)))):
        return [output_name(item)], [expr], True
    if read is None:
        names = selected(before, expr).names()
        return names, [row_mark().alias(name) for name in names], False
    name = output_name(item)
    column = None if isinstance(item, Prompt) else bare_column(item)
    if column is not None:
        return [name], [expr], column not in rows.unknown
    made = of_columns(read, before) if row_wise(expr) else row_mark()
    if isinstance(item, Prompt):
        made = _where_asked(item, made, rows)
    return [name], [made.alias(name)], False


def _where_asked(prompt: Prompt, made: pl.Expr, rows: Rows) -> pl.Expr:
    """The mark of a prompt is null where the prompt must be."""
    assert prompt.expr is not None  # noqa: S101 -- resolve() renders every prompt
    text, condition = prompt.expr, mask(prompt)
    conditions: list[pl.Expr] = []
    if condition is not None:
        text = prompt.expr.meta.pop()[-1]
        if is_computed(condition, rows):
            conditions.append(condition)
    if isinstance(prompt.source, Template):
        conditions += [pl.col(field).is_not_null() for field in text.meta.root_names()]
    return pl.when(*conditions).then(made) if conditions else made


def is_computed(expr: pl.Expr, rows: Rows) -> bool:
    """Whether an expression has, on each of these rows, the value it has on the real ones, and cannot raise."""
    return not touches(reads([expr]), rows.unknown) and row_wise(expr) and (rows.exact or cannot_raise(expr))


def _is_safe(item: Item) -> bool:
    """Whether an expression raises on no row whatever."""
    if not isinstance(item, Prompt):
        return cannot_raise(item)
    condition = mask(item)
    if condition is not None and not cannot_raise(condition):
        return False
    return isinstance(item.source, Template) or (isinstance(item.source, pl.Expr) and cannot_raise(item.source))
