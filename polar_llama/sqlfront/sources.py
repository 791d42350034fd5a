"""Calls in FROM: in derived tables, in the conditions of joins, in VALUES."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.sqlfront.calls import holds_call
from polar_llama.sqlfront.syntax import all_of, conjuncts, source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Describe = Callable[[exp.Query], list[tuple[str, str]]]
    Nested = Callable[[exp.Query], exp.Query]
    Correlated = Callable[[exp.Select, exp.Select, exp.Expr], None]


def cut_sources(select: exp.Select, nested: Nested) -> None:
    """Take the calls out of a SELECT's derived tables, in place.

    Args:
        select: The SELECT.
        nested: Takes the calls out of a query.

    Raises:
        PlanError: If a call stands where it cannot be planned.
    """
    from_ = select.args.get("from_")
    for source in [*([from_] if from_ is not None else []), *(select.args.get("joins") or [])]:
        _source(source.this, nested)


def _source(node: exp.Expr, nested: Nested) -> None:
    if not holds_call(node):
        return
    for join in node.args.get("joins") or []:
        if holds_call(join.args.get("on")):
            raise PlanError(
                "a call in the ON of a join in parentheses cannot be planned. Hint: leave out the parentheses, "
                "or ask in a CTE first and join on its column"
            )
        _source(join.this, nested)
    if isinstance(node, exp.Subquery):
        if isinstance(node.unnest(), exp.Table):
            _source(node.this, nested)
        elif holds_call(node.this):
            node.set("this", nested(node.this))
    elif isinstance(node, exp.Values):
        node.replace(exp.Subquery(this=nested(_as_union(node)), alias=node.args.get("alias")))
    elif holds_call(node.this) and not _is_lateral(node):  # which may read the row around it, see `cut_laterals`
        raise PlanError(
            f"a call inside {node.key.upper()} in FROM cannot be planned. Hint: ask in a CTE first and use its column"
        )


def _as_union(node: exp.Values) -> exp.Query:
    """`VALUES` as a UNION ALL of SELECTs, one a row."""
    rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
    found: exp.Query | None = None
    for row in rows:
        select = exp.Select(expressions=[exp.alias_(e.copy(), f"col{i}") for i, e in enumerate(row)])
        found = select if found is None else exp.union(found, select, distinct=False, copy=False)
    assert found is not None, "VALUES has rows"  # noqa: S101
    return found


def _is_lateral(node: exp.Expr) -> bool:
    return isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery)


def spell_laterals(select: exp.Select, means: Callable[[exp.Query], bool]) -> None:
    """Write LATERAL before the derived tables with calls that read the tables before them, in place.

    Args:
        select: The SELECT.
        means: Whether DuckDB can describe a query alone.
    """
    for join in select.args.get("joins") or []:
        node = join.this
        if isinstance(node, exp.Subquery) and _may_read_around(node.this) and holds_call(node) and not means(node.this):
            join.set("this", exp.Lateral(this=exp.Subquery(this=node.this), alias=node.args.get("alias")))


def _may_read_around(query: exp.Expr) -> bool:
    if not isinstance(query, exp.Select):
        return False
    tables = {s.alias_or_name.lower() for s in query.find_all(exp.Table, exp.Subquery, exp.Lateral, exp.Unnest)}
    return query.args.get("from_") is None or any(
        c.table and c.table.lower() not in tables for c in query.find_all(exp.Column)
    )


def cut_conditions(select: exp.Select, describe: Describe) -> None:
    """Take the calls out of ON, in place: they become filters, lateral queries or EXISTS.

    Args:
        select: The SELECT.
        describe: Gives names and types of a query without calls.

    Raises:
        PlanError: For a kind of join where that would mean something else.
    """
    joins = select.args.get("joins") or []
    every = list(joins)
    for i, join in enumerate(every):
        condition = join.args.get("on")
        if not holds_call(condition):
            continue
        side, kind = join.side.upper(), join.kind.upper()
        after = every[i + 1 :]
        padded = any(j.side.upper() in {"RIGHT", "FULL"} or j.method.upper() == "POSITIONAL" for j in after)
        qualified = all(c.table for c in condition.find_all(exp.Column))
        if not side and kind in {"", "INNER"} and not join.method and not padded:
            parts = conjuncts(condition)
            join.set("on", all_of([p for p in parts if not holds_call(p)]) or exp.true())
            select.where(*[p.copy() for p in parts if holds_call(p)], copy=False)
        elif kind in {"SEMI", "ANTI"} and not side and not padded and (qualified or not after):
            _check_not_hidden(join, describe)
            found = exp.Exists(this=exp.Select(expressions=[exp.Literal.number(1)]).from_(join.this).where(condition))
            select.where(found if kind == "SEMI" else exp.Not(this=found), copy=False)
            joins.remove(join)
        elif side == "LEFT" and kind in {"", "OUTER"} and not join.method:
            _check_not_hidden(join, describe)
            alias = exp.to_identifier(join.this.alias_or_name, quoted=True)
            query = exp.Select(expressions=[exp.Star()]).from_(join.this.copy()).where(condition)
            join.set("this", exp.Lateral(this=exp.Subquery(this=query), alias=exp.TableAlias(this=alias)))
            join.set("on", exp.true())
        else:
            name = " ".join(p for p in (join.method, side, kind, "JOIN") if p)
            raise PlanError(
                f"a call in the ON of a {name} cannot be planned. Hint: ask in a CTE first, "  # noqa: S608 -- an error
                "WITH asked AS (SELECT *, llm_bool(...) AS a FROM t), and join on its column"
            )


_WITH_FIELDS = ("STRUCT", "UNION", "MAP", "JSON", "VARIANT")


def _check_not_hidden(join: exp.Join, describe: Describe) -> None:
    """Refuse a joined table with a struct that is called as a table its ON reads: in a query over it that is meant."""
    tables = {c.table.lower() for c in join.args["on"].find_all(exp.Column)} - {"", join.this.alias_or_name.lower()}
    columns = describe(exp.Select(expressions=[exp.Star()]).from_(join.this.copy())) if tables else []
    hidden = next((name for name, kind in columns if name.lower() in tables and kind.startswith(_WITH_FIELDS)), None)
    if hidden is not None:
        raise PlanError(
            f"{hidden!r} is a table and a struct in the ON of a join with a call. Hint: give the table another alias"
        )


def cut_laterals(select: exp.Select, correlated: Correlated) -> None:
    """Take the calls out of lateral queries, in place.

    Args:
        select: The SELECT.
        correlated: Takes the calls out of a query in it, given the FROM around that.
    """
    joins = select.args.get("joins") or []
    for i, join in enumerate(joins):
        if _is_lateral(join.this) and holds_call(join.this):
            around = source_of(select)
            around.set("joins", [j.copy() for j in joins[:i]])
            correlated(select, around, join.this.this)
