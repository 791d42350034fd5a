"""What a SELECT groups by, spelled out as DuckDB understands it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.aliases import position, substituted
from polar_llama.sqlfront.syntax import holds_aggregate, is_aggregate, keys_of, outermost, sources_of
from polar_llama.sqlfront.walking import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Test = Callable[[exp.Expr], bool]


_CLAUSES = ("group", "having", "qualify", "order")


def group(select: exp.Select, items: Sequence[exp.Expr], hidden: Mapping[str, exp.Expr], alone: Test) -> None:
    """Write the keys of a SELECT out, and what HAVING means, in place.

    Args:
        select: The SELECT.
        items: Its columns.
        hidden: The aliases that are also the name of a column of FROM, in lower case.
        alone: Whether DuckDB can describe an expression without a FROM.
    """
    clause, having = select.args.get("group"), select.args.get("having")
    if clause is None:
        _having(select, hidden)
        return
    whole = bool(clause.args.get("all"))
    if whole:
        keys = [i for i in items if not holds_aggregate(i)]
        aggregated = len(keys) < len(items) or having is not None
        clause.set("all", None)
        clause.set("expressions", [k.copy() for k in keys if not aggregated or not _is_same(k, alone)])
    _having(select, hidden)
    if whole and having is not None:  # GROUP BY ALL groups by what HAVING reads, too
        read = outermost(having.this, lambda n: is_aggregate(n) or isinstance(n, exp.Column))
        clause.set("expressions", [*clause.expressions, *(c.copy() for c in read if isinstance(c, exp.Column))])
    if whole and not clause.expressions:
        select.set("group", None)
        return
    found = [position(e, items) or e for e in clause.expressions]
    # A number that is a key would be taken for a position; a constant is as good as any other.
    clause.set("expressions", [exp.Literal.string(k.name) if isinstance(k, exp.Literal) else k for k in found])


def _is_same(key: exp.Expr, alone: Test) -> bool:
    """Whether an expression is the same for every row: GROUP BY ALL does not group by those."""
    found = list(walk(key))
    if any(isinstance(n, exp.Column | exp.PositionalColumn | exp.Star | exp.Columns) for n in found):
        return False
    return not any(isinstance(n, exp.Query) for n in found) or alone(key)


def _having(select: exp.Select, hidden: Mapping[str, exp.Expr]) -> None:
    """An alias that a column of FROM hides is meant in HAVING all the same, but for a key and inside an aggregate."""
    having, clause = select.args.get("having"), select.args.get("group")
    if having is None or not hidden:
        return
    keys = {k.name.lower() for k in keys_of(clause) if isinstance(k, exp.Column)} if clause is not None else set()
    meant = {k: v for k, v in hidden.items() if k not in keys}
    having.set("this", substituted(having.this, meant, but=is_aggregate))


def unify(select: exp.Select) -> None:
    """Write every column that a key of GROUP BY reads as it is written there: `t.G` is `g`. In place."""
    if select.args.get("group") is None:
        return
    joins = select.args.get("joins") or []
    tables = {s.alias_or_name.lower() for s in sources_of(select)}
    merged = {i.name.lower() for j in joins for i in j.args.get("using") or []}
    natural = any(j.method.upper() == "NATURAL" for j in joins)
    clauses = [*select.expressions, *(c for k in _CLAUSES if (c := select.args.get(k)))]
    columns = [n for c in clauses for n in walk(c) if isinstance(n, exp.Column) and _is_plain(n, tables)]
    grouped = {id(c) for c in walk(select.args["group"])}
    keys = {(c.name.lower(), c.table.lower()): c for c in columns if id(c) in grouped}
    for column in columns:
        name, table = column.name.lower(), column.table.lower()
        found = [k for (n, t), k in keys.items() if n == name and t == table]
        if not found and not natural and name not in merged:
            found = [k for (n, t), k in keys.items() if n == name and "" in {t, table}]
        if len(found) == 1 and found[0] is not column:
            column.replace(found[0].copy())


def _is_plain(column: exp.Column, tables: set[str]) -> bool:
    """Whether a column is one of a table, and no field of a struct."""
    plain = isinstance(column.this, exp.Identifier) and not column.args.get("db")
    return plain and (not column.table or column.table.lower() in tables)
