"""Computing later: an expression over answers of a derived table is written where its value is read.

`SELECT x.a FROM (SELECT i, v, trim(llm(q)) AS a FROM t) x WHERE x.v > 1` becomes
`SELECT trim(x.r) AS a FROM (SELECT i, v, llm(q) AS r FROM t) x WHERE x.v > 1`: then the derived table holds no call
but as a column, which `pulling` can ask above.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call, is_call
from polar_llama.sqlfront.syntax import closed, given_in, is_random, named, outermost
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import text

if TYPE_CHECKING:
    from collections.abc import Iterable

READ = "polar_llama_read_"
"""What columns are called that a derived table has for its reader alone."""

_numbers = count()
_ROW_BY_ROW = frozenset({"expressions", "from_", "joins", "where", "order", "limit", "offset", "kind"})
_BOUND = (
    *(exp.Query, exp.Window, exp.AggFunc, exp.Lambda, exp.Comprehension, exp.PositionalColumn, exp.Dot),
    *(exp.Star, exp.Columns, exp.Explode, exp.Unnest),
)
"""What means something else where it is read."""


def new_name() -> str:
    """The name of one more column for the reader alone."""
    return f"{READ}{next(_numbers)}"


def can_lift(query: exp.Select) -> bool:
    """Whether a query gives expressions over answers, row by row, that nothing else in it reads."""
    items = [i for i in query.expressions if _is_lifted(i)]
    if not items or given_in(query) - _ROW_BY_ROW:
        return False
    if not all(_is_free(i) for i in items):
        return False
    names = [i.alias_or_name.lower() for i in query.expressions]
    rest = [v for k, v in query.args.items() if k not in {"expressions", "from_", "limit", "offset"}]
    nodes = [n for v in rest for n in (v if isinstance(v, list) else [v]) if isinstance(n, exp.Expr)]
    order = query.args.get("order")
    if order is not None and any(isinstance(k.this, exp.Literal | exp.Var) for k in order.expressions):
        return False  # a position or ALL may be one of them
    read = [(i, {c.name.lower() for c in _columns([i])}) for i in query.expressions]
    beside = {c.name.lower() for c in _columns(nodes)}
    for item in items:
        name = item.alias.lower()
        if names.count(name) > 1 or name in beside or any(name in found for i, found in read if i is not item):
            return False
    return True


def lift(query: exp.Select, *, padded: bool) -> dict[str, exp.Expr]:
    """Take the expressions over answers out of a query, in place; what they read becomes further columns of it.

    Args:
        query: The query.
        padded: Whether a join may give nulls in place of its rows: then every expression must be null, too.

    Returns:
        The expressions over those columns, by their names in lower case.
    """
    found: dict[str, exp.Expr] = {}
    known: dict[str, str] = {}
    there = new_name()
    for item in [i for i in query.expressions if _is_lifted(i)]:
        whole = exp.Paren(this=item.this.copy())
        for node in list(outermost(whole, lambda n: _is_asked(n) or isinstance(n, exp.Column))):
            key = text(node)
            if key not in known:
                known[key] = new_name()
                query.append("expressions", named(node.copy(), known[key]))
            node.replace(exp.column(known[key], quoted=True))
        found[item.alias.lower()] = _where(there, whole.this) if padded else closed(whole.this)
        query.set("expressions", [i for i in query.expressions if i is not item])
    if padded:
        query.append("expressions", named(exp.true(), there))
    return found


def _where(there: str, value: exp.Expr) -> exp.Expr:
    """An expression that is null where a row is not there."""
    return exp.Case(ifs=[exp.If(this=exp.column(there, quoted=True), true=value)])


def _is_lifted(item: exp.Expr) -> bool:
    """Whether an item computes with answers, and is not just one of them."""
    return holds_call(item) and not (isinstance(item, exp.Alias) and _is_asked(item.this))


def _is_asked(node: exp.Expr) -> bool:
    """Whether a node is a call, and in its prompt is none."""
    return is_call(node) and not any(holds_call(a) for a in node.expressions)


def _is_free(item: exp.Expr) -> bool:
    """Whether an item is the same expression wherever it stands."""
    return isinstance(item, exp.Alias) and not any(
        isinstance(n, _BOUND) or is_random(n) or _is_unknown(n) for n in walk(item, nested=True)
    )


def _is_unknown(node: exp.Expr) -> bool:
    """Whether a node is a function that may be anybody's: an aggregate, a macro with random values in it."""
    return isinstance(node, exp.Anonymous) and not is_call(node)


def _columns(nodes: Iterable[exp.Expr]) -> Iterable[exp.Expr]:
    return (n for node in nodes for n in walk(node, nested=True) if isinstance(n, exp.Column))
