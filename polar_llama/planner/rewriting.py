"""What stands above a step, written in the columns below it, so that it can run there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from polar_llama.planner.exprs import bare_column, reads, unaliased
from polar_llama.planner.flow import reads_of
from polar_llama.planner.nodes import Answer, Distinct, Filter, Native, Prompt, Slice, Sort, WithColumns, schema_of
from polar_llama.planner.origins import origins
from polar_llama.planner.schema import changed, selected
from polar_llama.planner.surgery import replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from polar_llama.planner.origins import Origins, Step

R = TypeVar("R", bound=Filter | Sort | Slice | Distinct | WithColumns | Answer | Native)

MAX_READS = 200
"""References to columns in an expression: what is computed from itself again and again would double."""


def below(
    rows: R, step: Step, pays: Callable[[Collection[str]], bool], hidden: Collection[str] = frozenset()
) -> R | None:
    """What stands above a step, over the columns below the step; None where it cannot be written.

    Args:
        rows: What stands above.
        step: The step.
        pays: Whether that is worth it, if `rows` then waits for some columns below the step.
        hidden: Columns that are not the step's.
    """
    read = reads_of(rows)[0]
    if read is None:
        return None
    of = origins(step, read.difference(hidden)) | {column: pl.col(column) for column in read.intersection(hidden)}
    if all(origin is not None and bare_column(origin) == column for column, origin in of.items()):
        return rows
    if not pays({name for origin in of.values() if origin is not None for name in origin.meta.root_names()}):
        return None
    return _rewritten(rows, Rewriter(of, schema_of(step.input), schema_of(step)))


def _rewritten(rows: R, to: Rewriter) -> R | None:
    found: Any
    match rows:
        case Filter():
            return None if (found := to.all([rows.predicate])) is None else replace(rows, predicate=found[0])
        case Sort():
            return None if (found := to.all(rows.by)) is None else replace(rows, by=tuple(found))
        case Distinct() if rows.subset is not None:
            found = to.all(rows.subset)
            is_named = found is not None and all(bare_column(e) is not None for e in found)
            return replace(rows, subset=tuple(found)) if found is not None and is_named else None
        case Native(verb="top_k" | "bottom_k"):
            found = to.all(rows.kwargs["by"])
            return None if found is None else replace(rows, kwargs={**rows.kwargs, "by": found}, reads=reads(found))
        case WithColumns():
            found = _prompts(rows, to)
            return None if found is None else replace(rows, items=found)
        case _:
            return None


def _prompts(rows: WithColumns, to: Rewriter) -> tuple[Prompt, ...] | None:
    """Prompts of renamed columns; of computed ones they would be null where other columns are (`marks`)."""
    prompts = [(i, i.expr) for i in rows.items if isinstance(i, Prompt) and i.expr is not None]
    found = to.all([expr for _, expr in prompts]) if to.renames and len(prompts) == len(rows.items) else None
    return None if found is None else tuple(replace(p, expr=e) for (p, _), e in zip(prompts, found, strict=True))


@dataclass(frozen=True, slots=True)
class Rewriter:
    """Writes expressions over the columns above a step as equal ones over those below."""

    of: Origins
    below: pl.Schema
    above: pl.Schema

    @property
    def renames(self) -> bool:
        """Whether no column is computed."""
        return all(origin is not None and bare_column(origin) is not None for origin in self.of.values())

    def all(self, exprs: Sequence[pl.Expr]) -> list[pl.Expr] | None:
        """All of some expressions; None if one of them cannot be written."""
        found = [e for e in map(self._one, exprs) if e is not None]
        return found if len(found) == len(exprs) else None

    def _one(self, expr: pl.Expr) -> pl.Expr | None:
        made: dict[str, pl.Expr] = {}
        for name in dict.fromkeys(expr.meta.root_names()):
            origin = self.of[name]
            if origin is None:
                return None
            made[name] = self._value(name, origin)
        wanted = sorted(root for name in expr.meta.root_names() for root in made[name].meta.root_names())
        if len(wanted) > MAX_READS:
            return None
        alone = bare_column(expr)
        if alone is not None:
            return made[alone]
        found = replaced(expr, [(pl.col(name), value) for name, value in made.items()])
        # Whatever the JSON of another version of Polars looks like: no column was missed.
        return found if found is not None and sorted(found.meta.root_names()) == wanted else None

    def _value(self, name: str, origin: pl.Expr) -> pl.Expr:
        """What a column is, of the dtype it has: that of a literal, alone or in a branch, bends to what is around."""
        value = unaliased(origin)
        if bare_column(value) is not None:
            return pl.col(value.meta.root_names()[0])
        dtype = self.above[name]
        with_column = changed(self.below, {"column": dtype})
        for narrow in (pl.Int8, pl.Float32):
            beside = pl.lit(0, narrow)
            try:
                there, here = selected(self.below, value + beside), selected(with_column, pl.col("column") + beside)
            except pl.exceptions.PolarsError:
                return value.cast(dtype)
            if there.dtypes() != here.dtypes():
                return value.cast(dtype)
        return value
