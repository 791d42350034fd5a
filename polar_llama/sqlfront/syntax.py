"""What a piece of SQL is made of, read from its tree."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call, is_call
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import is_branch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_AGGREGATE_WRAPPERS = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)

_TOTAL = (
    *(exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Placeholder, exp.DataType),
    *(exp.DPipe, exp.Concat, exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Is),
)
"""Nodes that give a value for every row: computing them for more rows than asked cannot raise.

A comparison is none: DuckDB casts `text = 1` to a number.
"""

_VOLATILE = frozenset(
    {"random", "rand", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "setseed", "getvariable"}
)

_RANDOM = (exp.Rand, exp.Uuid, exp.TableSample)
_READS = (exp.Column, exp.PositionalColumn, exp.Query, exp.Window, exp.Star, exp.Columns, exp.Unnest, exp.Explode)
_UNITS = (
    exp.Column,
    exp.PositionalColumn,
    exp.Subquery,
    exp.Exists,
    exp.Window,
    exp.Unnest,
    exp.Explode,
    exp.Columns,
    exp.Any,
    exp.All,
)
NOW = frozenset({"now", "get_current_timestamp", "transaction_timestamp", "today", "get_current_time"})


@cache
def _aggregates() -> frozenset[str]:
    with duckdb.connect(":memory:") as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
        ).fetchall()
    return frozenset(name for (name,) in rows)


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a node is an aggregate with all that belongs to it (`FILTER`, `WITHIN GROUP`)."""
    inner = node
    while isinstance(inner, _AGGREGATE_WRAPPERS):
        inner = inner.this
    if is_windowed(node):
        return False
    if isinstance(inner, exp.AggFunc | exp.Grouping):
        return True
    return isinstance(inner, exp.Anonymous) and not is_call(inner) and inner.name.lower() in _aggregates()


def is_windowed(node: exp.Expr) -> bool:
    """Whether a node is the function of a window (`count(*)` of `count(*) FILTER (…) OVER (…)`)."""
    while isinstance(node.parent, _AGGREGATE_WRAPPERS) and node.parent.this is node:
        node = node.parent
    return isinstance(node.parent, exp.Window) and node.parent.this is node


def outermost(node: exp.Expr, wanted: object) -> Iterator[exp.Expr]:
    """The nodes for which `wanted` holds, not those below one; nothing of queries inside."""
    assert callable(wanted)  # noqa: S101
    todo = [node]
    while todo:
        found = todo.pop()
        if wanted(found):
            yield found
        elif not isinstance(found, exp.Query) or found is node:
            todo += reversed(list(found.iter_expressions()))


def holds_aggregate(node: exp.Expr | None) -> bool:
    """Whether an aggregate is computed by an expression."""
    return node is not None and next(outermost(node, is_aggregate), None) is not None


def holds_window(node: exp.Expr | None) -> bool:
    """Whether a window function is computed by an expression."""
    return node is not None and any(isinstance(n, exp.Window) for n in walk(node))


def is_multiple(node: exp.Expr) -> bool:
    """Whether a select item may stand for several columns: a star, `COLUMNS(...)`, a struct unnested."""
    return holds_star(node) or any(
        isinstance(n, exp.Explode | exp.Unnest) or (isinstance(n, exp.Anonymous) and n.name.lower() == "unnest")
        for n in walk(node)
    )


def holds_star(node: exp.Expr) -> bool:
    """Whether a select item is written over a star or `COLUMNS(...)`."""
    for found in walk(node):
        if isinstance(found, exp.Columns):
            return True
        if isinstance(found, exp.Anonymous) and found.name.lower() in {"columns", "unpack"}:
            return True
        if isinstance(found, exp.Star) and not isinstance(found.find_ancestor(exp.Count, exp.Query), exp.Count):
            return True
    return False


def given_in(node: exp.Expr) -> set[str]:
    """Which arguments of a node, its clauses, are there."""
    return {key for key, value in node.args.items() if value}


def conjuncts(condition: exp.Expr | None) -> list[exp.Expr]:
    """The operands of a chain of ANDs."""
    return operands(condition, exp.And) if condition is not None else []


def operands(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    """The operands of a chain of ANDs or of ORs, in order."""
    found: list[exp.Expr] = []
    todo = [node]
    while todo:
        part = todo.pop()
        inner = part
        while isinstance(inner, exp.Paren):
            inner = inner.this
        if isinstance(inner, kind):
            todo += [inner.expression, inner.this]
        else:
            found.append(part)
    return found


def keys_of(group: exp.Expr) -> list[exp.Expr]:
    """The expressions a query groups by, those of grouping sets included."""
    found: list[exp.Expr] = []
    todo = [*group.expressions, *(s for k in ("grouping_sets", "cube", "rollup") for s in group.args.get(k) or [])]
    while todo:
        node = todo.pop(0)
        if isinstance(node, exp.GroupingSets | exp.Cube | exp.Rollup | exp.Tuple):
            todo[:0] = node.expressions
        elif isinstance(node, exp.Paren):
            todo.insert(0, node.this)
        else:
            found.append(node)
    return found


def all_of(conditions: list[exp.Expr]) -> exp.Expr | None:
    """One condition that is true where all are."""
    copies = [exp.Paren(this=c.copy()) if isinstance(c, exp.Or) else c.copy() for c in conditions]
    return exp.and_(*copies, copy=False, wrap=False) if copies else None


def is_total(node: exp.Expr) -> bool:
    """Whether computing an expression for rows that are dropped later cannot raise an error."""
    return all(
        found.to.is_type("text", "varchar") if isinstance(found, exp.Cast) else isinstance(found, _TOTAL)
        for found in walk(node, nested=True)
    )


def is_volatile(node: exp.Expr) -> bool:
    """Whether an expression may give another value each time it is evaluated."""
    return any(is_random(n) for n in walk(node, nested=True))


def is_random(node: exp.Expr) -> bool:
    """Whether a node by itself gives another value each time."""
    return isinstance(node, _RANDOM) or (isinstance(node, exp.Anonymous) and node.name.lower() in _VOLATILE)


def is_constant(node: exp.Expr) -> bool:
    """Whether an expression reads no row."""
    return not any(isinstance(n, _READS) or is_call(n) or is_random(n) for n in walk(node, nested=True))


def is_unit(node: exp.Expr) -> bool:
    """Whether a call-free node must be computed as a whole where it was written: a column, a query, a lambda."""
    if isinstance(node, _UNITS) or (isinstance(node, exp.In) and node.args.get("query") is not None):
        return True
    if isinstance(node, exp.Func) and is_volatile(node):
        return True
    binds = any(isinstance(c, exp.Lambda | exp.Comprehension) for c in node.iter_expressions())
    return binds and not holds_call(node)


def is_value(node: exp.Expr) -> bool:
    """Whether a node is an expression with a value, and not a part of one (a branch, a type, a key)."""
    if is_branch(node):
        return False
    if isinstance(node, exp.Slice | exp.PropertyEQ | exp.Kwarg | exp.Star | exp.Distinct | exp.Ordered | exp.Tuple):
        return False
    return isinstance(node, exp.Condition | exp.PositionalColumn | exp.Subquery | exp.Func)


def copied(select: exp.Select, clauses: Iterable[str]) -> exp.Select:
    """A SELECT with some clauses of another one."""

    def copy(value: object) -> object:
        if isinstance(value, list):
            return [copy(v) for v in value]
        return value.copy() if isinstance(value, exp.Expr) else value

    return exp.Select(**{k: copy(select.args[k]) for k in clauses if select.args.get(k) is not None})


def sources_of(select: exp.Select) -> list[exp.Expr]:
    """The tables that a SELECT joins."""
    from_ = select.args.get("from_")
    return [s.this for s in ([from_] if from_ is not None else []) + (select.args.get("joins") or [])]


def source_of(select: exp.Select) -> exp.Select:
    """The FROM of a SELECT, with nothing selected."""
    return copied(select, ("from_", "joins", "laterals"))


def closed(node: exp.Expr) -> exp.Expr:
    """An expression that can stand in another one; sqlglot counts AND among functions."""
    is_closed = isinstance(node, exp.Column | exp.Literal | exp.Func | exp.Paren) and not isinstance(node, exp.Binary)
    return node if is_closed else exp.Paren(this=node)


def named(node: exp.Expr, name: str) -> exp.Alias:
    """An expression under a name; `exp.alias_` would copy it, and give a subquery the name of a table."""
    return exp.Alias(this=node, alias=exp.to_identifier(name, quoted=True))


def fresh_column(name: str, table: str | None = None) -> exp.Column:
    """A reference to a column of ours."""
    of = exp.Identifier(this=table, quoted=False) if table is not None else None
    return exp.Column(this=exp.Identifier(this=name, quoted=False), table=of)
