"""Checking later: conditions on answers of a derived table are checked by whoever reads it.

`SELECT * FROM (SELECT * FROM t WHERE llm_bool(q)) x WHERE x.v > 1` becomes
`SELECT i, q, v FROM (SELECT *, q AS r FROM t) x WHERE llm_bool(x.r) AND x.v > 1`, so that the free
condition comes first, whichever was written first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call, is_call, labelled, prompt_of
from polar_llama.sqlfront.lifting import new_name
from polar_llama.sqlfront.syntax import all_of, conjuncts, is_total, named
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import text

if TYPE_CHECKING:
    from polar_llama.sqlfront.scope import Scope


def can_detach(query: exp.Expr) -> bool:
    """Whether conditions on answers may be checked above a query instead: where rows are all it gives."""
    if not isinstance(query, exp.Select) or not asked_conditions(query):
        return False
    if any(v for k, v in query.args.items() if k not in {"expressions", "from_", "joins", "where", "order", "kind"}):
        return False
    if any(c.find(exp.Query) for c in asked_conditions(query)):
        return False
    # What is computed for rows that are dropped above must not fail on them.
    return all(_is_safe(i.this if isinstance(i, exp.Alias) else i) for i in query.expressions)


def asked_conditions(query: exp.Select) -> list[exp.Expr]:
    """The conditions on answers of a query."""
    where = query.args.get("where")
    return [c for c in conjuncts(where and where.this) if holds_call(c)]


def _is_safe(item: exp.Expr) -> bool:
    star = item.this if isinstance(item, exp.Column) else item
    if isinstance(star, exp.Star):
        return not star.args.get("replace")
    return is_total(prompt_of(item)) if is_call(item) else is_total(item)


def detach(query: exp.Select) -> list[exp.Expr]:
    """Take the conditions on answers out of a query, in place; what they read becomes further columns of it."""
    conditions = [c.copy() for c in asked_conditions(query)]
    free = all_of([c for c in conjuncts(query.args["where"].this) if not holds_call(c)])
    query.set("where", exp.Where(this=free) if free is not None else None)
    names: dict[str, str] = {}
    for condition in conditions:
        for call in [n for n in walk(condition, nested=True) if is_call(n)]:
            labelled(call)
        for column in list(condition.find_all(exp.Column)):
            key = text(column)
            if key not in names:
                names[key] = new_name()
                query.append("expressions", named(column.copy(), names[key]))
            column.replace(exp.column(names[key], quoted=True))
    return conditions


def checked_by(scope: Scope, select: exp.Select, source: exp.Expr) -> exp.Select | exp.Join | None:
    """What may check the conditions of a source instead: the WHERE of a SELECT, the ON of a join; or nothing."""
    return select if _filters_whole(select, source) else _matching(scope, select, source)


def _filters_whole(select: exp.Select, source: exp.Expr) -> bool:
    """Whether dropping rows of a source is dropping them from the joined rows, of which there are not far more."""
    joins = select.args.get("joins") or []
    if any(j.args.get("on") is None and not j.args.get("using") for j in joins):
        return False
    own = next((i for i, j in enumerate(joins) if j.this is source), -1)
    if any(j.side.upper() in {"RIGHT", "FULL"} for j in joins[max(own, 0) :]):
        return False
    join = joins[own] if own >= 0 else None
    return join is None or (not join.side and not join.method and join.kind.upper() in {"", "INNER"})


def _matching(scope: Scope, select: exp.Select, source: exp.Expr) -> exp.Join | None:
    """The LEFT JOIN on equal values of which a source is the right side: its ON may check the source's conditions.

    There they are a correlated query, asked of the rows that match. The rows before the join are computed once more
    for it, so nothing in them may be asked or be random.
    """
    joins = select.args.get("joins") or []
    own = next((i for i, j in enumerate(joins) if j.this is source), -1)
    if own < 0 or scope.domain is not None:
        return None
    join: exp.Join = joins[own]
    if join.side.upper() != "LEFT" or join.kind.upper() not in {"", "OUTER"} or join.method:
        return None
    if not any(isinstance(c, exp.EQ) for c in conjuncts(join.args.get("on"))):
        return None
    asked = any(holds_call(s) or scope.is_volatile(s) for s in (select.args["from_"], *joins[:own]))
    return None if asked else join
