"""What DuckDB calls the columns of a result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call
from polar_llama.sqlfront.resolving import stubbed
from polar_llama.sqlfront.syntax import holds_star, is_multiple, named
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import spent, text

if TYPE_CHECKING:
    import duckdb

    from polar_llama.sqlfront.planning import Planning

_NOTHING = {"type": "EMPTY", "alias": "", "sample": None, "query_location": 2**64 - 1}


def result_names(planning: Planning, tree: exp.Query, query: str, connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The names of a query's columns, different from each other.

    DuckDB names an expression by its text, so every expression without an alias is given that text as one.
    Then DuckDB describes the query with nulls of the answers' types for the calls.

    Raises:
        duckdb.Error: What DuckDB says of the query.
    """
    first = _first_select(tree)
    texts: list[str] = []
    if first is not None and any(_unnamed(i) or _is_unnested(i) for i in first.expressions):
        texts = _texts(connection, query, first)
        for item, name in zip(list(first.expressions), texts, strict=True):
            if _unnamed(item):
                item.replace(named(item.copy(), name))
    for select in [n for n in walk(tree, nested=True) if isinstance(n, exp.Select)]:
        for item in [i for i in select.expressions if _unnamed(i)]:
            item.replace(named(item.copy(), planning.name_of(item)))
    found = [name for name, _ in planning.describe(spent(stubbed(tree, planning)))]
    if first is not None and len(found) == len(texts):  # and no struct is unnested to several columns
        for i, item in enumerate(first.expressions):
            if _is_unnested(item) and found[i].startswith("unnest("):
                found[i] = texts[i]
    return different(found)


def _unnamed(item: exp.Expr) -> bool:
    if isinstance(item, exp.Dot) and not holds_call(item):
        return False  # DuckDB may take it for a column of a table
    if isinstance(item, exp.Alias | exp.Column | exp.PositionalColumn | exp.Star) or holds_star(item):
        return False
    return not is_multiple(item) or (holds_call(item) and not _is_unnested(item))


def _is_unnested(item: exp.Expr) -> bool:
    """Whether an item is `unnest(…)` of answers: a list's column is named by its text, a struct's by its fields."""
    return isinstance(item, exp.Explode | exp.Unnest) and holds_call(item)


def _first_select(tree: exp.Expr) -> exp.Select | None:
    """The SELECT whose names a query has."""
    while isinstance(tree, exp.SetOperation | exp.Subquery):
        tree = tree.this
    return tree if isinstance(tree, exp.Select) else None


def _texts(connection: duckdb.DuckDBPyConnection, query: str, select: exp.Select) -> list[str]:
    """DuckDB's texts of the items of the first SELECT, read from the query as it was written."""
    ((found,),) = connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [query]).fetchall()
    parsed = json.loads(found)
    node: Any = parsed["statements"][0]["node"] if not parsed["error"] else {}
    while node.get("type") == "SET_OPERATION_NODE":
        node = node.get("left") or node["children"][0]
    items = node.get("select_list", [])
    if len(items) != len(select.expressions):
        return [text(i) for i in select.expressions]
    texts = []
    for item, tree in zip(items, select.expressions, strict=True):
        if not (_unnamed(tree) or _is_unnested(tree)):
            texts.append("")
            continue
        alone = {**node, "modifiers": [], "cte_map": {"map": []}, "select_list": [item], "from_table": _NOTHING}
        alone |= {"where_clause": None, "group_expressions": [], "group_sets": [], "having": None, "qualify": None}
        alone |= {"aggregate_handling": "STANDARD_HANDLING", "sample": None}
        statement = json.dumps({**parsed, "statements": [{**parsed["statements"][0], "node": alone}]})
        ((shown,),) = connection.execute("SELECT json_deserialize_sql($1::JSON)", [statement]).fetchall()
        texts.append(shown.removeprefix("SELECT "))
    return texts


def different(names: list[str]) -> list[str]:
    """Names made different as DuckDB does for a frame: `q, q` are `q, q_1`."""
    taken: set[str] = set()
    found = []
    for name in names:
        new, number = name, 0
        while new in taken:
            number += 1
            new = f"{name}_{number}"
        taken.add(new)
        found.append(new)
    return found
