"""What of a SELECT becomes a chain, and what is left for DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call
from polar_llama.sqlfront.chaining import UnsortableError, chain, is_slice
from polar_llama.sqlfront.peeling import Lift, Peel, is_mixed, kept_groups, reads_groups
from polar_llama.sqlfront.relation import Stage
from polar_llama.sqlfront.resolving import Item
from polar_llama.sqlfront.syntax import all_of, conjuncts, holds_aggregate, holds_window, keys_of, named, source_of
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.sqlfront.scope import Scope


def placed(scope: Scope, select: exp.Select, items: Sequence[Item]) -> Stage | exp.Query:  # noqa: PLR0911 -- one a case
    """Plan a SELECT whose derived tables and subqueries hold no calls any more.

    Args:
        scope: What is known around it.
        select: The SELECT, resolved.
        items: Its columns.

    Returns:
        A chain, if nothing is left for DuckDB to do; else a query without calls.

    Raises:
        PlanError: If a call stands where it cannot be planned.
    """
    group, distinct = select.args.get("group"), select.args.get("distinct")
    clauses = [*(i.expr for i in items), *(select.args.get(k) for k in ("having", "qualify", "order"))]
    if group is not None or any(holds_aggregate(c) for c in clauses if c is not None):
        return _grouped(scope, select, items)
    windows = any(holds_window(c) for c in clauses if c is not None)
    asked_first = holds_call(select.args.get("where"))
    if windows and (asked_first or any(holds_call(w) for c in clauses if c is not None for w in _windows(c))):
        return _peeled(scope, select, items, late=True)
    if distinct is not None:
        on = distinct.args.get("on")
        free = not any(holds_call(select.args.get(k)) for k in ("where", "qualify", "order")) and not holds_call(on)
        if on is None or not free:
            return _peeled(scope, select, items, late=on is not None)
    if any(is_mixed(c) for c in [*clauses, select.args.get("where")] if c is not None):
        return _peeled(scope, select, items, late=False)
    filtered = asked_first or holds_call(select.args.get("qualify"))
    ordered = holds_call(select.args.get("order"))
    cut_short = any(select.args.get(k) is not None for k in ("order", "limit", "offset"))
    if scope.domain is not None and (filtered or ordered) and cut_short:
        return _peeled(scope, select, items, late=False)  # a limit holds for each row around
    if (filtered or ordered) and not is_slice(select, scope.planning.parameters):
        return _peeled(scope, select, items, late=False)
    try:
        return chain(scope, select, items)
    except UnsortableError:
        return _peeled(scope, select, items, late=False)


def _peeled(
    scope: Scope, select: exp.Select, items: Sequence[Item], *, late: bool, keys: Sequence[exp.Expr] | None = None
) -> Stage | exp.Query:
    """A chain for what is asked first, and the rest of the SELECT over it.

    `late` leaves the calls that only the result reads in the rest, to be asked after it.
    """
    peel = Peel(scope, keys=keys, late=late)
    where = select.args.get("where")
    mixed = [c for c in conjuncts(where.this) if is_mixed(c)] if where is not None else []
    rest = select.copy()
    for key in ("from_", "joins", "laterals", "where", "sample"):
        rest.set(key, None)
    rest.set("expressions", [named(peel.visit(i.expr), i.name) for i in items])
    distinct = select.args.get("distinct") is not None
    for key in ("group", "having", "qualify", "order", "distinct"):
        if select.args.get(key) is not None:
            rest.set(key, peel.visit(select.args[key], early=distinct))
    if mixed:
        rest.set("where", exp.Where(this=all_of([peel.visit(c) for c in mixed])))
    first = source_of(select)
    if select.args.get("sample") is not None:
        first.set("sample", select.args["sample"].copy())
    kept = all_of([c for c in conjuncts(where.this) if not is_mixed(c)]) if where is not None else None
    if kept is not None:
        first.set("where", exp.Where(this=kept))
    for condition in kept_groups(select, keys or []):
        _restrict(first, condition)
    outputs = peel.outputs or [exp.Literal.number(1)]
    stage = chain(scope, first, [Item(e, f"o{n}") for n, e in enumerate(outputs)])
    source = scope.planning.stage_query(stage, [c.name for c in stage.columns], scope.domain if stage.keys else None)
    rest.set("from_", exp.From(this=exp.Subquery(this=source, alias=exp.TableAlias(this=exp.to_identifier("r")))))
    if not holds_call(rest):
        return rest
    again = [Item(e.this, e.alias) for e in rest.expressions]
    rest.set("expressions", [i.expr for i in again])
    return placed(scope, rest, again)


def _grouped(scope: Scope, select: exp.Select, items: Sequence[Item]) -> Stage | exp.Query:
    """Calls over rows are peeled off below the grouping; calls over groups become a SELECT above it."""
    group = select.args.get("group")
    keys = keys_of(group) if group is not None else []
    texts = {text(k) for k in keys}
    having = select.args.get("having")
    clauses = [*(i.expr for i in items), *(c for k in ("having", "qualify", "order") if (c := select.args.get(k)))]
    over_groups = any(reads_groups(c, texts) for c in clauses)
    if not over_groups:
        return _peeled(scope, select, items, late=False, keys=keys)
    lift = Lift(keys)
    outer = exp.Select(expressions=[lift.visit(i.expr) for i in items])
    parts = conjuncts(having.this) if having is not None else []
    asked = [c for c in parts if reads_groups(c, texts)]
    if asked:
        outer.set("where", exp.Where(this=all_of([lift.visit(c) for c in asked])))
    for key in ("qualify", "order", "distinct"):
        if select.args.get(key) is not None:
            outer.set(key, lift.visit(select.args[key]))
    for key in ("limit", "offset"):
        if select.args.get(key) is not None:
            outer.set(key, select.args[key].copy())
    inner = select.copy()
    for key in ("qualify", "order", "distinct", "limit", "offset", "having"):
        inner.set(key, None)
    free = all_of([c for c in parts if not reads_groups(c, texts)])
    if free is not None:
        inner.set("having", exp.Having(this=free))
    outputs = [Item(e, f"g{n}") for n, e in enumerate(lift.outputs)] or [Item(exp.Literal.number(1), "g0")]
    inner.set("expressions", [named(i.expr.copy(), i.name) for i in outputs])
    if holds_call(inner):
        found = _peeled(scope, inner, outputs, late=False, keys=keys)
        assert not isinstance(found, Stage)  # noqa: S101 -- grouping is DuckDB's
        inner = found  # type: ignore[assignment]
    outer.set("from_", exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier("g")))))
    return placed(scope, outer, [Item(e, i.name) for e, i in zip(outer.expressions, items, strict=True)])


def _restrict(select: exp.Select, condition: exp.Expr) -> None:
    """Keep fewer rows of a SELECT, in place."""
    if not holds_window(condition):
        select.where(condition, copy=False)
        return
    before = select.args.get("qualify")
    both = all_of([*conjuncts(before and before.this), condition])
    select.set("qualify", exp.Qualify(this=both))


def _windows(node: exp.Expr) -> list[exp.Expr]:
    return [n for n in walk(node) if isinstance(n, exp.Window)]
