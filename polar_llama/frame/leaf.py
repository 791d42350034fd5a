"""A plan as a native leaf of a larger Polars query: it answers when it is read."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs
from polars.io.plugins import register_io_source

from polar_llama.frame.running import bound, planned
from polar_llama.frame.scope import joined, leaf_built
from polar_llama.planner.nodes import Filter, Native, Plan, Select, Slice
from polar_llama.planner.resolve import resolve, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polar_llama.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """What Polars calls to read the frame: a plan and a snapshot of settings, and no credentials."""

    plan: Plan
    settings: Settings
    built_by: int = field(default_factory=threading.get_ident)

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Answer what the surrounding query wants."""
        plan = self.wanted(with_columns, predicate, n_rows)
        with joined(self.settings, self.built_by) as run:
            native = bound(planned(plan, self.settings), run)
            yield from native.collect_batches(maintain_order=True, lazy=True)
            run.raise_failures()  # before a sink is closed over rows that are missing

    def wanted(self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None) -> Plan:
        """The plan with what the surrounding query wants of it: its limit, then its predicate, then its columns."""
        plan = self.plan
        if n_rows is not None:
            plan = Slice(plan, 0, n_rows)
        if predicate is not None:
            plan = Filter(plan, predicate)
        if with_columns:
            plan = Select(plan, tuple(pl.col(c) for c in with_columns))
        elif with_columns is not None:
            plan = Native(plan, "drop", (), {"columns": cs.all()})
        return plan

    def schema(self) -> pl.Schema:
        """Names and dtypes; asks nothing."""
        return schema_of(resolve(self.plan, self.settings.on_error))

    def __reduce__(self) -> tuple[Any, ...]:
        stand_in = STAND_IN.get()
        if stand_in is not None:
            return stand_in(self)
        # A client may hold credentials and cannot travel.
        return Leaf, (self.plan, replace(self.settings, http_client=None))


STAND_IN: ContextVar[Callable[[Leaf], tuple[Any, ...]] | None] = ContextVar("polar_llama_stand_in", default=None)
"""What takes a leaf's place in a query that is copied to be looked at (`estimating`)."""


def native_leaf(plan: Plan, settings: Settings) -> pl.LazyFrame:
    """A native frame that stands for a plan."""
    leaf = Leaf(plan, settings)
    leaf_built()
    return register_io_source(leaf, schema=leaf.schema, explain_name="polar_llama", is_pure=False)
