"""`sql(...)`: a SQL query whose `llm(...)` calls are planned with the rest of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.sqlfront.calls import holds_call
from polar_llama.sqlfront.cutting import Cutter
from polar_llama.sqlfront.database import Database, without_excerpt
from polar_llama.sqlfront.naming import result_names
from polar_llama.sqlfront.parsing import parsed
from polar_llama.sqlfront.planning import Planning
from polar_llama.sqlfront.relation import Stage
from polar_llama.sqlfront.syntax import NOW
from polar_llama.sqlfront.tables import connect_tables, given
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.sqlfront.tables import Frames


def sql(
    query: str,
    /,
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
    parameters: Mapping[str, Any] | Sequence[Any] = (),
    external_access: bool = True,
    **tables: Any,
) -> pl.LazyFrame:
    """Run a DuckDB query that may ask a model: `SELECT llm(question) FROM t`.

    Nothing is asked, and no data is read, before the frame is collected. Only rows that matter are asked,
    equal prompts once; answers are shared with the frame form by the cache.

    Args:
        query: One SELECT of DuckDB's dialect. Beside DuckDB's functions there are, in any case,
            `llm(prompt, returns := 'INTEGER', model := '…', system := '…', …)`, `llm_bool(prompt, …)` and
            `llm_class(prompt, ['a', 'b'], …)`.
        connection: A DuckDB connection whose tables, views and macros the query may use; it is used under
            a lock, and nothing is left behind on it.
        parameters: Values for `$name`, or for `?` and `$1` in order.
        external_access: False forbids files, URLs and extensions.
        **tables: Frames by name: Polars, pandas or Arrow. Other names are variables of the caller, then tables
            of the connection, then files.

    Returns:
        A lazy frame with DuckDB's column names.

    Raises:
        PlanError: If a call stands where it cannot be planned; the message names a way around.
        duckdb.Error: What DuckDB says of the query.
    """
    caller = sys._getframe(1)
    return planned(
        query, connection, parameters, given(tables, caller.f_locals, caller.f_globals), external_access=external_access
    )


def planned(
    query: str,
    connection: duckdb.DuckDBPyConnection | None,
    parameters: Mapping[str, Any] | Sequence[Any],
    frames: Frames,
    *,
    external_access: bool,
) -> pl.LazyFrame:
    """Plan a query over frames by name."""
    tree, named = parsed(query)
    values = dict(parameters) if isinstance(parameters, Mapping) else {str(n): v for n, v in enumerate(parameters, 1)}
    if values:
        _check_used(values, tree)
    database = Database(connection, external_access=external_access)
    with database.opened({}) as opened:
        planning = Planning(database, opened, values, query)
        try:
            opened.extract_statements(named)  # sqlglot reads more than DuckDB does
            connect_tables(planning, tree, frames)
            names = result_names(planning, tree, named, opened)
            return _frame(planning, pinned(tree, opened), names)
        except duckdb.Error as error:
            raise without_excerpt(error) from None
        finally:
            planning.forget()


def _check_used(parameters: Mapping[str, Any], tree: exp.Expr) -> None:
    unused = sorted(parameters.keys() - {str(p.this) for p in tree.find_all(exp.Placeholder)})
    if unused:
        raise PlanError(f"the query has no parameter ${', $'.join(unused)}; it was given {len(parameters)} values")


def _frame(planning: Planning, tree: exp.Query, names: list[str]) -> pl.LazyFrame:
    if holds_call(tree):
        found = Cutter(planning).cut(tree)
        if isinstance(found, Stage):
            columns = [pl.col(c.sent).alias(n) for c, n in zip(found.columns, names, strict=True)]
            return found.frame.select(columns)
        tree = found
    whole = text(tree)
    kinds = [kind for _, kind in planning.describe(whole)]
    frame = planning.frame(whole, kinds)
    return frame.select([pl.col(f"c{i}").alias(n) for i, n in enumerate(names)])


def pinned(tree: exp.Query, connection: duckdb.DuckDBPyConnection) -> exp.Query:
    """A query that is cut in several has one time all the same: that of `sql()`."""
    if not holds_call(tree):
        return tree
    clocks = [
        n
        for n in walk(tree, nested=True)
        if isinstance(n, _CLOCKS) or (isinstance(n, exp.Anonymous) and n.name.lower() in NOW)
    ]
    if clocks:
        listed = ", ".join(f"CAST({text(c)} AS VARCHAR), typeof({text(c)})" for c in clocks)
        (values,) = connection.execute(f"SELECT {listed}").fetchall()
        for clock, value, kind in zip(clocks, values[::2], values[1::2], strict=True):
            clock.replace(exp.cast(exp.Literal.string(value), exp.DataType.build(kind, dialect="duckdb")))
    return tree


_CLOCKS = (exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.Localtime, exp.Localtimestamp)
