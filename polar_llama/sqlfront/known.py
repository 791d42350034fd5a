"""Types of columns that are known without asking DuckDB, which takes longer for that than all the rest of planning.

A column of a table that has been described keeps its type wherever it is joined to; a text put together of texts is
a text, and a condition is true or false. Whatever is not as plain as that is left to DuckDB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.syntax import given_in
from polar_llama.sqlfront.walking import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Columns = dict[str, str]
    ColumnsOf = Callable[[str], Sequence[tuple[str, str]] | None]

_CONDITIONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.And, exp.Or, exp.Not)
_TEXTS = (exp.Upper, exp.Lower, exp.Paren)
"""What makes a text of a text."""


def known_kinds(select: exp.Select, items: Sequence[exp.Expr | None], columns_of: ColumnsOf) -> list[str] | None:
    """DuckDB's types of expressions over the FROM of a SELECT that DuckDB can bind.

    Args:
        select: The SELECT.
        items: The expressions.
        columns_of: Names and types of a table's columns, by its name in lower case.

    Returns:
        The types; None where one of them is not plain to see.
    """
    sources = _sources(select, columns_of)
    kinds = [None if item is None else _kind(item, sources) for item in items] if sources else [None]
    found = [kind for kind in kinds if kind is not None]
    return found if len(found) == len(kinds) else None


def known_columns(query: exp.Expr, columns_of: ColumnsOf) -> list[tuple[str, str]] | None:
    """Names and types of the columns of a query without calls that DuckDB can bind; None where they are not plain."""
    if not isinstance(query, exp.Select) or query.args.get("with_") is not None:
        return None
    named = all(isinstance(i, exp.Alias | exp.Column) for i in query.expressions)
    items = [i.this if isinstance(i, exp.Alias) else i for i in query.expressions]
    kinds = known_kinds(query, items, columns_of) if named else None
    return None if kinds is None else [(i.alias_or_name, k) for i, k in zip(query.expressions, kinds, strict=True)]


def known_names(select: exp.Select, columns_of: ColumnsOf) -> set[str] | None:
    """The columns of the tables in a FROM, in lower case; None where they are not plain."""
    sources = _sources(select, columns_of)
    return None if sources is None else {name for columns in sources.values() for name in columns}


def is_closed(query: exp.Expr, columns_of: ColumnsOf) -> bool:
    """Whether a query in FROM reads nothing of the tables beside it, as far as that is plain to see."""
    sources = _sources(query, columns_of) if isinstance(query, exp.Select) else None
    if sources is None:
        return False
    names = {name for columns in sources.values() for name in columns}
    columns = [n for n in walk(query, nested=True) if isinstance(n, exp.Column)]
    return all(c.table.lower() in sources if c.table else c.name.lower() in names for c in columns)


def _sources(select: exp.Select, columns_of: ColumnsOf) -> dict[str, Columns] | None:
    """The tables of a FROM by their aliases, with their columns, all in lower case."""
    from_, joins = select.args.get("from_"), select.args.get("joins") or []
    if from_ is None or select.args.get("laterals") or any(j.method or j.args.get("using") for j in joins):
        return None
    found: dict[str, Columns] = {}
    for source in (from_.this, *(j.this for j in joins)):
        columns, alias = _columns(source, columns_of), source.alias_or_name.lower()
        if columns is None or not alias or alias in found:
            return None
        found[alias] = columns
    return found


def _columns(source: exp.Expr, columns_of: ColumnsOf) -> Columns | None:
    alias = source.args.get("alias")
    if given_in(source) - {"this", "alias"} or (alias is not None and alias.args.get("columns")):
        return None
    if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
        listed = columns_of(source.name.lower())
    elif isinstance(source, exp.Subquery):
        listed = known_columns(source.this, columns_of)
    else:
        return None
    columns = {name.lower(): kind for name, kind in listed or ()}
    return columns if listed and len(columns) == len(listed) else None


def _kind(node: exp.Expr, sources: dict[str, Columns]) -> str | None:
    if isinstance(node, _CONDITIONS):
        return "BOOLEAN"
    if isinstance(node, exp.Literal):
        return "VARCHAR" if node.is_string else None
    if isinstance(node, exp.Cast) and node.to.this is exp.DType.USERDEFINED:
        return str(node.to.args["kind"])  # as DuckDB names it, see `writing.typed`
    if isinstance(node, exp.Column):
        if not isinstance(node.this, exp.Identifier) or node.args.get("db"):
            return None
        name, table = node.name.lower(), node.table.lower()
        found = [c[name] for t, c in sources.items() if name in c and table in {"", t}]
        return found[0] if len(found) == 1 else None
    texts = (node.this, node.expression) if isinstance(node, exp.DPipe) else (node.this,)
    whole = isinstance(node, (exp.DPipe, *_TEXTS)) and not given_in(node) - {"this", "expression", "safe"}
    return "VARCHAR" if whole and all(_kind(t, sources) == "VARCHAR" for t in texts) else None
