"""The rows of a plan step while some answers are unknown, as far as they are known.

A column that is unknown holds marks (`marks`). The rows are the real ones, or hold the real ones among
others; a bound on their number may be known besides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polar_llama.planner.flow import carried
from polar_llama.planner.marks import row_mark
from polar_llama.planner.nodes import Scan, Select, WithColumns, apply
from polar_llama.planner.resolve import schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import polars as pl

    from polar_llama.planner.nodes import Plan


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
