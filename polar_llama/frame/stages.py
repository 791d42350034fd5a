"""The stages of a run as native frames: Polars pulls batches, the run answers them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.io.plugins import register_io_source

from polar_llama.exec.run import Slot
from polar_llama.frame.lists import relisted, texts
from polar_llama.frame.order import Order
from polar_llama.frame.patch import ORIGINALS
from polar_llama.planner.nodes import Filter, Scan, Select, WithColumns, apply
from polar_llama.planner.schema import changed, schema_of_native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from polar_llama.exec.run import Run
    from polar_llama.planner.nodes import Answer
    from polar_llama.planner.sieve import Predicate


GUARDED = pl.QueryOptFlags(comm_subexpr_elim=False, cluster_with_columns=False)
"""For what renders prompts. Of what two of them have in common Polars would make a column, evaluated in all rows:
in those as well that a condition of theirs leaves out, because it would fail there. And where it makes one step of
two that add columns, an expression may read a column as it is after its own step (Polars 2.1)."""


@dataclass(frozen=True, slots=True, eq=False)
class RunStages:
    """The stages of one run.

    Attributes:
        run: Who answers.
        engine: The Polars engine for their inputs.
        orders: What has been seen of predicates in a row, by the identities of their expressions.
    """

    run: Run
    engine: Any
    orders: dict[tuple[int, ...], Order] = field(default_factory=dict)

    def batches(self, frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        """The input of a stage, in order."""
        if self.engine == "in-memory":
            # It has all of it at once in any case, and so needs no thread of Polars', which a forked process lacks.
            return iter([frame._collect_eager(optimizations=GUARDED)])
        return rendered(frame, self.engine)

    def answer(self, frame: pl.LazyFrame, answers: Sequence[Answer], schema: pl.Schema) -> pl.LazyFrame:
        """The frame with its slots answered."""
        for listed in (a for a in answers if a.call.listed):
            frame = self._answer_lists(frame, listed)
        slots = [Slot(a.column, a.call) for a in answers if not a.call.listed]
        if not slots:
            return frame

        def source(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
        ) -> Iterator[pl.DataFrame]:
            # Answering keeps rows and their order, so a limit holds for the input as well.
            limited = frame if n_rows is None else frame.slice(0, n_rows)
            wanted = None if with_columns is None else _wanted(with_columns, predicate, schema)
            read = [s for s in slots if wanted is None or s.column in wanted]
            batches = self.batches(kept(limited, wanted))
            for batch in self.run.answer(batches, read, heartbeat=True):
                yield projected(batch, predicate, with_columns)

        return register_io_source(source, schema=schema, explain_name="polar_llama", is_pure=False)

    def _answer_lists(self, frame: pl.LazyFrame, answer: Answer) -> pl.LazyFrame:
        """The frame with a slot answered that holds lists of prompts."""
        schema = changed(schema_of_native(frame), {answer.column: answer.call.dtype})
        slot = Slot("text", replace(answer.call, listed=False))

        def source(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
        ) -> Iterator[pl.DataFrame]:
            limited = frame if n_rows is None else frame.slice(0, n_rows)
            wanted = list(schema) if with_columns is None else _wanted(with_columns, predicate, schema)
            for batch in self.batches(kept(limited, wanted)):
                if answer.column in wanted:
                    prompts = batch.get_column(answer.column)
                    asked = texts(prompts)
                    answered = [asked.clear().cast({"text": slot.call.dtype})]
                    for found in self.run.answer([asked], [slot], heartbeat=True):
                        answered.append(found)
                        if found.is_empty():  # a sign of life
                            yield projected(schema.to_frame(), predicate, with_columns)
                    answers = relisted(prompts, pl.concat(answered), answer.call.dtype)
                    batch = batch.with_columns(answers)  # noqa: PLW2901
                yield projected(batch, predicate, with_columns)

        return register_io_source(source, schema=schema, explain_name="polar_llama lists", is_pure=False)

    def sieve(self, frame: pl.LazyFrame, predicates: Sequence[Predicate], schema: pl.Schema) -> pl.LazyFrame:
        """The rows that pass all predicates, asked in the order that has turned out cheapest."""
        # The same predicates on the next piece of an early stop go on with what has been seen.
        made = Order(predicates, self.run.rate)
        order = self.orders.setdefault(tuple(id(p.expr) for p in predicates), made)
        read = {c for p in predicates for c in p.expr.meta.root_names()}

        def source(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
        ) -> Iterator[pl.DataFrame]:
            wanted = None if with_columns is None else _wanted({*with_columns, *read}, predicate, schema)
            pieces, left = Pieces(self.batches(kept(frame, wanted))), n_rows
            while left != 0 and (piece := pieces.take(order.rows(self.run.window))) is not None:
                done: list[Predicate] = []
                while piece.height and (asked := order.next(piece, done)) is not None:
                    answered: list[pl.DataFrame] = []
                    slots = [Slot(a.column, a.call) for a in asked.answers]
                    for batch in self.run.answer([piece], slots, heartbeat=True):
                        if batch.height:
                            answered.append(batch)
                        else:  # a sign of life
                            yield projected(schema.to_frame(), predicate, with_columns)
                    passed = projected(pl.concat(answered), asked.expr, None)
                    order.saw(asked, done, piece.height, passed.height)
                    piece, done = passed, [*done, asked]
                if not piece.height:
                    continue
                out = piece if left is None else piece.head(left)
                left = None if left is None else left - out.height
                yield projected(out, predicate, with_columns)

        return register_io_source(source, schema=schema, explain_name="polar_llama sieve", is_pure=False)

    def until(
        self, frame: pl.LazyFrame, step: Callable[[pl.LazyFrame], pl.LazyFrame], rows: int, schema: pl.Schema
    ) -> pl.LazyFrame:
        """The frame put through a step in pieces, until so many rows have come out."""

        def source(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
        ) -> Iterator[pl.DataFrame]:
            left = rows if n_rows is None else min(rows, n_rows)
            asked = passed = 0
            wanted = None if with_columns is None else _wanted(with_columns, predicate, schema)
            base = frame if wanted is None else blanked(frame, _read_by(lambda f: kept(step(f), wanted), frame))
            pieces = Pieces(self.batches(base))
            while left > 0 and (piece := pieces.take(reach(left, asked, passed, self.run.window))) is not None:
                out = kept(step(piece.lazy()), wanted)._collect_eager().head(left)
                asked, passed, left = asked + piece.height, passed + out.height, left - out.height
                yield projected(out, predicate, with_columns)

        return register_io_source(source, schema=schema, explain_name="polar_llama until", is_pure=False)


def rendered(frame: pl.LazyFrame, engine: Any = "auto") -> Iterator[pl.DataFrame]:
    """The batches of a frame that holds prompts, in order."""
    batches = ORIGINALS["collect_batches"](frame, maintain_order=True, lazy=True, engine=engine, optimizations=GUARDED)
    return iter(batches)


def _wanted(with_columns: Iterable[str], predicate: pl.Expr | None, schema: pl.Schema) -> list[str]:
    """The columns a source needs for what Polars asks of it, in the schema's order."""
    names = {*with_columns, *(() if predicate is None else predicate.meta.root_names())}
    return [c for c in schema if c in names]


def kept(frame: pl.LazyFrame, columns: Sequence[str] | None) -> pl.LazyFrame:
    """A frame cut to some columns; to none of them, it stays as it is, for its height."""
    return apply(Select(Scan(frame), tuple(map(pl.col, columns))), (frame,)) if columns else frame


def blanked(frame: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """A frame with nulls in all but some columns: the others stay, since a step may drop or rename them by name."""
    schema = frame.collect_schema()
    nulls = tuple(pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in columns)
    return apply(WithColumns(Scan(frame), nulls), (frame,)) if nulls else frame


def _read_by(step: Callable[[pl.LazyFrame], pl.LazyFrame], frame: pl.LazyFrame) -> list[str]:
    """The columns a step reads: Polars is asked, with a frame without rows that notes what it is asked for."""
    schema = frame.collect_schema()
    read: set[str] = set()

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, _rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        read.update(_wanted(list(schema) if with_columns is None else with_columns, predicate, schema))
        yield projected(schema.to_frame(), predicate, with_columns)

    step(register_io_source(source, schema=schema))._collect_eager()
    return [c for c in schema if c in read]


def reach(left: int, asked: int, passed: int, window: int) -> int:
    """How many rows to ask next, when `left` more must pass and `passed` of `asked` have.

    At least `left`, since no row passes twice; as many as should be needed, going by the share that has
    passed so far; and never a whole window beyond `left`, which bounds what may be asked in vain.
    """
    expected = -(-left * (asked + 1) // (passed + 1))
    return max(left, min(expected, left + window - 1))


class Pieces:
    """Batches cut into pieces of any size."""

    def __init__(self, batches: Iterator[pl.DataFrame]) -> None:
        self._batches = batches
        self._rest: pl.DataFrame | None = None

    def take(self, rows: int) -> pl.DataFrame | None:
        """The next rows, fewer at the end; None after it."""
        found = [] if self._rest is None else [self._rest]
        while sum(f.height for f in found) < rows and (batch := next(self._batches, None)) is not None:
            found.append(batch)
        if not found:
            return None
        whole = pl.concat(found)
        self._rest = whole.slice(rows) if whole.height > rows else None
        return whole.head(rows)


def projected(batch: pl.DataFrame, predicate: pl.Expr | None, with_columns: list[str] | None) -> pl.DataFrame:
    """What Polars asked a source for; no columns at all keep the height."""
    if predicate is not None:
        frame = batch.lazy()
        batch = apply(Filter(Scan(frame), predicate), (frame,))._collect_eager()
    if with_columns is None:
        return batch
    return batch.select(with_columns) if with_columns else batch.drop(batch.columns)
