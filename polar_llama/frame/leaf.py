"""A plan as a native leaf of a larger Polars query: it answers when it is read."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import polars as pl
import polars.selectors as cs
from polars.io.plugins import register_io_source

from polar_llama.exec.ending import working
from polar_llama.frame.patch import ORIGINALS, arm
from polar_llama.frame.running import bound, planned
from polar_llama.frame.scope import LEAF, joined, leaf_built, tokens_of
from polar_llama.planner.nodes import Filter, Native, Plan, Select, Slice, schema_of
from polar_llama.planner.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polar_llama.settings import Settings


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Leaf:
    """What Polars calls to read the frame: a plan and a snapshot of settings, and no credentials."""

    plan: Plan
    settings: Settings
    token: str = field(default_factory=lambda: token_hex(8))

    def __post_init__(self) -> None:
        """Be found by those who look at a query that reads the leaf."""
        _leaves.setdefault(self.token, self)

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Answer what the surrounding query wants."""
        plan = self.wanted(with_columns, predicate, n_rows)
        with joined(self.token, self.settings) as opened, working(opened.cancel):
            opened.claims |= tokens_of(plan)
            native = bound(planned(plan, self.settings_in(opened.settings)), opened.run)
            yield from ORIGINALS["collect_batches"](native, maintain_order=True, lazy=True)

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

    def settings_in(self, current: Settings) -> Settings:
        """The settings in force, but for the form of answers, on which the leaf's dtypes stand."""
        formed = "struct" in (self.settings.on_error, current.on_error)
        return replace(current, on_error=self.settings.on_error) if formed else current

    def schema(self) -> pl.Schema:
        """Names and dtypes; asks nothing."""
        return schema_of(resolve(self.plan, self.settings.on_error))

    def __reduce__(self) -> tuple[Any, ...]:
        stand_in = STAND_IN.get()
        if stand_in is not None:
            return stand_in(self)
        # A client may hold credentials and cannot travel.
        return _rebuilt, (self.plan, replace(self.settings, http_client=None), self.token)


STAND_IN: ContextVar[Callable[[Leaf], tuple[Any, ...]] | None] = ContextVar("polar_llama_stand_in", default=None)
"""What takes a leaf's place in a query that is copied to be looked at (`estimating`)."""


def _rebuilt(plan: Plan, settings: Settings, token: str) -> Leaf:
    """A leaf that came from elsewhere: queries of this process may hold it from now on."""
    leaf_built()
    arm()
    return Leaf(plan, settings, token)


_leaves: WeakValueDictionary[str, Leaf] = WeakValueDictionary()


def below(plan: Plan) -> list[Plan]:
    """The plans of the leaves that a plan begins with: its own steps do not show their calls."""
    read = tokens_of(plan)
    return [leaf.plan for token, leaf in list(_leaves.items()) if token in read] if read else []


def native_leaf(plan: Plan, settings: Settings) -> pl.LazyFrame:
    """A native frame that stands for a plan."""
    leaf = Leaf(plan, settings)
    leaf_built()
    name = LEAF + leaf.token
    # The schema itself, not the function: Polars would call it under a lock that all frames of one origin share,
    # and `base.merge_sorted(base.with_columns(a=llm("q")), "k")` would wait for itself.
    return register_io_source(leaf, schema=leaf.schema(), explain_name=name, is_pure=False)
