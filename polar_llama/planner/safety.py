"""Which predicates cannot raise on any row, whatever the row holds.

Polars shows no such property, so this is an allow-list. An expression is recognised by building the
same operator from its operands and comparing, as in `exprs.conjuncts`.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.exprs import throughout, unaliased
from polar_llama.planner.schema import selected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

_SAFE: dict[int, tuple[Callable[..., pl.Expr], ...]] = {
    1: (
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
        lambda e: e.dt.date(),
    ),
    2: (
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
    ),
    3: (pl.Expr.is_between,),
}
"""By their number of operands."""

_SAFE_OF_ANY = (pl.all_horizontal, pl.any_horizontal, pl.coalesce, pl.struct)

_WITHIN_INT64 = (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32, pl.Boolean)

_ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.mod, operator.truediv, operator.floordiv)


def cannot_raise(expr: pl.Expr, schema: pl.Schema | None = None) -> bool:
    """Whether every node of an expression is on the allow-list; unknown ones may raise.

    Args:
        expr: The expression.
        schema: The dtypes of the columns it reads: arithmetic is safe on integers and floats only (lists
            may differ in length, decimals overflow), a cast where every value has its place, and a field
            where there is one; without a schema they count as unsafe.
    """
    plain = schema is not None and all(_is_plain(schema.get(n)) for n in expr.meta.root_names())

    def is_safe(node: pl.Expr) -> bool | None:
        node = unaliased(node)
        if node.meta.is_column() or node.meta.is_literal():
            return None
        operands = node.meta.pop()[::-1]
        if _is_known(node, operands) or (plain and len(operands) == 2 and is_any(node, _ARITHMETIC, operands)):  # noqa: PLR2004 -- two sides
            return True
        return len(operands) == 1 and schema is not None and _is_safe_of(node, operands[0], schema)

    return throughout(expr, is_safe)


def is_any(node: pl.Expr, makers: Iterable[Callable[..., pl.Expr]], operands: Sequence[Any]) -> bool:
    """Whether an expression is what one of some functions makes of its operands."""
    return any(make(*operands).meta.eq(node) for make in makers)


def _is_plain(dtype: pl.DataType | None) -> bool:
    return dtype is not None and (dtype.is_integer() or dtype.is_float())


def _is_safe_of(node: pl.Expr, operand: pl.Expr, schema: pl.Schema) -> bool:
    """Whether a function of one operand is a field of it, or a cast to where every value of its dtype has a place."""
    try:
        (before,), (after,) = selected(schema, operand).dtypes(), selected(schema, node).dtypes()
    except pl.exceptions.PolarsError:
        return False
    if isinstance(before, pl.Struct) and is_any(node, [_Field(f.name) for f in before.fields], [operand]):
        return True
    has_place = (
        before == after
        or (after == pl.Float64 and (_is_plain(before) or before == pl.Boolean))
        or (after == pl.Int64 and before in _WITHIN_INT64)
        or (after == pl.String and (before.is_integer() or before == pl.Boolean))
    )
    return has_place and any(operand.cast(after, strict=strict).meta.eq(node) for strict in (True, False))


@dataclass(frozen=True, slots=True)
class _Field:
    name: str

    def __call__(self, struct: pl.Expr) -> pl.Expr:
        return struct.struct.field(self.name)


def _is_known(node: pl.Expr, operands: Sequence[pl.Expr]) -> bool:
    count = len(operands)
    if is_any(node, _SAFE.get(count, ()), operands) or (count > 0 and is_any(node, _SAFE_OF_ANY, [operands])):
        return True
    # A pattern from a column may be malformed in some row.
    return count == 2 and operands[1].meta.is_literal() and is_any(node, [_contains], operands)  # noqa: PLR2004


def _contains(text: pl.Expr, pattern: pl.Expr) -> pl.Expr:
    return text.str.contains(pattern)
