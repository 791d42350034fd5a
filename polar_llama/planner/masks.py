"""On which rows the value of an answer can matter to an expression.

Three-valued logic decides: `c | x` is true whatever x is where c is true, so x matters where c is
false or null; `c & x` where c is true or null; and so on. Where x does not matter it may be null:
the forms below ignore it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import polars as pl

from polar_llama.call import is_answer
from polar_llama.planner.exprs import is_and

if TYPE_CHECKING:
    from collections.abc import Iterable

Mask = pl.Expr | bool | None
"""Rows of the expression at hand: True all, False none. None: all rows of the frame, whatever guards
the expression, since other rows' values look at them."""

Asked = Literal["value", "true", "false"]
"""What is asked of a Boolean: its value, or only whether it is true, or only whether it is false."""

_VOLATILE = ("sample", "shuffle", "python_udf", "map_batches", "map_elements")
_NEGATED: dict[Asked, Asked] = {"value": "value", "true": "false", "false": "true"}


def needed(expr: pl.Expr, answer: str, asked: Asked = "value") -> Mask:
    """Where the column `answer` matters to an expression.

    Args:
        expr: The expression, with one output.
        answer: The answer's column.
        asked: `"true"` for a filter's predicate: false and null are one there.

    Returns:
        The rows.
    """
    expr = expr.meta.undo_aliases()
    if answer not in expr.meta.root_names():
        return False
    if expr.meta.is_column():
        return True
    try:
        if not (expr.meta.is_row_separable() and expr.meta.is_length_preserving()):
            return None
        operands = expr.meta.pop()[::-1]
    except pl.exceptions.PolarsError:
        return None  # a Python function or list.eval
    return _through(expr, operands, answer, asked)


def _through(  # noqa: PLR0911 -- one line a form
    expr: pl.Expr, operands: list[pl.Expr], answer: str, asked: Asked
) -> Mask:
    match operands:
        case [one] if (~one).meta.eq(expr):
            return needed(one, answer, _NEGATED[asked])
        case [one, true] if asked == "true" and true.meta.is_literal() and one.ne_missing(other=True).meta.eq(expr):
            return needed(one, answer, "true")  # how `remove` is written
        case [left, right] if (left | right).meta.eq(expr):
            return _short_circuit(operands, answer, asked, stops_at=True)
        case [then, otherwise, condition] if pl.when(condition).then(then).otherwise(otherwise).meta.eq(expr):
            inside = _choice(condition, needed(then, answer), needed(otherwise, answer))
            return either(needed(condition, answer, "true"), inside)
        case [value, other] if value.fill_null(other).meta.eq(expr):
            return _first_known(operands, answer)
    if is_and(expr, operands):
        return _short_circuit(operands, answer, asked, stops_at=False)
    if pl.any_horizontal(operands).meta.eq(expr):
        return _short_circuit(operands, answer, asked, stops_at=True)
    if pl.coalesce(operands).meta.eq(expr):
        return _first_known(operands, answer)
    return any_of(needed(o, answer) for o in operands)


def _choice(condition: pl.Expr, then: Mask, otherwise: Mask) -> Mask:
    """The mask of a branch is looked at only where the branch is taken, as Polars does with the branch."""
    if then is None or otherwise is None:
        return None
    if then is otherwise:
        return then
    if not _repeatable(condition):
        return True
    return pl.when(condition).then(_expr(then)).otherwise(_expr(otherwise))


def _short_circuit(operands: list[pl.Expr], answer: str, asked: Asked, *, stops_at: bool) -> Mask:
    """`|` is decided by a true operand, `&` by a false one: free operands guard the others, then the earlier the later.

    Where only the truth of an AND is asked a null decides it too, and so for the falsity of an OR.
    """
    decides_null = asked == ("false" if stops_at else "true")
    free = [o for o in operands if not _asks(o)]
    guards = [o for o in free if _repeatable(o)]
    masks = []
    for operand in (o for o in operands if o not in _Members(free)):
        mask = needed(operand, answer, asked)
        for guard in guards:
            open_ = guard.eq_missing(other=not stops_at) if decides_null else guard.ne_missing(other=stops_at)
            mask = both(open_, mask)
        masks.append(mask)
        if answer not in operand.meta.root_names():
            guards.append(operand)
    return any_of(masks)


def _first_known(operands: list[pl.Expr], answer: str) -> Mask:
    """`coalesce`: an operand matters where all before it are null."""
    masks: list[Mask] = []
    before: list[pl.Expr] = []
    for operand in operands:
        mask = needed(operand, answer)
        for earlier in before:
            mask = both(earlier.is_null(), mask)
        masks.append(mask)
        if answer not in operand.meta.root_names() and _repeatable(operand):
            before.append(operand)
    return any_of(masks)


class _Members:
    """Membership by identity: expressions have no truth value when compared."""

    def __init__(self, exprs: list[pl.Expr]) -> None:
        self._ids = {id(e) for e in exprs}

    def __contains__(self, expr: pl.Expr) -> bool:
        return id(expr) in self._ids


def _asks(expr: pl.Expr) -> bool:
    return any(map(is_answer, expr.meta.root_names()))


def _repeatable(condition: pl.Expr) -> bool:
    """Whether a condition gives the same values when it is evaluated a second time on the same rows."""
    text = str(condition)
    return not any(word in text for word in _VOLATILE) and not condition.meta.has_multiple_outputs()


def either(a: Mask, b: Mask) -> Mask:
    """Rows of either mask."""
    if a is None or b is None:
        return None
    if a is True or b is True:
        return True
    if a is False:
        return b
    return a if b is False else a | b


def any_of(masks: Iterable[Mask]) -> Mask:
    """Rows of any of some masks."""
    result: Mask = False
    for mask in masks:
        result = either(result, mask)
    return result


def both(guard: pl.Expr, mask: Mask) -> Mask:
    """Rows of a mask where a guard lets the expression matter."""
    if mask is None or mask is False:
        return mask
    return guard if mask is True else guard & mask


def _expr(mask: pl.Expr | bool) -> pl.Expr:  # noqa: FBT001 -- a mask
    return pl.lit(mask) if isinstance(mask, bool) else mask
