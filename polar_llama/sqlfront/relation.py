"""A piece of a query that DuckDB runs, as a frame that reads it lazily."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import duckdb
import polars as pl
import polars.selectors as cs
from polars.io.plugins import register_io_source

from polar_llama.frame.leaf import STAND_IN, Leaf
from polar_llama.frame.patch import ORIGINALS
from polar_llama.frame.scope import LEAF, leaf_built, tokens
from polar_llama.planner.nodes import Scan
from polar_llama.sqlfront.database import without_excerpt
from polar_llama.sqlfront.holding import held
from polar_llama.sqlfront.pushdown import told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

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


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
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

    def scan(self, settings: Settings) -> Scan:
        """Where a plan begins with this query. Nothing runs before it is read.

        Args:
            settings: For the dtypes of answers in the frames it reads; they run under those in force then.
        """
        leaves = {n: Leaf(t.frame._plan, settings) for n, t in self.tables.items() if isinstance(t, Stage)}
        if leaves:
            leaf_built()
        named = " ".join([*self.body.split(), *self.suffix.split(), *(LEAF + leaf.token for leaf in leaves.values())])
        frame = register_io_source(Reader(self, leaves), schema=self.schema, explain_name=f"DUCKDB {named}")
        return Scan(frame, self.schema, partial(told, self, leaves))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Reader:
    """What Polars calls to read a relation.

    Attributes:
        relation: The query.
        leaves: What answers the frames that it reads, by their names.
    """

    relation: Relation
    leaves: Mapping[str, Leaf]

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        """The rows Polars wants: its limit, then its predicate, then its columns."""
        wanted = None
        if with_columns is not None:
            wanted = [*with_columns, *(() if predicate is None else predicate.meta.root_names())]
        for batch in self.read(wanted, n_rows):
            frame = batch if predicate is None else batch.filter(predicate)
            if with_columns is None:
                yield frame
            else:
                yield frame.select(with_columns) if with_columns else frame.drop(frame.columns)

    def read(self, wanted: list[str] | None, rows: int | None) -> Iterator[pl.DataFrame]:
        """Run the query and hand its rows over as they come.

        Args:
            wanted: The columns to give; none keep the height.
            rows: The most rows to give.
        """
        if rows == 0:
            return
        relation, failures = self.relation, list[BaseException]()
        dtypes = {c.name: c.dtype for c in relation.columns if wanted is None or c.name in wanted}
        try:
            with ExitStack() as stack:
                tables = {n: self._readable(n, t, failures, stack) for n, t in relation.tables.items()}
                for batch in _batches(relation, relation.sql(wanted, rows), tables):
                    yield _frame(batch, dtypes)
        except duckdb.Error as error:
            raise (failures[0] if failures else without_excerpt(error)) from None
        finally:
            failures.clear()  # or the failure would hold itself, through frames of Polars that no collector looks into

    def _readable(self, name: str, table: Any, failures: list[BaseException], stack: ExitStack) -> Any:
        """What DuckDB can scan: a stage as the native leaf of its plan, any other frame as it is."""
        owned = self.relation.database.owned
        if isinstance(table, Stage):
            leaf = self.leaves[name]
            native = register_io_source(Told(leaf, failures), schema=leaf.schema(), explain_name="polar_llama")
        elif owned or not isinstance(table, pl.LazyFrame) or not tokens([table]):
            return table
        else:  # a leaf somewhere in it may need the very connection that would read it
            native = table
        # The user's connection must be free while there is something to wait for.
        return native if owned else stack.enter_context(held(*_arrow(native))).table()

    def __reduce__(self) -> tuple[Any, ...]:
        if STAND_IN.get() is None:
            return Reader, (self.relation, self.leaves)
        # A copy to be looked at in this process: the leaves are exchanged, the tables stay where they are.
        _relations[id(self.relation)] = self.relation
        return _copied, (id(self.relation), self.leaves)


_relations: WeakValueDictionary[int, Relation] = WeakValueDictionary()


def _copied(key: int, leaves: Mapping[str, Leaf]) -> Reader:
    return Reader(_relations[key], leaves)


def _batches(relation: Relation, query: str, tables: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
    parameters = dict(relation.parameters) or None
    if relation.database.owned:
        with relation.database.opened(tables) as connection:
            yield from connection.sql(query, params=parameters).to_arrow_reader(BATCH)
        return
    with ExitStack() as stack:
        with relation.database.opened(tables) as connection:  # it takes one query at a time: over before the next
            reader = connection.sql(query, params=parameters).to_arrow_reader(BATCH)
            rows = stack.enter_context(held(reader.schema, reader))
        yield from rows


def _arrow(frame: pl.LazyFrame) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """A frame in batches; without categories, of which a file has one list only."""
    plain = frame.with_columns(cs.categorical().cast(pl.String))
    batches = ORIGINALS["collect_batches"](plain, maintain_order=True, lazy=True)
    return plain.collect_schema().to_frame().to_arrow().schema, (b for f in batches for b in f.to_arrow().to_batches())


def _frame(batch: Any, dtypes: dict[str, pl.DataType]) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 -- a record batch is a frame
    if not dtypes:
        return frame
    return frame.cast({n: d for n, d in dtypes.items() if frame.schema[n] != d})


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
