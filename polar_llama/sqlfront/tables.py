"""Which frames the names in FROM stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.frame.inference_frame import InferenceFrame
from polar_llama.sqlfront.relation import Column, Stage
from polar_llama.sqlfront.walking import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from polar_llama.sqlfront.planning import Planning

    Frames = Callable[[str], Any]


def given(tables: Mapping[str, Any], *scopes: Mapping[str, Any]) -> Frames:
    """Finds frames by name: those given, in any case, then the caller's variables; None where there is none.

    Raises:
        PlanError: If something given is no frame.
    """
    for name, frame in tables.items():
        if not is_frame(frame):
            raise PlanError(
                f"the table {name!r} is a {type(frame).__name__}: give a Polars, pandas or Arrow table, "
                "or leave it out to use a table of the connection"
            )
    named = {k.lower(): v for k, v in tables.items()}

    def found(name: str) -> Any:
        if name.lower() in named:
            return named[name.lower()]
        return next((scope[name] for scope in scopes if is_frame(scope.get(name))), None)

    return found


def is_frame(value: Any) -> bool:
    """Whether DuckDB can read an object as a table."""
    if isinstance(value, pl.DataFrame | pl.LazyFrame):
        return True
    package = type(value).__module__.partition(".")[0]
    name = type(value).__name__
    return (package == "pandas" and name == "DataFrame") or (
        package == "pyarrow"
        and name
        in {"Table", "RecordBatch", "RecordBatchReader", "FileSystemDataset", "InMemoryDataset", "UnionDataset"}
    )


def connect_tables(planning: Planning, tree: exp.Expr, frames: Frames) -> None:
    """Lead the table names of a query to frames, in place; the other names are left to DuckDB."""
    known: dict[int, str] = {}
    for table in list(_free_tables(tree)):
        frame = frames(table.name)
        if frame is None:
            continue
        if id(frame) not in known:
            known[id(frame)] = _registered(planning, frame)
        alias = table.args.get("alias")
        name = table.this.copy()
        table.set("this", exp.to_identifier(known[id(frame)]))
        if alias is None:
            table.set("alias", exp.TableAlias(this=name))
        elif alias.this is None:
            alias.set("this", name)


def _registered(planning: Planning, frame: Any) -> str:
    if isinstance(frame, InferenceFrame):
        schema = frame.collect_schema()
        columns = tuple(Column(n, "", d, n) for n, d in schema.items())
        return planning.add_table(Stage(frame, columns), schema)
    if isinstance(frame, pl.LazyFrame):
        return planning.add_table(frame, frame.collect_schema())
    if isinstance(frame, pl.DataFrame):
        return planning.add_table(frame, frame.schema)
    return planning.add_table(frame)


def _free_tables(tree: exp.Expr) -> Iterator[exp.Table]:
    """The tables that are no CTEs where they stand."""
    tables = (n for n in walk(tree, nested=True) if isinstance(n, exp.Table))
    return (t for t in tables if isinstance(t.this, exp.Identifier) and not t.db and not _is_cte(t))


def _is_cte(table: exp.Table) -> bool:
    name, node = table.name.lower(), table.parent
    below: exp.Expr = table
    while node is not None:
        with_ = node.args.get("with_")
        if isinstance(node, exp.With):
            visible = node.expressions[: _place(node, below)]
            if node.args.get("recursive") and isinstance(below.this.unnest(), exp.SetOperation):
                visible = [*visible, below]
            if any(c.alias.lower() == name for c in visible):
                return True
        elif with_ is not None and with_ is not below and any(c.alias.lower() == name for c in with_.expressions):
            return True
        below, node = node, node.parent
    return False


def _place(with_: exp.With, below: exp.Expr) -> int:
    return next(i for i, c in enumerate(with_.expressions) if c is below)
