"""What is known while one query is planned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlglot import exp

from polar_llama import settings
from polar_llama.frame.inference_frame import InferenceFrame
from polar_llama.sqlfront.calls import Asks, parameters_in, prompt_of, read_call
from polar_llama.sqlfront.database import described
from polar_llama.sqlfront.dtypes import Types, kinds_of
from polar_llama.sqlfront.relation import Column, Relation, Stage
from polar_llama.sqlfront.syntax import named
from polar_llama.sqlfront.writing import nulls, spent, text, typed, with_cte

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from polar_llama.sqlfront.correlating import Domain
    from polar_llama.sqlfront.database import Database

PART = "polar_llama part "
TABLE = "polar_llama_table_"
_TABLES = re.compile(rf"\b{TABLE}\d+\b")
_TAKEN = re.compile(rf"{TABLE}(\d+)", re.IGNORECASE)
_OUTLINED = 24
"""Columns up to which describing a table in every query costs less than registering it once."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One of the `count` columns that a star stands for."""

    star: exp.Expr
    index: int
    count: int


class Planning:
    """The connection a query is planned on, its frames and parameters, and what has been learnt."""

    def __init__(
        self, database: Database, connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any], query: str
    ) -> None:
        """Plan a query on a connection, under names that are not in it."""
        self.database = database
        self.parameters = parameters
        self.types = Types(connection)
        self.settings = settings.current()
        self.parts: dict[str, Part] = {}
        self.tables: dict[str, Any] = {}
        self._unseen: dict[str, Any] = {}
        self._outlined: dict[str, list[tuple[str, str]]] = {}
        self._connection = connection
        self._numbers = count(max((int(n) + 1 for n in _TAKEN.findall(query)), default=0))
        self._calls: dict[tuple[object, ...], Asks] = {}
        self._described: dict[str, list[tuple[str, str]]] = {}

    def add_table(self, frame: Any, schema: pl.Schema | None = None) -> str:
        """Make a frame known, to DuckDB without its rows as far as planning goes; gives its name.

        Args:
            frame: The frame.
            schema: Its schema, if it is one of Polars.
        """
        name = f"{TABLE}{next(self._numbers)}"
        self.tables[name] = frame
        kinds = kinds_of(schema) if schema is not None else None
        if kinds and len(kinds) <= _OUTLINED:
            self._outlined[name] = kinds
        else:
            self._unseen[name] = frame if schema is None else schema
        return name

    def _add_stage(self, stage: Stage) -> str:
        """The same of a stage, whose columns are cast to their types wherever they are read."""
        columns = (*stage.columns, *stage.keys)
        name = self.add_table(stage, pl.Schema({c.sent: c.dtype for c in columns}))
        if len(columns) <= _OUTLINED and all(map(self.types.is_known, (c.kind for c in columns))):
            self._unseen.pop(name, None)
            self._outlined[name] = [(c.sent, c.kind) for c in columns]
        return name

    def forget(self) -> None:
        """Leave nothing behind on the user's connection; ours is closed."""
        if not self.database.owned:
            for name in self.tables.keys() - self._unseen.keys() - self._outlined.keys():
                self._connection.unregister(name)

    def columns_of(self, table: str) -> list[tuple[str, str]] | None:
        """Names and types of a frame's columns, where they are known without DuckDB."""
        return self._outlined.get(table)

    def describe(self, query: str) -> list[tuple[str, str]]:
        """Names and types of a query's columns, without running it."""
        if query not in self._described:
            whole = query
            for name in sorted(set(_TABLES.findall(query))):
                if name in self._outlined:
                    whole = with_cte(f"{name} AS ({nulls(self._outlined[name])})", whole)
                elif name in self._unseen:
                    self._connection.register(name, _as_arrow(self._unseen.pop(name)))
            self._described[query] = described(self._connection, whole, parameters_in(query, self.parameters))
        return self._described[query]

    def asks(self, node: exp.Expr) -> Asks:
        """What a call asks for, as do all with the same options."""
        prompt = prompt_of(node)
        given = [a for a in node.expressions if a is not prompt and a.args.get("expression") is not prompt]
        key = node.name.lower(), len(given) < len(node.expressions), *map(spent, given)
        if key not in self._calls:
            self._calls[key] = read_call(node, self._connection, self.types, self.parameters)
        return self._calls[key]

    def parts_of(self, star: exp.Expr, number: int) -> list[exp.Column]:
        """References to the columns that a star stands for."""
        found = []
        for i in range(number):
            name = f"{PART}{next(self._numbers)}"
            self.parts[name] = Part(star, i, number)
            found.append(exp.column(name, quoted=True))
        return found

    def name_of(self, item: exp.Expr) -> str:
        """How DuckDB names an expression, whatever its columns are."""
        query = text(exp.Literal.string(f"SELECT {text(item)}"))
        ((shown,),) = self._connection.execute(f"SELECT json_deserialize_sql(json_serialize_sql({query}))").fetchall()
        return str(shown).removeprefix("SELECT ")

    def frame(self, body: str, kinds: list[str], suffix: str = "") -> InferenceFrame:
        """A query without calls as a frame with columns `c0, c1, …`, read lazily."""
        columns = tuple(
            Column(f"c{i}", kind, self.types.dtype(kind), self.types.sent(f"c{i}", kind))
            for i, kind in enumerate(kinds)
        )
        tables = {n: self.tables[n] for n in _TABLES.findall(body) if n in self.tables}
        parameters = parameters_in(f"{body}{suffix}", self.parameters)
        relation = Relation(self.database, body, columns, suffix, tables, parameters)
        return InferenceFrame._of(relation.scan(self.settings))

    def stage_query(self, stage: Stage, names: list[str], domain: Domain | None = None) -> exp.Select:
        """A stage as a query that gives its columns their types and names; of a domain, the rows for one row around."""
        table = self._add_stage(stage)
        items = [named(self._restored(c), name) for c, name in zip(stage.columns, names, strict=True)]
        found = exp.Select(expressions=items).from_(exp.Table(this=exp.to_identifier(table)), copy=False)
        if domain is not None:
            matched = [
                exp.NullSafeEQ(this=self._restored(key), expression=reference.copy())
                for key, reference in zip(stage.keys, domain.references, strict=True)
            ]
            inner = exp.Select(expressions=[exp.Star()]).from_(exp.Table(this=exp.to_identifier(table))).where(*matched)
            found.set("from_", exp.From(this=inner.subquery("k")))
        else:
            self._described[text(found)] = [(n, c.kind) for n, c in zip(names, stage.columns, strict=True)]
        return found

    def _restored(self, column: Column) -> exp.Expr:
        """A column of a frame, of its own type again."""
        sent = exp.column(column.sent, quoted=True)
        return sent if self.types.returns_as(column.kind) else typed(sent, column.kind)


def _as_arrow(table: Any) -> Any:
    """A schema as a table without rows that DuckDB registers; under no name, where DuckDB could find it."""
    return table.to_frame().to_arrow() if isinstance(table, pl.Schema) else table
