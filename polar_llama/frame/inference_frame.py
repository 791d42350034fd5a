"""A lazy frame that holds calls: a `pl.LazyFrame` to everybody, a logical plan inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from polars._utils.parse import parse_into_list_of_expressions
from polars.lazyframe.group_by import LazyGroupBy
from polars.lazyframe.opt_flags import DEFAULT_QUERY_OPT_FLAGS

from polar_llama import settings
from polar_llama.frame.leaf import native_leaf
from polar_llama.frame.patch import ORIGINALS, VERBS
from polar_llama.frame.recorder import Recording, record
from polar_llama.frame.running import batches, collected, collected_async, interruptible
from polar_llama.frame.scope import scope
from polar_llama.planner import build
from polar_llama.planner.explain import describe
from polar_llama.planner.nodes import MOVES, Native, Scan, Union, schema_of, wrapped
from polar_llama.planner.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.planner.nodes import Plan

RECORDED = (
    *VERBS,
    *("drop", "rename", "slice", "limit", "head", "tail", "first", "last", "reverse", "shift", "gather_every"),
    *("with_row_index", "cast", "explode", "unnest", "unpivot", "pivot", "drop_nulls", "drop_nans", "fill_null"),
    *("fill_nan", "interpolate", "count", "null_count", "max", "min", "sum", "mean", "median", "std", "var"),
    *("quantile", "set_sorted", "map_batches", "cache", "clone", "inspect", "match_to_schema", "_aggregate_select"),
    *("_height_preserving", "_height_preserving_select", "_with_height_column", "_drop_height_column"),
)
"""The verbs of one frame (and joins), which stay on the plan. Any other verb works on the native leaf."""


class InferenceFrame(pl.LazyFrame):
    """A `pl.LazyFrame` whose verbs are planned together with the calls it holds.

    Made by using `llm(...)` in a verb of any frame; not made by hand. Verbs of one frame and joins
    give an `InferenceFrame` again; functions of several frames (`pl.concat`, `pl.collect_all`) and
    sinks see a native leaf that answers when it is read.
    """

    _plan: Plan

    @classmethod
    def _of(cls, plan: Plan) -> InferenceFrame:
        self = cls.__new__(cls)
        self._plan = plan
        return self

    @property
    def _ldf(self) -> Any:  # type: ignore[override]
        return native_leaf(self._plan, settings.current())._ldf

    @classmethod
    def _from_pyldf(cls, ldf: Any) -> pl.LazyFrame:
        return pl.LazyFrame._from_pyldf(ldf)

    def collect(
        self,
        *,
        engine: Any = "auto",
        background: bool = False,
        optimizations: pl.QueryOptFlags = DEFAULT_QUERY_OPT_FLAGS,
        **kwargs: Any,
    ) -> Any:
        """Plan, ask and collect, as `pl.LazyFrame.collect` does.

        Returns:
            The frame.

        Raises:
            ConfigurationError: No model, key, extra or writable cache; nothing was sent.
            PlanError: The query cannot be planned; nothing was sent.
            ProviderError: A provider cannot be reached or refuses for good.
            AnswerError: Rows have no answer, with `on_error="raise"`; all others are cached.
            BudgetError: `max_cost` or `max_requests` was reached; what came back is cached.
        """
        if background:
            return super().collect(engine=engine, background=True, optimizations=optimizations, **kwargs)
        return collected(
            self._plan,
            settings.current(),
            lambda native: native.collect(engine=engine, optimizations=optimizations, **kwargs),
            engine,
        )

    def _collect_eager(self, *, optimizations: pl.QueryOptFlags = DEFAULT_QUERY_OPT_FLAGS) -> pl.DataFrame:
        return collected(
            self._plan,
            settings.current(),
            lambda native: native._collect_eager(optimizations=optimizations),
            "in-memory",
        )

    def collect_async(
        self,
        *,
        gevent: bool = False,
        engine: Any = "auto",
        optimizations: pl.QueryOptFlags = DEFAULT_QUERY_OPT_FLAGS,
    ) -> Any:
        """Collect without blocking the event loop, as `pl.LazyFrame.collect_async` does."""
        if gevent:
            return super().collect_async(gevent=True, engine=engine, optimizations=optimizations)
        return collected_async(
            self._plan,
            settings.current(),
            lambda native: native.collect(engine=engine, optimizations=optimizations),
            engine,
        )

    def collect_batches(self, **options: Any) -> Any:
        """Iterate over the result, as `pl.LazyFrame.collect_batches` does: asking goes on while you read."""
        engine = options.get("engine", "auto")
        return batches(self._plan, settings.current(), lambda native: native.collect_batches(**options), engine)

    def collect_schema(self) -> pl.Schema:
        """Names and dtypes, answers included; asks nothing."""
        return pl.Schema(schema_of(resolve(self._plan, settings.current().on_error)))

    def lazy(self) -> pl.LazyFrame:
        """This frame."""
        return self

    def group_by(self, *by: Any, maintain_order: bool = False, **named_by: Any) -> LazyGroupBy:
        """Group, as `pl.LazyFrame.group_by` does."""
        return grouped(self, by, {"maintain_order": maintain_order, **named_by})

    def __repr__(self) -> str:
        """The plan as a tree."""
        return f"InferenceFrame\n{describe(self._plan)}"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"

    def __reduce__(self) -> tuple[Any, ...]:
        return InferenceFrame._of, (self._plan,)

    def __copy__(self) -> InferenceFrame:
        return self

    def __deepcopy__(self, memo: None = None) -> InferenceFrame:
        return self


def plan_of(frame: pl.LazyFrame) -> Plan:
    """What a frame stands for in a plan."""
    return frame._plan if isinstance(frame, InferenceFrame) else Scan(frame)


def captured(frame: pl.LazyFrame, verb: str, args: Sequence[Any], kwargs: dict[str, Any]) -> pl.LazyFrame:
    """Record a verb of a frame.

    Raises:
        PlanError: If the verb holds a call where none can be planned.
    """
    original = ORIGINALS.get(verb) or getattr(pl.LazyFrame, verb)
    played = tuple(map(_played, args))
    return InferenceFrame._of(record(original, plan_of(frame), played, {k: _played(v) for k, v in kwargs.items()}))


def native(frame: pl.LazyFrame) -> pl.LazyFrame:
    """A frame as Polars can run it."""
    return pl.LazyFrame._from_pyldf(frame._ldf) if isinstance(frame, InferenceFrame) else frame


def captured_scan(frame: pl.LazyFrame) -> InferenceFrame:
    """A native query that holds leaves, to be run as any other frame that holds calls."""
    return InferenceFrame._of(Scan(frame))


def run_as_one(query: Callable[[], Any], claims: frozenset[str]) -> Any:
    """Run a native query whose leaves are one run."""
    with scope(settings.current(), claims) as opened:
        return interruptible(query, opened)


def concatenated(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Put frames one under the other."""
    return InferenceFrame._of(Union(tuple(map(plan_of, frames))))


def _played(value: Any) -> Any:
    return Recording.of(value._plan) if isinstance(value, InferenceFrame) else value


def _recorded(verb: str) -> Callable[..., pl.LazyFrame]:
    def method(self: InferenceFrame, *args: Any, **kwargs: Any) -> pl.LazyFrame:
        return captured(self, verb, args, kwargs)

    method.__name__ = verb
    method.__doc__ = getattr(pl.LazyFrame, verb).__doc__
    return method


for _verb in RECORDED:
    setattr(InferenceFrame, _verb, _recorded(_verb))


def _moved(verb: str) -> Callable[..., pl.LazyFrame]:
    def method(self: InferenceFrame, *args: Any, **kwargs: Any) -> pl.LazyFrame:
        if all(isinstance(a, int) for a in (*args, *kwargs.values())):
            return InferenceFrame._of(Native(self._plan, verb, args, kwargs))
        return captured(self, verb, args, kwargs)

    method.__name__ = verb
    method.__doc__ = getattr(pl.LazyFrame, verb).__doc__
    return method


for _verb in MOVES:
    setattr(InferenceFrame, _verb, _moved(_verb))


class InferenceGroupBy(LazyGroupBy):
    """The grouping of a frame that holds calls, or whose keys or aggregations do."""

    def __init__(
        self, plan: Plan, keys: Sequence[pl.Expr], having: Sequence[pl.Expr] = (), *, maintain_order: bool = False
    ) -> None:
        """Group a plan."""
        self._grouping = plan, tuple(keys), tuple(having), maintain_order

    @property
    def lgb(self) -> Any:  # type: ignore[override]
        """The native grouping, for everything but `agg`."""
        plan, keys, having, maintain_order = self._grouping
        build.check_free([*keys, *having], "group_by")
        grouped = pl.LazyFrame._from_pyldf(InferenceFrame._of(plan)._ldf).group_by(keys, maintain_order=maintain_order)
        return grouped.having(having).lgb if having else grouped.lgb

    def having(self, *predicates: Any) -> LazyGroupBy:
        """Keep groups, as `LazyGroupBy.having` does."""
        plan, keys, having, maintain_order = self._grouping
        found = wrapped(parse_into_list_of_expressions(*predicates))
        return InferenceGroupBy(plan, keys, [*having, *found], maintain_order=maintain_order)

    def agg(self, *aggs: Any, **named_aggs: Any) -> pl.LazyFrame:
        """Aggregate, as `LazyGroupBy.agg` does."""
        plan, keys, having, maintain_order = self._grouping
        exprs = wrapped(parse_into_list_of_expressions(*aggs, **named_aggs))
        return InferenceFrame._of(build.aggregated(plan, keys, exprs, having, maintain_order=maintain_order))


def aggregated(groups: LazyGroupBy, aggs: Sequence[Any], named_aggs: dict[str, Any]) -> pl.LazyFrame | None:
    """Aggregate a grouping of Polars' own; None where a call does not have one prompt a group."""
    found = build.prompted_groups(wrapped(parse_into_list_of_expressions(*aggs, **named_aggs)))
    if found is None:
        return None
    free, prompts = found
    return InferenceFrame._of(build.prompted(Scan(ORIGINALS["agg"](groups, free)), prompts))


def grouped(frame: pl.LazyFrame, by: Sequence[Any], options: dict[str, Any]) -> InferenceGroupBy:
    """Group a frame where calls may be among the keys or the aggregations."""
    named = {k: v for k, v in options.items() if k != "maintain_order"}
    keys = wrapped(parse_into_list_of_expressions(*by, **named))
    return InferenceGroupBy(plan_of(frame), keys, maintain_order=options.get("maintain_order", False))
