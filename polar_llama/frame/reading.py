"""What of a plan's answers is read: Polars is asked, with frames without rows.

A stage asks only for the columns, and no more than the rows, that the native query above it wants:
projection and limit push-down within Polars' own steps are left to Polars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars.io.plugins import register_io_source

from polar_llama.frame.stages import kept, projected
from polar_llama.planner.estimate import Reading
from polar_llama.planner.lower import lower
from polar_llama.planner.nodes import Scan, schema_of, with_inputs
from polar_llama.planner.schema import empty
from polar_llama.planner.walk import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    from polar_llama.call import Call
    from polar_llama.planner.nodes import Answer, Plan
    from polar_llama.planner.sieve import Predicate


def reading(plan: Plan) -> Reading:
    """How a run of an optimised plan would read its answers."""
    noting = _Noting()
    try:
        lower(_emptied(plan), noting)._collect_eager()
    except Exception:  # noqa: BLE001 -- a step of the user's that needs rows: as far as is known everything is read
        return Reading()
    return Reading(frozenset(noting.all - noting.read), frozenset(noting.limited))


class _Noting:
    """Stages that answer no rows, and note what they are asked for."""

    def __init__(self) -> None:
        self.all: set[tuple[str, Call]] = set()
        self.read: set[tuple[str, Call]] = set()
        self.limited: set[tuple[str, Call]] = set()

    def answer(self, frame: pl.LazyFrame, answers: Sequence[Answer], schema: pl.Schema) -> pl.LazyFrame:
        """Note the slots that are wanted."""
        return self._source(frame, answers, schema, needed=())

    def sieve(self, frame: pl.LazyFrame, predicates: Sequence[Predicate], schema: pl.Schema) -> pl.LazyFrame:
        """A sieve needs all its slots."""
        answers = [a for predicate in predicates for a in predicate.answers]
        return self._source(frame, answers, schema, needed=[a.column for a in answers])

    def until(
        self, frame: pl.LazyFrame, step: Callable[[pl.LazyFrame], pl.LazyFrame], rows: int, schema: pl.Schema
    ) -> pl.LazyFrame:
        """What a piece needs is needed of the whole."""
        del rows, schema
        return step(frame)

    def _source(
        self, frame: pl.LazyFrame, answers: Sequence[Answer], schema: pl.Schema, needed: Sequence[str]
    ) -> pl.LazyFrame:
        slots = {(a.column, a.call) for a in answers}
        self.all |= slots

        def source(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
        ) -> Iterator[pl.DataFrame]:
            roots = () if predicate is None else predicate.meta.root_names()
            wanted = {*(schema if with_columns is None else with_columns), *roots, *needed}
            self.read |= {slot for slot in slots if slot[0] in wanted}
            if n_rows is not None:
                self.limited |= slots
            kept(frame, [c for c in schema if c in wanted])._collect_eager()
            yield projected(schema.to_frame(), predicate, with_columns)

        return register_io_source(source, schema=schema)


def _emptied(plan: Plan) -> Plan:
    """The same plan on frames without rows."""

    def step(node: Plan, below: tuple[Plan, ...]) -> Plan:
        return Scan(empty(schema_of(node)), node.schema) if isinstance(node, Scan) else with_inputs(node, below)

    return fold(plan, step)
