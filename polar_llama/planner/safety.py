"""Which predicates cannot raise on any row, whatever the row holds.

Polars shows no such property, so this is an allow-list. An expression is recognised by building the
same operator from its operands and comparing, as in `exprs.conjuncts`.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_UNARY: tuple[Callable[[pl.Expr], pl.Expr], ...] = (
    operator.invert,
    operator.neg,
    pl.Expr.is_null,
    pl.Expr.is_not_null,
    pl.Expr.is_nan,
    pl.Expr.is_not_nan,
    pl.Expr.is_finite,
    pl.Expr.abs,
    lambda e: e.str.len_chars(),
    lambda e: e.str.len_bytes(),
    lambda e: e.str.to_lowercase(),
    lambda e: e.str.to_uppercase(),
    lambda e: e.list.len(),
    lambda e: e.dt.year(),
    lambda e: e.dt.month(),
    lambda e: e.dt.day(),
    lambda e: e.dt.hour(),
    lambda e: e.dt.weekday(),
)
_BINARY: tuple[Callable[[pl.Expr, pl.Expr], pl.Expr], ...] = (
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.and_,
    operator.or_,
    operator.xor,
    pl.Expr.eq_missing,
    pl.Expr.ne_missing,
    pl.Expr.fill_null,
    pl.Expr.is_in,
    lambda e, p: e.str.starts_with(p),
    lambda e, p: e.str.ends_with(p),
    lambda e, p: e.str.contains(p, literal=True),
    lambda e, p: e.is_in(p, nulls_equal=True),
)
_ARITHMETIC: tuple[Callable[[pl.Expr, pl.Expr], pl.Expr], ...] = (
    operator.add,
    operator.sub,
    operator.mul,
    operator.mod,
    operator.truediv,
    operator.floordiv,
)
_ANY: tuple[Callable[[Sequence[pl.Expr]], pl.Expr], ...] = (
    pl.all_horizontal,
    pl.any_horizontal,
    pl.coalesce,
    lambda ops: ops[0].is_between(ops[1], ops[2]),
)


def cannot_raise(expr: pl.Expr, schema: Mapping[str, pl.DataType] | None = None) -> bool:
    """Whether every node of an expression is on the allow-list; unknown ones may raise.

    Args:
        expr: The expression.
        schema: The dtypes of the columns it reads: arithmetic is safe on integers and floats only (lists
            may differ in length, decimals overflow); without a schema it counts as unsafe.
    """
    plain = schema is not None and all(_is_plain(schema.get(n)) for n in expr.meta.root_names())
    todo = [expr]
    while todo:
        node = todo.pop().meta.undo_aliases()
        if node.meta.is_column() or node.meta.is_literal():
            continue
        if node.meta.has_multiple_outputs():
            return False
        operands = node.meta.pop()[::-1]
        if not _known(node, operands) and not (plain and _is_arithmetic(node, operands)):
            return False
        todo += operands
    return True


def _is_plain(dtype: pl.DataType | None) -> bool:
    return dtype is not None and (dtype.is_integer() or dtype.is_float())


def _is_arithmetic(node: pl.Expr, operands: Sequence[pl.Expr]) -> bool:
    return len(operands) == 2 and any(f(*operands).meta.eq(node) for f in _ARITHMETIC)  # noqa: PLR2004 -- two sides


def _known(node: pl.Expr, operands: Sequence[pl.Expr]) -> bool:
    if len(operands) == 1 and any(f(operands[0]).meta.eq(node) for f in _UNARY):
        return True
    if len(operands) == 2 and any(f(*operands).meta.eq(node) for f in _BINARY):  # noqa: PLR2004 -- two sides
        return True
    if len(operands) == 2 and _contains_pattern(node, operands):  # noqa: PLR2004
        return True
    return len(operands) > 1 and any(
        f(operands).meta.eq(node)
        for f in _ANY
        if len(operands) == 3 or f is not _ANY[-1]  # noqa: PLR2004
    )


def _contains_pattern(node: pl.Expr, operands: Sequence[pl.Expr]) -> bool:
    """`str.contains` with a fixed pattern: a pattern from a column may be malformed in some row."""
    return operands[1].meta.is_literal() and operands[0].str.contains(operands[1]).meta.eq(node)
