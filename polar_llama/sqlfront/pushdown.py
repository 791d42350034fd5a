"""What DuckDB runs for a piece of a query, and what it reads for that, for a person."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from polar_llama.frame.leaf import Leaf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from polar_llama.sqlfront.relation import Relation

WIDTH = 110
"""Characters in a line of SQL."""


def told(relation: Relation, leaves: Mapping[str, Leaf]) -> str:
    """The SQL of a piece, and a line for each table that it reads: the columns and the conditions pushed into that.

    DuckDB plans the piece, as its EXPLAIN does; nothing is run.

    Args:
        relation: The piece.
        leaves: What answers the frames with calls among its tables.
    """
    lines = textwrap.wrap(" ".join(f"{relation.body}{relation.suffix}".split()), WIDTH, break_long_words=False)
    owned = relation.database.owned
    tables = {name: _unread(leaves.get(name, table), owned=owned) for name, table in relation.tables.items()}
    with relation.database.opened(tables) as connection:
        try:
            query = f"EXPLAIN (FORMAT json) {relation.sql()}"
            rows = connection.execute(query, dict(relation.parameters) or None).fetchall()
        except duckdb.Error:  # a file that has gone: running the query will say so
            return "\n".join(lines)
    return "\n".join([*lines, *(line for node in json.loads(rows[0][1]) for line in _reads(node))])


def _unread(table: Any, *, owned: bool) -> Any:
    """A table that can be looked at without running anything; it takes what is pushed into it as the real one does."""
    if not isinstance(table, pl.LazyFrame | Leaf):
        return table
    empty = (table.schema() if isinstance(table, Leaf) else table.collect_schema()).to_frame()
    return empty.lazy() if owned else empty


def _reads(node: Mapping[str, Any]) -> Iterator[str]:
    for child in node["children"]:
        yield from _reads(child)
    info = node["extra_info"]
    if node["children"] or not info.keys() & {"Table", "Function"}:
        return
    name = info.get("Table") or ("a frame" if info["Function"].startswith("PYTHON") else info["Function"])
    columns = ", ".join(_listed(info.get("Projections"))) or "no column"
    conditions = " AND ".join(_listed(info.get("Filters")))
    yield f"reads {columns} of {name}{f' where {conditions}' if conditions else ''}"


def _listed(found: Any) -> list[str]:
    return found if isinstance(found, list) else [found] if found else []
