"""The oracle: plain DuckDB with the calls as Python functions over the same pure answers."""

from __future__ import annotations

import json
import re
import threading
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import parse_one

from polar_llama.providers.base import Request, Response
from polar_llama.sqlfront import sql
from polar_llama.sqlfront.naming import different

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

MODEL = "oracle:m"


def digest(prompt: str) -> int:
    return blake2b(prompt.encode(), digest_size=4).digest()[0]


def answer_text(prompt: str) -> str:
    return f"{prompt[-12:]}~{digest(prompt) % 5}"


def answer_bool(prompt: str) -> bool:
    return digest(prompt) % 2 == 0


def answer_int(prompt: str) -> int:
    return digest(prompt) % 7


def answer_class(prompt: str, labels: list[str]) -> str:
    return labels[digest(prompt) % len(labels)]


class Oracle:
    """A provider whose answers are pure functions of the prompt, and which remembers what it was asked."""

    identity = "oracle"
    host = "oracle"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._lock = threading.Lock()

    async def complete(self, request: Request) -> Response:
        with self._lock:
            self.asked.append(request.prompt)
        return Response(said(request))

    async def aclose(self) -> None:
        pass


ORACLE = Oracle()
"""The only one: a provider lives as long as the process."""


def said(request: Request) -> str:
    if request.ask.schema is None:
        return answer_text(request.prompt)
    return json.dumps(value_for(json.loads(request.ask.schema), request.prompt))


def value_for(schema: Mapping[str, Any], prompt: str) -> Any:
    if "enum" in schema:
        return answer_class(prompt, schema["enum"])
    match schema.get("type"):
        case "object":
            return {name: value_for(part, prompt) for name, part in schema["properties"].items()}
        case "boolean":
            return answer_bool(prompt)
        case "integer":
            return answer_int(prompt)
        case "string":
            return answer_text(prompt)
        case _:
            raise AssertionError(schema)


def oracle_connection() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:")

    def nullable(function: Any) -> Any:
        return lambda prompt: None if prompt is None else function(prompt)

    def classed(prompt: Any, labels: Any) -> Any:
        return None if prompt is None else answer_class(prompt, list(labels))

    special: Any = {"null_handling": "special"}
    con.create_function("llm", nullable(answer_text), ["VARCHAR"], "VARCHAR", **special)
    con.create_function("llm_int", nullable(answer_int), ["VARCHAR"], "BIGINT", **special)
    con.create_function("llm_bool", nullable(answer_bool), ["VARCHAR"], "BOOLEAN", **special)
    con.create_function("llm_class", classed, ["VARCHAR", "VARCHAR[]"], "VARCHAR", **special)
    return con


_TYPED_NAME = re.compile(r"llm_int\(((?:[^()]|\([^()]*\))*?)\)")
_TYPED = re.compile(r"llm\(((?:[^()]|\([^()]*\))*?), returns := 'BIGINT'\)", re.IGNORECASE)


def typed(query: str) -> str:
    """A query whose typed calls are functions of plain DuckDB."""
    return _TYPED.sub(r"llm_int(\1)", query)


def expected(
    con: duckdb.DuckDBPyConnection, query: str, parameters: Any = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names and rows that plain DuckDB gives."""
    done = con.execute(typed(query), parameters)
    return [d[0] for d in done.description], done.fetchall()


def plain(value: Any) -> Any:
    """A value that can be compared and sorted."""
    if isinstance(value, dict):
        return tuple(sorted((k, plain(v)) for k, v in value.items()))
    if isinstance(value, list):
        return tuple(map(plain, value))
    return f"{value:.9g}" if isinstance(value, float) else value


def rows_of(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(map(plain, row)) for row in frame.rows()]


def in_any_order(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


class Bench:
    """Runs a query in both and compares."""

    def __init__(self, tables: Mapping[str, pl.DataFrame]) -> None:
        self.oracle = ORACLE
        self.tables = dict(tables)
        self.con = oracle_connection()
        for name, frame in tables.items():
            self.con.register(f"{name}_source", frame)
            self.con.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_source")

    def ours(self, query: str, **options: Any) -> pl.DataFrame:
        self.oracle.asked.clear()
        given: dict[str, Any] = {**options, **self.tables}
        frame = sql(query, **given)
        schema = frame.collect_schema()
        assert self.oracle.asked == [], "something was asked before collect()"
        done = frame.collect()
        assert done.schema == schema
        return done

    def same(self, query: str, parameters: Any = None, *, ordered: bool | None = None) -> list[str]:
        """Assert that a query gives DuckDB's rows and names; gives what was asked."""
        names, rows = expected(self.con, query, parameters)
        frame = self.ours(query, parameters=parameters or ())
        asked = sorted(self.oracle.asked)
        found, wanted = rows_of(frame), [tuple(map(plain, row)) for row in rows]
        if not (ordered if ordered is not None else parse_one(query, read="duckdb").args.get("order")):
            found, wanted = in_any_order(found), in_any_order(wanted)
        assert found == wanted
        assert [c.replace('"returns"', "returns") for c in frame.columns] == different(
            [_TYPED_NAME.sub(r"llm(\1, returns := 'BIGINT')", n) for n in names]
        )
        return asked
