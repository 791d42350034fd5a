"""Polars' own verbs, played to a recorder instead of the engine.

`pl.LazyFrame.filter(self, ...)` parses its arguments and calls `self._ldf.filter(pyexpr)`. Handing it
a `Recording`, whose `_ldf` is a `Recorder`, gives a plan node for what would have been a native one,
with every argument parsed by Polars itself.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import polars.selectors as cs
from polars._utils.wrap import wrap_ldf

from polar_llama import settings
from polar_llama.planner import build
from polar_llama.planner.nodes import Join, Native, Plan, Scan, Slice, schema_of, wrapped
from polar_llama.planner.resolve import resolve

_HOW, _ORDER = 3, 6
"""Where `how` and `maintain_order` stand among the arguments of `PyLazyFrame.join` after the keys."""


class Recorder:
    """Stands where Polars expects a `PyLazyFrame`: each method gives a recorder of a longer plan."""

    __slots__ = ("plan",)

    def __init__(self, plan: Plan) -> None:
        """Record on top of a plan."""
        self.plan = plan

    def with_columns(self, pyexprs: list[Any]) -> Recorder:  # noqa: D102 -- Polars' own method, as the others
        return Recorder(build.with_columns(self.plan, wrapped(pyexprs)))

    def select(self, pyexprs: list[Any]) -> Recorder:  # noqa: D102
        return Recorder(build.select(self.plan, wrapped(pyexprs)))

    with_columns_seq = with_columns
    select_seq = select

    def filter(self, pyexpr: Any) -> Recorder:  # noqa: D102
        return Recorder(build.filtered(self.plan, wrapped(pyexpr)))

    def remove(self, pyexpr: Any) -> Recorder:
        """Remove rows where the predicate is true: those where it is null stay."""
        return Recorder(build.filtered(self.plan, wrapped(pyexpr).ne_missing(other=True)))

    def sort(self, by: str, *options: Any) -> Recorder:  # noqa: D102
        descending, nulls_last, *rest = options
        return Recorder(build.ordered(self.plan, [pl.col(by)], ([descending], [nulls_last], *rest)))

    def sort_by_exprs(self, by: list[Any], *options: Any) -> Recorder:  # noqa: D102
        return Recorder(build.ordered(self.plan, wrapped(by), options))

    def top_k(self, k: int, *, by: list[Any], reverse: Any) -> Recorder:  # noqa: D102
        return Recorder(build.top(self.plan, "top_k", k, wrapped(by), reverse))

    def bottom_k(self, k: int, *, by: list[Any], reverse: Any) -> Recorder:  # noqa: D102
        return Recorder(build.top(self.plan, "bottom_k", k, wrapped(by), reverse))

    def drop_nulls(self, *, subset: Any) -> Recorder:
        """Keep rows without nulls: a filter, as it is for Polars."""
        columns = cs.all() if subset is None else wrapped(subset)
        return Recorder(build.filtered(self.plan, pl.all_horizontal(columns.is_not_null())))

    def slice(self, offset: int, length: int | None) -> Recorder:  # noqa: D102
        return Recorder(Slice(self.plan, offset, length))

    def unique(self, maintain_order: bool, subset: list[Any] | None, keep: str) -> Recorder:  # noqa: D102, FBT001
        by = None if subset is None else wrapped(subset)
        return Recorder(build.distinct(self.plan, by, keep, maintain_order=maintain_order))

    def join(self, other: Any, left_on: list[Any], right_on: list[Any], *args: Any, **kwargs: Any) -> Recorder:  # noqa: D102
        left, right = wrapped(left_on), wrapped(right_on)
        if args[_HOW] in {"semi", "anti"} and args[_ORDER] == "none":
            # Polars keeps the order of these where a query is collected, but not where it is read in batches.
            args = (*args[:_ORDER], "left", *args[_ORDER + 1 :])
        return Recorder(build.joined(self.plan, _other(other), "join", left, right, *args, **kwargs))

    def join_asof(self, other: Any, left_on: Any, right_on: Any, *args: Any, **kwargs: Any) -> Recorder:  # noqa: D102
        on, by = (wrapped(left_on), wrapped(right_on)), (args[0] or [], args[1] or [])
        build.check_free(on, "join_asof")
        left, right = (frozenset([*o.meta.root_names(), *b]) for o, b in zip(on, by, strict=True))
        return Recorder(Join(self.plan, _other(other), "join_asof", (*on, *args), kwargs, left, right))

    def join_where(self, other: Any, predicates: list[Any], how: str, suffix: str) -> Recorder:
        """A join on any predicate, which names columns as they will be after the join."""
        found = wrapped(predicates)
        build.check_free(found, "join_where")
        left = frozenset(n for e in found for n in e.meta.root_names())
        right = left | {n.removesuffix(suffix) for n in left}
        return Recorder(Join(self.plan, _other(other), "join_where", (found, how, suffix), {}, left, right))

    def clone(self) -> Recorder:
        """Plans are immutable."""
        return self

    def collect_schema(self) -> pl.Schema:
        """The logical schema of what has been recorded; asks nothing."""
        return schema_of(resolve(self.plan, settings.current().on_error))

    def __getattr__(self, verb: str) -> Any:
        """Any other verb becomes a `Native` node."""
        if verb.startswith("__"):
            raise AttributeError(verb)

        def record(*args: Any, **kwargs: Any) -> Recorder:
            kept, named = tuple(map(wrapped, args)), {k: wrapped(v) for k, v in kwargs.items()}
            build.check_free([a for a in (*kept, *named.values()) if isinstance(a, pl.Expr)], verb)
            return Recorder(Native(self.plan, verb, kept, named))

        return record


def _other(frame: Any) -> Plan:
    """The other side of a join."""
    return frame.plan if isinstance(frame, Recorder) else Scan(wrap_ldf(frame))


class Recording(pl.LazyFrame):
    """A frame whose verbs are recorded; lives only while one verb runs."""

    _ldf: Any

    @classmethod
    def of(cls, plan: Plan) -> Recording:
        """A frame that records on top of a plan."""
        return cls._from_pyldf(Recorder(plan))

    @classmethod
    def _from_pyldf(cls, ldf: Any) -> Recording:
        self = cls.__new__(cls)
        self._ldf = ldf
        return self


def record(original: Any, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
    """Play one of Polars' verbs to a recorder.

    Args:
        original: The function of `pl.LazyFrame`, as Polars defines it.
        plan: What it is called on.
        args: Its arguments; other frames may be `Recording`s.
        kwargs: Its keyword arguments.

    Returns:
        The longer plan.
    """
    result = original(Recording.of(plan), *args, **kwargs)
    # Not every verb of Polars keeps the class of its frame: what tells is the handle.
    return result._ldf.plan if isinstance(result._ldf, Recorder) else Scan(result)
