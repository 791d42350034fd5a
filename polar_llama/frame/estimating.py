"""A frame's calls counted: Polars runs the free parts, the cache is looked into, nothing is sent.

Calls may also stand inside a native query, in a leaf that answers when it is read. Such a query is
copied by Polars' own serialisation, and in the copy each leaf is replaced by one that counts: so
looking can never send, whatever else runs at the same time.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import polars as pl

from polar_llama.errors import PlanError
from polar_llama.exec.forecast import SCHEMA, Counting, Forecast
from polar_llama.exec.run import Run
from polar_llama.frame import leaf
from polar_llama.frame.inference_frame import plan_of
from polar_llama.frame.lists import texts
from polar_llama.frame.reading import reading
from polar_llama.frame.scope import tokens
from polar_llama.frame.stages import RunStages, rendered
from polar_llama.planner.estimate import estimate
from polar_llama.planner.nodes import schema_of
from polar_llama.planner.optimizer import optimize
from polar_llama.planner.resolve import resolve
from polar_llama.planner.rows import Rows, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from polar_llama.call import Call
    from polar_llama.exec.forecast import Written
    from polar_llama.planner.estimate import Slots
    from polar_llama.planner.nodes import Answer, Scan
    from polar_llama.settings import Settings


def estimated(frame: pl.LazyFrame, settings: Settings, environ: Mapping[str, str]) -> pl.DataFrame:
    """The figures of a frame: see `polar_llama.estimate`."""
    look = _Look(settings, environ)
    plan = resolve(plan_of(frame), settings.on_error)
    best = optimize(plan)
    estimate(best, look.counter(settings), reading(best))
    if not look.prompted():
        return SCHEMA.to_frame()
    written = _Look(settings, environ, follows=False)
    try:
        estimate(plan, written.counter(settings))
    except pl.exceptions.PolarsError:  # as written the query fails, and planning has helped
        return look.frame({})
    return look.frame(written.prompted())


class _Look:
    """One look at a frame.

    Args:
        settings: The settings in force.
        environ: The environment.
        follows: Whether calls inside native queries are counted too.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str], *, follows: bool = True) -> None:
        self.settings = settings
        self.environ = environ
        self.follows = follows
        self.copies: list[Copy] = []
        self.is_counting = False
        self.is_guess = False
        self._forecasts: list[Forecast] = []

    def counter(self, settings: Settings, *, whole: bool = True) -> _Counter:
        """Counts calls that will run with these settings."""
        known = next((f for f in self._forecasts if f.settings == settings), None)
        if known is None:
            known = Forecast(settings, self.environ)
            self._forecasts.append(known)
        return _Counter(self, known, whole)

    def frame(self, written: Mapping[Written, int | None]) -> pl.DataFrame:
        """The figures of all calls."""
        return pl.concat([forecast.frame(written) for forecast in self._forecasts])

    def prompted(self) -> dict[Written, int | None]:
        """Rows with a prompt, per call."""
        return {key: rows for forecast in self._forecasts for key, rows in forecast.prompted().items()}

    def copied(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The same query on leaves that count.

        Raises:
            PlanError: If Polars cannot copy it.
        """
        token = leaf.STAND_IN.set(self._stand_in)
        try:
            return pl.LazyFrame.deserialize(frame.serialize())
        except Exception as error:
            msg = (
                f"estimate() cannot look into this native query, which Polars cannot copy ({type(error).__name__}). "
                "Hint: estimate the frames it is made of, each by itself: pll.estimate(lf)"
            )
            raise PlanError(msg) from error
        finally:
            leaf.STAND_IN.reset(token)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While a query is run in order to count: a copied leaf is read again later, for its rows."""
        before, self.is_counting = self.is_counting, True
        try:
            yield
        finally:
            self.is_counting = before

    def _stand_in(self, original: leaf.Leaf) -> tuple[Callable[[int], Copy], tuple[int]]:
        copy = Copy(original, self)
        self.copies.append(copy)
        key = next(_keys)
        _copies[key] = copy
        return copy_of, (key,)


@dataclass(frozen=True, slots=True, eq=False)
class _Counter:
    """Counts stages into a forecast.

    Attributes:
        look: What it is part of.
        forecast: The figures.
        whole: Whether all rows of a stage will be read, as far as is known here.
    """

    look: _Look
    forecast: Forecast
    whole: bool

    def scanned(self, scan: Scan) -> Rows | None:
        """The rows of a native frame, whose own calls are counted; None where those are not all cached."""
        if not tokens([scan.frame]):
            return Rows(scan.frame)
        if not self.look.follows:
            return None
        copy = self.look.copied(scan.frame)
        before, self.look.is_guess = self.look.is_guess, False
        with self.look.counting():
            try:
                copy._collect_eager()
            except pl.exceptions.PolarsError as error:
                if not self.look.is_guess:
                    raise
                msg = (
                    "estimate() cannot follow this native query before its calls are answered: it fails on nulls in "
                    "their place. Hint: estimate the frames it is made of, each by itself: pll.estimate(lf)"
                )
                raise PlanError(msg) from error
        is_guess, self.look.is_guess = self.look.is_guess, before or self.look.is_guess
        return None if is_guess else Rows(copy)

    def counted(self, slots: Slots) -> Sequence[bool] | None:
        """Count a stage; None if Polars fails on rows that the run may never see."""
        exact = slots.exact and self.whole
        columns = list(map(Counting, (a.column for a in slots.answers), (a.call for a in slots.answers), slots.known))
        try:
            if not any(column.call.listed for column in columns):
                return self.forecast.count(rendered(slots.frame), columns, exact=exact, most=slots.most)
            return [self._counted_alone(slots.frame, column, exact=exact, most=slots.most) for column in columns]
        except pl.exceptions.PolarsError:
            if slots.exact:
                raise
            return None

    def _counted_alone(self, frame: pl.LazyFrame, column: Counting, *, exact: bool, most: int | None) -> bool:
        """Count one column of a stage; of lists, each of their texts."""
        if not column.call.listed:
            return self.forecast.count(rendered(frame), [column], exact=exact, most=most)[0]
        if not column.known:
            self.forecast.unbounded([column.call])
            return False
        items = (texts(batch.get_column(column.column)) for batch in rendered(frame))
        listed = Counting("text", replace(column.call, listed=False), known=True)
        return self.forecast.count(items, [listed], exact=exact, most=None)[0]

    def unbounded(self, calls: Sequence[Call]) -> None:
        """Note calls of which nothing can be said."""
        self.forecast.unbounded(calls)

    def cached(self, frame: pl.LazyFrame, answers: Sequence[Answer], schema: pl.Schema) -> pl.LazyFrame:
        """The frame with slots answered from the cache: by a run that never sends."""
        settings = self.forecast.settings
        silent = replace(settings, cache="replay", max_cost=None, max_requests=None, progress=False)
        return RunStages(Run(silent, self.look.environ), "auto").answer(frame, answers, schema)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Copy:
    """Stands for a leaf in a copied query: counts what the leaf would ask, and gives rows as far as they are known."""

    original: leaf.Leaf
    look: _Look

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Count; the rows of answers that are not cached are guesses, with nulls for answers."""
        settings = self.original.settings_in(self.look.settings)
        plan = resolve(self.original.wanted(with_columns, predicate, n_rows), settings.on_error)
        # The query around may stop reading early: what is counted here is a bound.
        look = self.look if self.look.is_counting else _Look(settings, self.look.environ)
        best = optimize(plan)
        rows = estimate(best, look.counter(settings, whole=False), reading(best))
        schema = schema_of(plan)
        if rows is not None and rows.exact and not rows.unknown:
            yield from rendered(rows.frame)
            return
        self.look.is_guess = True
        if rows is None:
            yield schema.to_frame()
            return
        columns = [
            pl.repeat(None, pl.len(), dtype=schema[n]).alias(n) if n in rows.unknown else pl.col(n) for n in schema
        ]
        yield from rendered(select(rows.frame, columns))

    def schema(self) -> pl.Schema:
        """Names and dtypes."""
        return self.original.schema()


_keys = itertools.count()
_copies: WeakValueDictionary[int, Copy] = WeakValueDictionary()


def copy_of(key: int) -> Copy:
    """The leaf of a copied query."""
    return _copies[key]
