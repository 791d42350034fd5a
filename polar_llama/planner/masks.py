"""On which rows the value of an answer can matter to an expression.

Three-valued logic decides: `c | x` is true whatever x is where c is true, so x matters where c is
false or null; `c & x` where c is true or null; and so on. Where x does not matter it may be null:
the forms below ignore it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from polar_llama.call import is_answer
from polar_llama.planner.exprs import chain, is_and, is_or, repeatable, row_wise, unaliased
from polar_llama.planner.schema import selected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of the frame, whatever guards the expression at hand, since the values of other rows look at them."""

    where: pl.Expr


Mask = pl.Expr | bool | Rows | None
"""Rows of the expression at hand: True all, False none. None: all rows of the frame, whatever guards it."""

Asked = Literal["value", "true", "false"]
"""What is asked of a Boolean: its value, or only whether it is true, or only whether it is false."""

_NEGATED: dict[Asked, Asked] = {"value": "value", "true": "false", "false": "true"}

MAX_DEPTH = 50
"""Operators on the way to an answer; deeper than that, it is asked for all rows."""

MAX_OPERANDS = 200
"""Operands of one AND or OR; of more, no mask is made."""


def needed(expr: pl.Expr, answer: str, schema: pl.Schema, asked: Asked = "value") -> Mask:
    """Where the column `answer` matters to an expression.

    Args:
        expr: The expression.
        answer: The answer's column.
        schema: The columns it reads: `|` and `&` of integers decide nothing.
        asked: `"true"` for a filter's predicate: false and null are one there.

    Returns:
        The rows.
    """
    return _Reader(answer, schema, repeatable).needed(expr, asked)


class _Reader:
    """Reads one expression after another for one answer."""

    def __init__(self, answer: str, schema: pl.Schema, guards: Callable[[pl.Expr], bool], depth: int = 0) -> None:
        self._answer = answer
        self._schema = schema
        self._guards = guards
        self._depth = depth

    def needed(self, expr: pl.Expr, asked: Asked = "value") -> Mask:
        expr = unaliased(expr)
        if not self._reads(expr):
            return False
        if expr.meta.has_multiple_outputs() or self._depth > MAX_DEPTH:
            return None
        if expr.meta.is_column():
            return True
        try:
            is_row_by_row = expr.meta.is_row_separable() and expr.meta.is_length_preserving()
            operands = expr.meta.pop()[::-1]
        except pl.exceptions.PolarsError:
            return None  # a Python function or list.eval
        if is_row_by_row:
            return _Reader(self._answer, self._schema, self._guards, self._depth + 1)._through(expr, operands, asked)
        # A window may evaluate its operands group by group, where a guard that looks at other rows is another one.
        inside = _Reader(self._answer, self._schema, row_wise, self._depth + 1)
        return _unguarded(any_of(map(inside.needed, operands)))

    def _reads(self, expr: pl.Expr) -> bool:
        return self._answer in expr.meta.root_names()

    def _through(self, expr: pl.Expr, operands: list[pl.Expr], asked: Asked) -> Mask:
        match operands:
            case [then, otherwise, condition] if pl.when(condition).then(then).otherwise(otherwise).meta.eq(expr):
                inside = self._choice(condition, self.needed(then), self.needed(otherwise))
                return either(self.needed(condition, "true"), inside)
            case [value, other] if value.fill_null(other).meta.eq(expr):
                return self._first_known(operands)
        if pl.coalesce(operands).meta.eq(expr):
            return self._first_known(operands)
        if selected(self._schema, expr).dtypes() == [pl.Boolean]:
            return self._logical(expr, operands, asked)
        return any_of(self.needed(o) for o in operands)

    def _logical(self, expr: pl.Expr, operands: list[pl.Expr], asked: Asked) -> Mask:
        match operands:
            case [one] if (~one).meta.eq(expr):
                return self.needed(one, _NEGATED[asked])
            case [one, true] if asked == "true" and true.meta.is_literal() and one.ne_missing(other=True).meta.eq(expr):
                return self.needed(one, "true")  # how `remove` is written
        for is_one, stops_at in ((is_or, True), (is_and, False)):
            if is_one(expr, operands):
                return self._short_circuit(chain(expr, is_one, MAX_OPERANDS), asked, stops_at=stops_at)
        return any_of(self.needed(o) for o in operands)

    def _short_circuit(self, operands: list[pl.Expr], asked: Asked, *, stops_at: bool) -> Mask:
        """`|` is decided by a true operand, `&` by a false one: free ones guard the others, then the earlier the later.

        Where only the truth of an AND is asked a null decides it too, and so for the falsity of an OR.
        """
        if len(operands) > MAX_OPERANDS:
            return None
        decides_null = asked == ("false" if stops_at else "true")
        guards = [o for o in operands if not _asks(o) and self._guards(o)]
        masks = []
        for operand in filter(_asks, operands):
            mask = self.needed(operand, asked)
            for guard in guards:
                open_ = guard.eq_missing(other=not stops_at) if decides_null else guard.ne_missing(other=stops_at)
                mask = both(open_, mask)
            masks.append(mask)
            if not self._reads(operand) and self._guards(operand):
                guards.append(operand)
        return any_of(masks)

    def _first_known(self, operands: list[pl.Expr]) -> Mask:
        """`coalesce`: an operand matters where all before it are null."""
        masks: list[Mask] = []
        before: list[pl.Expr] = []
        for operand in operands:
            mask = self.needed(operand)
            for earlier in before:
                mask = both(earlier.is_null(), mask)
            masks.append(mask)
            if not self._reads(operand) and self._guards(operand):
                before.append(operand)
        return any_of(masks)

    def _choice(self, condition: pl.Expr, then: Mask, otherwise: Mask) -> Mask:
        """The mask of a branch is looked at only where the branch is taken, as Polars does with the branch."""
        if then is otherwise:
            return then
        if then is None or otherwise is None or isinstance(then, Rows) or isinstance(otherwise, Rows):
            return either(_unguarded(then), _unguarded(otherwise))
        if not self._guards(condition):
            return True
        return pl.when(condition).then(_expr(then)).otherwise(_expr(otherwise))


def _asks(expr: pl.Expr) -> bool:
    return any(map(is_answer, expr.meta.root_names()))


def either(a: Mask, b: Mask) -> Mask:
    """Rows of either mask."""
    if a is False or b is False:
        return b if a is False else a
    if a is None or b is None:
        return None
    if isinstance(a, Rows) or isinstance(b, Rows):
        a, b = _unguarded(a), _unguarded(b)
        return Rows(a.where | b.where) if isinstance(a, Rows) and isinstance(b, Rows) else None
    return True if a is True or b is True else a | b


def _unguarded(mask: Mask) -> Mask:
    """The rows of a mask, and no fewer where something guards them."""
    return Rows(mask) if isinstance(mask, pl.Expr) else None if mask is True else mask


def any_of(masks: Iterable[Mask]) -> Mask:
    """Rows of any of some masks."""
    result: Mask = False
    for mask in masks:
        result = either(result, mask)
    return result


def both(guard: pl.Expr, mask: Mask) -> Mask:
    """Rows of a mask where a guard lets the expression matter."""
    if mask is None or mask is False or isinstance(mask, Rows):
        return mask
    return guard if mask is True else guard & mask


def _expr(mask: pl.Expr | bool) -> pl.Expr:  # noqa: FBT001 -- a mask
    return pl.lit(mask) if isinstance(mask, bool) else mask
