"""SQL expressions that Polars evaluates just as DuckDB does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import polars as pl
from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT"})

_COMPARE: dict[type[exp.Expr], Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
}


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """A Polars expression and DuckDB's type of what it stands for."""

    expr: pl.Expr
    kind: str


def native(node: exp.Expr, known: Mapping[str, Typed]) -> Typed | None:  # noqa: PLR0911, C901, PLR0912 -- one line a form
    """An expression in Polars, or None where only DuckDB knows what it means.

    Args:
        node: An expression over columns of ours.
        known: Those columns.
    """
    match node:
        case exp.Column():
            return known[node.name]
        case exp.Paren():
            return native(node.this, known)
        case exp.Literal() if node.is_string:
            return Typed(pl.lit(node.name), "VARCHAR")
        case exp.Literal() if node.is_int and abs(int(node.name)) < 2**31:
            return Typed(pl.lit(int(node.name), dtype=pl.Int32), "INTEGER")
        case exp.Boolean():
            return Typed(pl.lit(bool(node.this)), "BOOLEAN")
        case exp.Not():
            return _boolean(node.this, known, lambda a: ~a)
        case exp.And():
            return _logical(node, known, lambda a, b: a & b)
        case exp.Or():
            return _logical(node, known, lambda a, b: a | b)
        case exp.Is() if isinstance(node.expression, exp.Null):
            inner = native(node.this, known)
            return None if inner is None else Typed(inner.expr.is_null(), "BOOLEAN")
        case exp.EQ() | exp.NEQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE():
            return _compared(node, known)
        case exp.In() if node.args.get("query") is None and node.expressions:
            return _listed(node, known)
        case exp.DPipe():
            sides = native(node.this, known), native(node.expression, known)
            if all(s is not None and s.kind == "VARCHAR" for s in sides):
                return Typed(sides[0].expr + sides[1].expr, "VARCHAR")  # type: ignore[union-attr]
            return None
        case exp.Case() if node.this is None:
            return _case(node, known)
        case exp.Coalesce():
            return _coalesced(node, known)
        case _:
            return None


def _boolean(node: exp.Expr, known: Mapping[str, Typed], make: Callable[[pl.Expr], pl.Expr]) -> Typed | None:
    inner = native(node, known)
    return Typed(make(inner.expr), "BOOLEAN") if inner is not None and inner.kind == "BOOLEAN" else None


def _logical(node: exp.Expr, known: Mapping[str, Typed], make: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Typed | None:
    left, right = native(node.this, known), native(node.expression, known)
    if left is None or right is None or {left.kind, right.kind} != {"BOOLEAN"}:
        return None
    return Typed(make(left.expr, right.expr), "BOOLEAN")


def _compared(node: exp.Expr, known: Mapping[str, Typed]) -> Typed | None:
    left, right = native(node.this, known), native(node.expression, known)
    if left is None or right is None:
        return None
    pair = _comparable(left, right, equality=isinstance(node, exp.EQ | exp.NEQ))
    return None if pair is None else Typed(_COMPARE[type(node)](*pair), "BOOLEAN")


def _comparable(left: Typed, right: Typed, *, equality: bool) -> tuple[pl.Expr, pl.Expr] | None:
    """Both sides, where Polars compares them as DuckDB does."""
    kinds = {left.kind, right.kind}
    if kinds in ({"VARCHAR"}, {"BOOLEAN"}, {"DOUBLE"}, {"DATE"}, {"TIMESTAMP"}) or kinds <= _INTEGERS:
        return left.expr, right.expr
    if equality and "VARCHAR" in kinds and any(k.startswith("ENUM(") for k in kinds):
        return left.expr.cast(pl.String), right.expr.cast(pl.String)
    return None


def _listed(node: exp.Expr, known: Mapping[str, Typed]) -> Typed | None:
    subject = native(node.this, known)
    if subject is None or not all(isinstance(e, exp.Literal) for e in node.expressions):
        return None
    found = []
    for item in node.expressions:
        value = native(item, known)
        pair = None if value is None else _comparable(subject, value, equality=True)
        if pair is None:
            return None
        found.append(pair[0] == pair[1])
    return Typed(reduce(lambda a, b: a | b, found), "BOOLEAN")


def _case(node: exp.Expr, known: Mapping[str, Typed]) -> Typed | None:
    conditions = [native(b.this, known) for b in node.args["ifs"]]
    default = node.args.get("default")
    nodes = [*(b.args["true"] for b in node.args["ifs"]), *([] if default is None else [default])]
    nulls = [isinstance(n, exp.Null) for n in nodes]
    values = [Typed(pl.lit(None), "") if null else native(n, known) for n, null in zip(nodes, nulls, strict=True)]
    kinds = {v.kind for v in values if v is not None} - {""}
    if None in conditions or None in values or len(kinds) != 1 or any(c.kind != "BOOLEAN" for c in conditions if c):
        return None
    chain: pl.Expr = values[len(conditions)].expr if default is not None else pl.lit(None)  # type: ignore[union-attr]
    for condition, value in list(zip(conditions, values, strict=False))[::-1]:
        chain = pl.when(condition.expr).then(value.expr).otherwise(chain)  # type: ignore[union-attr]
    return Typed(chain, kinds.pop())


def _coalesced(node: exp.Expr, known: Mapping[str, Typed]) -> Typed | None:
    values = [native(n, known) for n in (node.this, *node.expressions)]
    kinds = {v.kind if v is not None else None for v in values}
    if len(kinds) != 1 or None in kinds:
        return None
    return Typed(pl.coalesce([v.expr for v in values if v is not None]), values[0].kind)  # type: ignore[union-attr]
