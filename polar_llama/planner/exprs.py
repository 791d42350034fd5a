"""What the planner knows of an expression, read from its properties."""

from __future__ import annotations

import re
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.call import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_WINDOW = re.compile(r"\.(over|rolling)\(")
_RESERVED = re.compile(re.escape(PREFIX) + "[0-9a-f]{24}")


def reads(exprs: Iterable[pl.Expr]) -> frozenset[str] | None:
    """The columns whose values expressions look at; None when they expand to columns unknown here."""
    names: set[str] = set()
    for expr in exprs:
        if expr.meta.has_multiple_outputs():
            return None
        names.update(expr.meta.root_names())
    return frozenset(names)


def touches(read: frozenset[str] | None, columns: Iterable[str]) -> bool:
    """Whether a set of columns read (None: any) holds one of `columns`."""
    return read is None or not read.isdisjoint(columns)


def bare_column(expr: pl.Expr) -> str | None:
    """The column an expression hands on unchanged, under whatever name; None when it computes."""
    inner = expr.meta.undo_aliases()
    return inner.meta.root_names()[0] if inner.meta.is_column() else None


def unaliased(expr: pl.Expr) -> pl.Expr:
    """An expression without the names given to it as a whole.

    `undo_aliases` takes away those inside as well, which are names of fields.
    """
    while not (bare := expr.meta.undo_aliases()).meta.eq(expr):
        inner = expr.meta.pop()
        if len(inner) != 1 or not inner[0].meta.undo_aliases().meta.eq(bare):
            break
        expr = inner[0]
    return expr


def row_wise(expr: pl.Expr) -> bool:
    """Whether each value depends on its own row alone, so that filtering before or after is the same.

    Every node of the tree is asked, since Polars' `is_row_separable` looks at the root only. Python
    functions, sampling and everything whose properties cannot be read count as not row-wise.
    """
    return throughout(expr, _is_row_wise)


def _is_row_wise(node: pl.Expr) -> bool | None:
    meta = node.meta
    if meta.is_literal(allow_aliasing=True):
        return None if meta.is_scalar() else False
    return meta.is_row_separable() and meta.is_length_preserving() and ".list.sample_" not in str(node)


def throughout(expr: pl.Expr, holds: Callable[[pl.Expr], bool | None]) -> bool:
    """Whether something holds for every node of an expression; None: for one and all below it.

    What Polars does not tell, of a Python function or of several columns at once, does not hold.
    """
    todo = [expr]
    while todo:
        node = todo.pop()
        try:
            found = not node.meta.has_multiple_outputs() and holds(node)
            if found:
                todo += node.meta.pop()
        except pl.exceptions.PolarsError:
            return False
        if found is False:
            return False
    return True


def per_row(expr: pl.Expr) -> bool:
    """Whether an expression has the height of its frame, whatever the frame: some column reaches its root."""
    meta = expr.meta
    try:
        if meta.is_literal(allow_aliasing=True):
            return False
        if meta.is_column() or meta.is_column_selection():
            return True
        if meta.has_multiple_outputs():  # Polars panics when asked more of `struct.field("a", "b")`
            return bool(meta.root_names())
        if not meta.is_length_preserving():
            return False
        return any(per_row(e) for e in meta.pop())
    except pl.exceptions.PolarsError:  # a Python function or list.eval: Polars does not tell
        return bool(meta.root_names())


def repeatable(expr: pl.Expr) -> bool:
    """Whether an expression surely gives the same values when it is evaluated again on the same rows.

    Row-wise expressions do, and aggregates of them; windows, ranks and the like may break ties at
    random, and a Python function may do anything.
    """
    return throughout(expr, _is_repeatable)


def _is_repeatable(node: pl.Expr) -> bool | None:
    if row_wise(node):
        return None
    meta = node.meta
    return meta.is_row_separable() or (meta.is_scalar() and not meta.is_literal(allow_aliasing=True))


def conjuncts(predicate: pl.Expr) -> list[pl.Expr]:
    """The operands of a chain of ANDs, in order; the predicate alone when it is none.

    Polars has no public way to look at an operator, so an AND is recognised by putting the operands
    together again and comparing.
    """
    return chain(predicate, is_and)


def chain(
    expr: pl.Expr, is_one: Callable[[pl.Expr, Sequence[pl.Expr]], bool], most: int | None = None
) -> list[pl.Expr]:
    """The operands of a chain of one operator, in order.

    With `most`, no more than about so many are looked for: looking costs time by their square.
    """
    found: list[pl.Expr] = []
    todo = [unaliased(expr)]
    while todo:
        node = todo.pop()
        operands = [] if node.meta.is_literal() or node.meta.has_multiple_outputs() else node.meta.pop()[::-1]
        if operands and is_one(node, operands):
            todo.extend(map(unaliased, reversed(operands)))
        else:
            found.append(node)
        if most is not None and len(found) + len(todo) > most:
            return found + todo
    return found


def is_and(expr: pl.Expr, operands: Sequence[pl.Expr]) -> bool:
    """Whether an expression is the AND, written either way, of exactly these operands."""
    if len(operands) == 2 and (operands[0] & operands[1]).meta.eq(expr):  # noqa: PLR2004 -- an operator has two sides
        return True
    return not expr.meta.has_multiple_outputs() and pl.all_horizontal(operands).meta.eq(expr)


def is_or(expr: pl.Expr, operands: Sequence[pl.Expr]) -> bool:
    """Whether an expression is the OR, written either way, of exactly these operands."""
    if len(operands) == 2 and (operands[0] | operands[1]).meta.eq(expr):  # noqa: PLR2004 -- an operator has two sides
        return True
    return not expr.meta.has_multiple_outputs() and pl.any_horizontal(operands).meta.eq(expr)


def all_of(predicates: Sequence[pl.Expr]) -> pl.Expr:
    """One predicate that is true where all are."""
    return reduce(and_, predicates)


def shown(expr: pl.Expr, width: int = 80) -> str:
    """An expression as a person may read it: calls as `llm`, on one line, cut to a width."""
    text = " ".join(_RESERVED.sub("llm", str(expr)).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def windowed(expr: pl.Expr) -> list[pl.Expr]:
    """What stands under `over` or `rolling` in an expression: Polars evaluates it group by group.

    There is no public way to ask; a node is recognised by its text, which begins with that of its operand.
    """
    found: list[pl.Expr] = []
    if not _WINDOW.search(str(expr)):
        return found
    todo = [expr]
    while todo:
        node = todo.pop()
        operands = [] if node.meta.is_literal() else node.meta.pop()
        found += [o for o in operands if _WINDOW.match(str(node).removeprefix(str(o)))]
        todo += operands
    return found
