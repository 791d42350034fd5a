"""The rows of a plan step while some answers are unknown, as far as they are known.

A column that is unknown holds marks (`marks`). The rows are the real ones, or hold the real ones among
others; a bound on their number may be known besides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.exprs import bare_column, reads, row_wise, touches
from polar_llama.planner.flow import carried
from polar_llama.planner.marks import of_columns, row_mark
from polar_llama.planner.nodes import Prompt, Scan, Select, WithColumns, apply, expression, output_name, schema_of
from polar_llama.planner.safety import cannot_raise
from polar_llama.planner.schema import selected
from polar_llama.planner.wording import mask
from polar_llama.template import Template

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from polar_llama.planner.nodes import Item, Plan


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What is known of the rows at a step.

    Attributes:
        frame: The rows.
        unknown: The columns that hold marks.
        exact: Whether these are the real rows; else the real ones are among them.
        ordered: Whether they are in their real order.
        most: How many the real ones are at most, if less than all of these.
    """

    frame: pl.LazyFrame
    unknown: frozenset[str] = frozenset()
    exact: bool = True
    ordered: bool = True
    most: int | None = None

    @property
    def sure(self) -> bool:
        """Whether every step that reads only known columns can just be run."""
        return self.exact and self.ordered

    def some(self, most: int | None = None) -> Rows:
        """The same rows when only some of them are real."""
        bounds = [bound for bound in (self.most, most) if bound is not None]
        return replace(self, exact=False, most=min(bounds, default=None))


def carried_marks(node: Plan, below: Sequence[Rows]) -> frozenset[str]:
    """Under which names unknown columns leave a step that does not read them."""
    return frozenset(
        name
        for side, rows in enumerate(below)
        for names in carried(node, side, rows.unknown).values()
        for name in names
    )


def with_columns(frame: pl.LazyFrame, exprs: Iterable[pl.Expr]) -> pl.LazyFrame:
    """`with_columns`, past the capture."""
    return apply(WithColumns(Scan(frame), tuple(exprs)), (frame,))


def select(frame: pl.LazyFrame, exprs: Iterable[pl.Expr]) -> pl.LazyFrame:
    """`select`, past the capture."""
    return apply(Select(Scan(frame), tuple(exprs)), (frame,))


def opaque(frame: pl.LazyFrame, node: Plan) -> Rows:
    """At most the rows of a frame, with nothing known of them."""
    names = schema_of(node).names()
    marked = select(frame, [row_mark().alias(name) for name in names]) if names else frame
    return Rows(marked, frozenset(names), exact=False, ordered=False)


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
