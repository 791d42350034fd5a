"""A piece of a query that DuckDB runs, as a frame that reads it lazily."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
from polars.io.plugins import register_io_source

from polar_llama import settings as settings_module
from polar_llama.frame.capture import ORIGINALS
from polar_llama.frame.leaf import Leaf
from polar_llama.planner.nodes import Plan, Scan, inputs, with_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from polar_llama.frame.inference_frame import InferenceFrame
    from polar_llama.settings import Settings
    from polar_llama.sqlfront.database import Database

BATCH = 50_000
"""Rows of a batch that DuckDB hands over, at most."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation.

    Attributes:
        name: Its name in the frame.
        kind: DuckDB's type.
        dtype: Its dtype in the frame.
        sent: SQL that hands it over.
    """

    name: str
    kind: str
    dtype: pl.DataType
    sent: str


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A frame that answers, as a table of a later piece of the query.

    Attributes:
        frame: The frame.
        columns: Its columns and their types in DuckDB.
        keys: Further columns, which say for which row around a correlated subquery a row is.
    """

    frame: InferenceFrame
    columns: tuple[Column, ...]
    keys: tuple[Column, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """A query without calls.

    Attributes:
        database: Where it runs.
        body: Its SQL; its columns are taken by position.
        columns: What they are called and are.
        suffix: `ORDER BY`, `LIMIT` and `OFFSET`, which name columns of the frame.
        tables: The frames it reads, under names of our own.
        parameters: The prepared parameters it uses.
    """

    database: Database
    body: str
    columns: tuple[Column, ...]
    suffix: str = ""
    tables: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> pl.Schema:
        """Names and dtypes."""
        return pl.Schema({c.name: c.dtype for c in self.columns})

    def sql(self, wanted: list[str] | None = None, rows: int | None = None) -> str:
        """The query, cut to some columns and to its first rows."""
        chosen = [c for c in self.columns if wanted is None or c.name in wanted]
        listed = ", ".join(f"{c.sent} AS {c.name}" for c in chosen) or "1"
        names = ", ".join(c.name for c in self.columns)
        query = f"SELECT {listed} FROM ({self.body}) AS r({names}){self.suffix}"  # noqa: S608 -- names of our own
        return query if rows is None else f"SELECT * FROM ({query}) LIMIT {rows}"  # noqa: S608

    def run(
        self, settings: Settings, thread: int, wanted: list[str] | None = None, rows: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Run the query and hand its rows over as they come.

        Args:
            settings: For the calls in the frames it reads.
            thread: Which thread made the terminal call they belong to.
            wanted: The columns to give; none keep the height.
            rows: The most rows to give.
        """
        if rows == 0:
            return
        failures: list[BaseException] = []
        tables = {n: _readable(t, settings, thread, failures, lazy=self.database.owned) for n, t in self.tables.items()}
        query = self.sql(wanted, rows)
        dtypes = {c.name: c.dtype for c in self.columns if wanted is None or c.name in wanted}
        try:
            with self.database.opened(tables) as connection:
                relation = connection.sql(query, params=dict(self.parameters) or None)
                # The user's connection takes one query at a time, and must be free when this one waits for answers.
                batches = (
                    iter(relation.to_arrow_reader(BATCH))
                    if self.database.owned
                    else iter(relation.to_arrow_table().to_batches(BATCH))
                )
                if self.database.owned:
                    for batch in batches:
                        yield _frame(batch, dtypes)
            if not self.database.owned:
                for batch in batches:
                    yield _frame(batch, dtypes)
        except duckdb.Error:
            if failures:
                raise failures[0] from None
            raise

    def frame(self, settings: Settings, thread: int) -> pl.LazyFrame:
        """A native frame that runs the query when it is read.

        Args:
            settings: For the calls in the frames it reads.
            thread: Which thread made the terminal call they belong to.
        """
        return register_io_source(
            Reader(self, settings, thread),
            schema=self.schema,
            explain_name=f"DUCKDB {' '.join(self.body.split())}{self.suffix}",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """What Polars calls to read a relation."""

    relation: Relation
    settings: Settings
    thread: int

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        """The rows Polars wants: its limit, then its predicate, then its columns."""
        wanted = None
        if with_columns is not None:
            wanted = [*with_columns, *(() if predicate is None else predicate.meta.root_names())]
        for batch in self.relation.run(self.settings, self.thread, wanted, n_rows):
            frame = batch if predicate is None else batch.filter(predicate)
            if with_columns is None:
                yield frame
            else:
                yield frame.select(with_columns) if with_columns else frame.drop(frame.columns)

    def __reduce__(self) -> tuple[Any, ...]:
        # A client may hold credentials and cannot travel.
        return Reader, (self.relation, replace(self.settings, http_client=None), self.thread)


class RelationScan(Scan):
    """Where a plan begins with a query: read under the settings of the run that reads it."""

    __slots__ = ("relation",)

    relation: Relation

    def __init__(self, relation: Relation) -> None:
        """Scan a relation."""
        object.__setattr__(self, "relation", relation)
        object.__setattr__(self, "schema", relation.schema)

    @property
    def frame(self) -> pl.LazyFrame:
        """The relation, for a terminal call of this thread."""
        return self.relation.frame(settings_module.current(), threading.get_ident())

    @property
    def plans(self) -> list[Plan]:
        """The plans that are run when the relation is read: what is asked in them is not seen from outside."""
        return [t.frame._plan for t in self.relation.tables.values() if isinstance(t, Stage)]

    def __reduce__(self) -> tuple[Any, ...]:
        return RelationScan, (self.relation,)


def _frame(batch: Any, dtypes: dict[str, pl.DataType]) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 -- a record batch is a frame
    if not dtypes:
        return frame
    return frame.cast({n: d for n, d in dtypes.items() if frame.schema[n] != d})


def _readable(table: Any, settings: Settings, thread: int, failures: list[BaseException], *, lazy: bool) -> Any:
    """What DuckDB can scan: a stage as the native leaf of its plan, any other frame as it is."""
    if not isinstance(table, Stage):
        return table
    leaf = Leaf(fixed(table.frame._plan, settings, thread), settings, thread)
    native = register_io_source(Told(leaf, failures), schema=leaf.schema(), explain_name="polar_llama")
    return native if lazy else ORIGINALS["collect"](native)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A leaf whose failure is remembered: DuckDB wraps it in an error of its own."""

    leaf: Leaf
    failures: list[BaseException]

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Read the leaf."""
        if n_rows == 0:  # DuckDB looks at an empty head to learn the schema
            return
        try:
            yield from self.leaf(with_columns, predicate, n_rows, size)
        except Exception as error:
            self.failures.append(error)
            raise


def fixed(plan: Plan, settings: Settings, thread: int) -> Plan:
    """A plan whose queries run under given settings, whatever thread reads them."""
    done: dict[int, Plan] = {}
    todo: list[tuple[Plan, bool]] = [(plan, False)]
    while todo:
        node, ready = todo.pop()
        if id(node) in done:
            continue
        if isinstance(node, RelationScan):
            done[id(node)] = Scan(node.relation.frame(settings, thread), node.schema)
        elif not ready:
            todo.append((node, True))
            todo += [(i, False) for i in inputs(node)]
        else:
            done[id(node)] = with_inputs(node, tuple(done[id(i)] for i in inputs(node)))
    return done[id(plan)]
