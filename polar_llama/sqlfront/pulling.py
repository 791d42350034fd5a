"""Asking later: a call of a derived table is written where its answer is read.

`SELECT x.a FROM (SELECT i, llm(q) AS a FROM t) x JOIN u USING (i)` becomes
`SELECT llm(x.a) AS a FROM (SELECT i, q AS a FROM t) x JOIN u USING (i)`: the prompt stands in the derived
table under the answer's own name and position. Joins repeat, drop and null it as they would the answer,
so that only what is left in the end is asked; what nobody reads is not asked at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call, is_call, labelled, prompt_of
from polar_llama.sqlfront.detaching import asked_conditions, can_detach, checked_by, detach
from polar_llama.sqlfront.known import is_closed
from polar_llama.sqlfront.lifting import can_lift, lift
from polar_llama.sqlfront.resolving import stubbed
from polar_llama.sqlfront.stars import spell_stars
from polar_llama.sqlfront.syntax import holds_aggregate, is_multiple, named, sources_of
from polar_llama.sqlfront.walking import walk

if TYPE_CHECKING:
    from collections.abc import Collection

    from polar_llama.sqlfront.scope import Scope

    Slots = dict[str, exp.Expr]


_APART = (exp.Lambda, exp.Comprehension, exp.Unnest, exp.Explode)
"""Where no call can be planned, or not beside others; a column can."""


def pull(scope: Scope, select: exp.Select) -> None:
    """Pull the calls of a SELECT's derived tables up into it, where that changes nothing else."""
    for number, node in enumerate(sources_of(select)):
        if not isinstance(node, exp.Subquery) or not holds_call(node) or not isinstance(node.this, exp.Select):
            continue
        pull(scope, node.this)
        alias = node.args.get("alias")
        if any(node.args.get(k) for k in ("pivots", "sample", "joins")) or (
            alias is not None and alias.args.get("columns")
        ):
            continue
        if alias is None:
            node.set("alias", exp.TableAlias(this=exp.to_identifier(f"polar_llama_derived_{number}")))
        checks = checked_by(scope, select, node)
        # Where the conditions stay, so do the answers, and nothing is won.
        if can_lift(node.this) and (isinstance(checks, exp.Select) or not asked_conditions(node.this)):
            names = {i.alias.lower() for i in node.this.expressions if holds_call(i)}
            if _spelled_out(scope, select, node, names):
                _write_above(select, node.alias, lift(node.this, padded=_is_padded(select, node)))
        if checks is not None and can_detach(node.this) and _spelled_out(scope, select, node, ()):
            conditions = [_qualified(c, node.alias) for c in detach(node.this)]
            add = checks.where if isinstance(checks, exp.Select) else checks.on
            add(*conditions, copy=False)
        slots = slots_of(node.this)
        if slots is None or not _spelled_out(scope, select, node, slots):
            continue
        _write_above(select, node.alias, {n: asked_of(call, exp.column(n, quoted=True)) for n, call in slots.items()})
        fill(node.this, slots)


def pull_cte(scope: Scope, cte: exp.CTE, readers: list[exp.Expr]) -> None:
    """Let a CTE keep its prompts: whoever reads it asks, as if it were a derived table. In place."""
    pull(scope, cte.this)
    if cte.args["alias"].args.get("columns") or cte.this.args.get("with_") is not None:
        return
    if not can_lift(cte.this) and not can_detach(cte.this) and slots_of(cte.this) is None:
        return
    name = cte.alias.lower()
    tables = [
        t
        for reader in readers
        for t in walk(reader, nested=True)
        if isinstance(t, exp.Table) and t.name.lower() == name and not t.db
    ]
    if any(isinstance(t.parent, exp.Pivot) for t in tables):
        return
    names = _names(scope, cte.this)
    if len({n.lower() for n in names}) != len(names):
        return
    query = cte.this.copy()
    lifted = lift(query, padded=False) if can_lift(query) else {}
    conditions = detach(query) if can_detach(query) else []
    slots = slots_of(query) or {}
    fill(query, slots)
    cte.set("this", query)
    view = exp.Select()
    for name in names:
        whole = exp.Paren(this=lifted.get(name.lower(), exp.column(name, quoted=True)))
        for column in [c for c in walk(whole) if isinstance(c, exp.Column) and c.name.lower() in slots]:
            column.replace(asked_of(slots[column.name.lower()], column.copy()))
        value = whole.this
        view.append("expressions", value if isinstance(value, exp.Column) else named(value, name))
    view.where(*conditions, copy=False)
    for table in tables:
        table.replace(_derived(table, view.copy()))


def _names(scope: Scope, query: exp.Select) -> list[str]:
    """The names of a query's columns; DuckDB is asked where there may be a star."""
    if all(isinstance(i, exp.Alias | exp.Column) and not is_multiple(i) for i in query.expressions):
        return [i.alias_or_name for i in query.expressions]
    return [name for name, _ in scope.describe(stubbed(query, scope.planning))]


def _derived(table: exp.Table, select: exp.Select) -> exp.Subquery:
    """A table as a derived one with columns of its own."""
    alias = table.args.get("alias") or exp.TableAlias(this=table.this.copy())
    if alias.this is None:
        alias.set("this", table.this.copy())
    derived = exp.Subquery(this=select.from_(exp.Table(this=table.this.copy()), copy=False), alias=alias.copy())
    for key in ("joins", "pivots", "sample"):
        if table.args.get(key):
            derived.set(key, table.args[key])
    return derived


def _qualified(condition: exp.Expr, alias: str) -> exp.Expr:
    for column in condition.find_all(exp.Column):
        column.set("table", exp.to_identifier(alias, quoted=True))
    return condition


def slots_of(query: exp.Expr) -> Slots | None:
    """The calls of a query by their columns' names, in lower case, if it holds none but as columns."""
    if not isinstance(query, exp.Select) or query.args.get("distinct") is not None:
        return None
    slots: Slots = {}
    for item in query.expressions:
        if holds_call(item):
            if (
                not isinstance(item, exp.Alias)
                or not is_call(item.this)
                or any(holds_call(a) for a in item.this.expressions)
            ):
                return None
            if item.alias.lower() in slots:
                return None
            slots[item.alias.lower()] = item.this
    names = [i.alias_or_name.lower() for i in query.expressions]
    rest = [v for k, v in query.args.items() if k not in {"expressions", "from_"} and v]
    nodes = [n for v in rest for n in (v if isinstance(v, list) else [v]) if isinstance(n, exp.Expr)]
    if not slots or any(holds_call(n) for n in [*nodes, query.args.get("from_")] if n is not None):
        return None
    read = [c for n in [*nodes, *query.expressions] for c in n.find_all(exp.Column) if not _is_prompt_of(c, slots)]
    if any(names.count(name) > 1 or any(c.name.lower() == name for c in read) for name in slots):
        return None
    return slots if _by_expressions(query) else None


def _is_prompt_of(column: exp.Column, slots: Slots) -> bool:
    """Whether a column is read by a prompt of its own name, as in `llm(q) AS q`: there the column is meant."""
    call = column.find_ancestor(exp.Anonymous)
    return call is not None and any(call is c for c in slots.values())


def _by_expressions(query: exp.Select) -> bool:
    """Whether grouping and order name what they mean: a position or ALL may be a call."""
    group, order = query.args.get("group"), query.args.get("order")
    if group is not None and (group.args.get("all") or any(isinstance(e, exp.Literal) for e in group.expressions)):
        return False
    if (
        group is None
        and any(holds_aggregate(i) for i in query.expressions)
        and not all(holds_aggregate(i) for i in query.expressions)
    ):
        return False
    return order is None or not any(isinstance(k.this, exp.Literal | exp.Var) for k in order.expressions)


def fill(query: exp.Select, slots: Slots) -> None:
    """Put the prompts into the places of the calls, in place."""
    for item in query.expressions:
        if isinstance(item, exp.Alias) and any(item.this is c for c in slots.values()):
            item.set("this", prompt_of(item.this).copy())


def asked_of(call: exp.Expr, prompt: exp.Expr) -> exp.Expr:
    """The same call with another prompt."""
    copy = labelled(call.copy())
    prompt_of(copy).replace(prompt)
    return copy


def _spelled_out(scope: Scope, select: exp.Select, source: exp.Subquery, slots: Collection[str]) -> bool:
    """Whether every reference to the slots can be found; stars are spelled out for that, in place."""
    joins = select.args.get("joins") or []
    for join in joins:
        used = {i.name.lower() for i in join.args.get("using") or []}
        if join.method or used & set(slots) or join.args.get("match_condition"):
            return False
        on = join.args.get("on")  # a join on answers is DuckDB's, as a join on any column
        if on is not None and any(c.name.lower() in slots for c in on.find_all(exp.Column)):
            return False
    nodes = list(walk(select, nested=True, but=source))
    closed = _closed(scope, select, source, slots)
    nodes = [n for n in nodes if id(n) not in closed]
    inside = [n for n in nodes if isinstance(n, exp.Query) and n is not select]
    alias = source.alias.lower()
    for column in [c for q in inside for c in q.find_all(exp.Column)]:
        if column.name.lower() in slots or alias in {column.table.lower(), column.name.lower()}:
            return False
    own = [n for n in nodes if isinstance(n, exp.Column)]
    if any(_is_field(c, alias, slots) for c in own):
        return False
    if any(c.name.lower() in slots and c.find_ancestor(exp.Select, *_APART) is not select for c in own):
        return False
    by_place = any(c.args.get("db") is not None for c in own) or any(isinstance(n, exp.PositionalColumn) for n in nodes)
    return not by_place and spell_stars(select, source, scope.describe)


def _closed(scope: Scope, select: exp.Select, source: exp.Subquery, slots: Collection[str]) -> set[int]:
    """What is in the other derived tables that have columns of the same names, but read nothing of this one."""
    found: set[int] = set()
    for other in sources_of(select):
        if other is source or not isinstance(other, exp.Subquery):
            continue
        nodes = list(walk(other.this, nested=True))
        meets = any(isinstance(n, exp.Column) and n.name.lower() in slots for n in nodes)
        if meets and (is_closed(other.this, scope.columns_of) or scope.means(other.this)):
            found.update(map(id, (other, *nodes)))
    return found


def _is_field(column: exp.Column, alias: str, slots: Collection[str]) -> bool:
    """Whether a column may be a field of an answer that is a struct, or the whole row of a table."""
    table, name = column.table.lower(), column.name.lower()
    return (table in slots and table != alias) or (not table and name == alias and alias not in slots)


def _is_padded(select: exp.Select, source: exp.Expr) -> bool:
    """Whether a join may give rows without a row of a source."""
    joins = select.args.get("joins") or []
    own = next((i for i, j in enumerate(joins) if j.this is source), -1)
    sides = [j.side.upper() for j in joins]
    return (own >= 0 and sides[own] in {"LEFT", "FULL"}) or any(s in {"RIGHT", "FULL"} for s in sides[own + 1 :])


def _write_above(select: exp.Select, alias: str, values: dict[str, exp.Expr]) -> None:
    """Write expressions over columns of a source where their values are read, by the names these have there."""
    aliases = {i.alias.lower() for i in select.expressions if isinstance(i, exp.Alias)}
    source = next(s for s in sources_of(select) if s.alias == alias)
    for column in [c for c in walk(select, but=source) if isinstance(c, exp.Column)]:
        name = column.name.lower()
        if name not in values or column.table.lower() not in {"", alias.lower()}:
            continue
        if isinstance(column.parent, exp.Ordered) and not column.table and name in aliases:
            continue  # an alias comes first in ORDER BY
        value = _qualified(values[name].copy(), alias)
        is_item = column.parent is select and column.arg_key == "expressions"
        column.replace(named(value, column.name) if is_item else value)
