"""Checking later: conditions on answers of a derived table are checked by whoever reads it.

`SELECT * FROM (SELECT * FROM t WHERE llm_bool(q)) x WHERE x.v > 1` becomes
`SELECT i, q, v FROM (SELECT *, q AS r FROM t) x WHERE llm_bool(x.r) AND x.v > 1`, so that the free
condition comes first, whichever was written first.
"""

from __future__ import annotations

from itertools import count

from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call, is_call, prompt_of
from polar_llama.sqlfront.syntax import all_of, conjuncts, is_total
from polar_llama.sqlfront.writing import text

READ = "polar_llama_read_"
_numbers = count()


def can_detach(query: exp.Expr) -> bool:
    """Whether conditions on answers may be checked above a query instead: where rows are all it gives."""
    if not isinstance(query, exp.Select) or not _asked(query):
        return False
    if any(v for k, v in query.args.items() if k not in {"expressions", "from_", "joins", "where", "order", "kind"}):
        return False
    if any(c.find(exp.Query) for c in _asked(query)):
        return False
    # What is computed for rows that are dropped above must not fail on them.
    return all(_is_safe(i.this if isinstance(i, exp.Alias) else i) for i in query.expressions)


def _asked(query: exp.Select) -> list[exp.Expr]:
    where = query.args.get("where")
    return [c for c in conjuncts(where and where.this) if holds_call(c)]


def _is_safe(item: exp.Expr) -> bool:
    star = item.this if isinstance(item, exp.Column) else item
    if isinstance(star, exp.Star):
        return not star.args.get("replace")
    return is_total(prompt_of(item)) if is_call(item) else is_total(item)


def detach(query: exp.Select) -> list[exp.Expr]:
    """Take the conditions on answers out of a query, in place; what they read becomes further columns of it."""
    conditions = [c.copy() for c in _asked(query)]
    free = all_of([c for c in conjuncts(query.args["where"].this) if not holds_call(c)])
    query.set("where", exp.Where(this=free) if free is not None else None)
    names: dict[str, str] = {}
    for condition in conditions:
        for column in list(condition.find_all(exp.Column)):
            key = text(column)
            if key not in names:
                names[key] = f"{READ}{next(_numbers)}"
                query.append("expressions", exp.alias_(column.copy(), names[key], quoted=True))
            column.replace(exp.column(names[key], quoted=True))
    return conditions
