"""Taking a SELECT apart: what is computed below becomes columns of it, the rest stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.sqlfront.calls import holds_call, is_call
from polar_llama.sqlfront.lowering import mapped
from polar_llama.sqlfront.syntax import (
    conjuncts,
    fresh_column,
    given_in,
    holds_aggregate,
    holds_window,
    is_aggregate,
    is_constant,
    is_unit,
    is_value,
    is_volatile,
    is_windowed,
    outermost,
)
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.sqlfront.scope import Scope


class Peel:
    """Replaces what the chain below computes by its columns."""

    def __init__(self, scope: Scope, *, keys: Sequence[exp.Expr] | None, late: bool) -> None:
        self.outputs: list[exp.Expr] = []
        self._scope = scope
        self._keys = {text(k) for k in keys or []}
        self._grouped = keys is not None
        self._late = late
        self._names: dict[str, str] = {}

    def visit(self, node: exp.Expr, *, early: bool = False) -> exp.Expr:  # noqa: PLR0911 -- one a kind of node
        """A node over the columns of the chain; `early` below aggregates, windows and DISTINCT ON."""
        if self._keys and is_value(node) and text(node) in self._keys and not is_constant(node):
            return self._output(node)
        if isinstance(node, exp.Any | exp.All) and isinstance(node.this, exp.Query):
            return self._beside_query(node, early=early)
        if not holds_call(node):
            if self._grouped and _holds_query(node) and not _below_aggregate(node):
                return self._beside_query(node, early=early)  # it is computed once a group
            if is_unit(node) and not isinstance(node, exp.Window):
                return self._output(node)
            return mapped(node, lambda c: self.visit(c, early=early))
        early = early or isinstance(node, exp.Window | exp.Distinct) or is_aggregate(node) or not self._late
        if is_call(node) and not early:
            copy = node.copy()
            copy.set("expressions", [self.visit(node.expressions[0]), *(e.copy() for e in node.expressions[1:])])
            return copy
        if early and self._is_one_value(node):
            return self._output(node)
        if isinstance(node, exp.In | exp.Any | exp.All | exp.Exists | exp.Query):
            return self._beside_query(node, early=early)
        return mapped(node, lambda c: self.visit(c, early=early))

    def _beside_query(self, node: exp.Expr, *, early: bool) -> exp.Expr:
        def change(child: exp.Expr) -> exp.Expr:
            if isinstance(child, exp.Query):
                query = child.this if isinstance(child, exp.Subquery) else child
                if not self._scope.means(query):
                    raise PlanError(
                        "a call beside a correlated subquery cannot be planned. "
                        "Hint: ask in a CTE first and use its column"
                    )
                return child.copy()
            return self.visit(child, early=early)

        return mapped(node, change)

    def _is_one_value(self, node: exp.Expr) -> bool:
        """Whether a node is computed row by row, as a whole; above a grouping only a call is."""
        if not is_value(node) or is_windowed(node) or holds_aggregate(node) or holds_window(node) or is_mixed(node):
            return False
        return not self._keys or is_call(node) or _below_aggregate(node)

    def _output(self, node: exp.Expr) -> exp.Expr:
        key = text(node)
        if key not in self._names:
            self._names[key] = f"o{len(self.outputs)}"
            self.outputs.append(node.copy())
        return fresh_column(self._names[key], "r")


class Lift:
    """Replaces group keys and aggregates by columns of the grouped query below."""

    def __init__(self, keys: Sequence[exp.Expr]) -> None:
        self.outputs: list[exp.Expr] = []
        self._keys = {text(k) for k in keys}
        self._names: dict[str, str] = {}

    def visit(self, node: exp.Expr) -> exp.Expr:
        """A node over the columns of the grouped query."""
        key = text(node)
        whole = (is_value(node) and key in self._keys and not is_constant(node)) or is_aggregate(node)
        if whole or (is_unit(node) and not holds_call(node) and not isinstance(node, exp.Window)):
            if key not in self._names:
                self._names[key] = f"g{len(self.outputs)}"
                self.outputs.append(node.copy())
            return fresh_column(self._names[key], "g")
        return mapped(node, self.visit)


def is_mixed(node: exp.Expr) -> bool:
    """Whether a call stands beside a table subquery in one predicate, `llm(q) IN (SELECT …)`, or in `unnest`."""
    for found in walk(node):
        beside: exp.Expr | None
        match found:
            case exp.Unnest() | exp.Explode():
                beside = found
            case exp.Any() | exp.All():
                beside = found.parent
            case exp.In() if found.args.get("query") is not None:
                beside = found
            case _:
                continue
        if holds_call(beside):
            return True
    return False


def kept_groups(select: exp.Select, keys: Sequence[exp.Expr]) -> list[exp.Expr]:
    """`HAVING count(*) > 10` as conditions on rows, for a SELECT below the grouping.

    The rows of a group that HAVING drops need no answer. Only where the groups are known before anything is asked,
    and by aggregates that are the same in whatever order their rows come, which a sum of floats is not: windows
    give rows in an order of their own, so nothing in the SELECT may depend on it either.
    """
    group, having, where = (select.args.get(k) for k in ("group", "having", "where"))
    if group is None or having is None or not keys or select.args.get("sample") is not None:
        return []
    if group.find(exp.GroupingSets, exp.Cube, exp.Rollup) or given_in(group) - {"expressions"}:
        return []
    if holds_call(where) or any(holds_call(k) or is_volatile(k) for k in keys):
        return []
    clauses = [*select.expressions, *(c for k in ("having", "qualify", "order") if (c := select.args.get(k)))]
    if not all(_is_unordered(a) for c in clauses for a in outermost(c, is_aggregate)):
        return []
    parts = [c for c in conjuncts(having.this) if _is_exact(c)]
    return [_over(c, keys) for c in parts if where is None or holds_aggregate(c)]


def _is_exact(condition: exp.Expr) -> bool:
    return not any(
        is_call(n)
        or isinstance(n, exp.Query | exp.Window)
        or (is_aggregate(n) and not isinstance(n, exp.Count | exp.Min | exp.Max))
        for n in walk(condition)
    ) and not is_volatile(condition)


def _is_unordered(aggregate: exp.Expr) -> bool:
    """Whether an aggregate is the same in whatever order its rows come."""
    inner = aggregate.this if isinstance(aggregate, exp.Filter) else aggregate
    return isinstance(inner, _UNORDERED) or inner.find(exp.Order) is not None


_UNORDERED = (exp.Count, exp.Min, exp.Max, exp.Sum, exp.Avg, exp.LogicalAnd, exp.LogicalOr)


def _over(condition: exp.Expr, keys: Sequence[exp.Expr]) -> exp.Expr:
    """A condition on a group, for each of its rows."""
    root = exp.Paren(this=condition.copy())
    for found in list(outermost(root, is_aggregate)):
        found.replace(exp.Window(this=found.copy(), partition_by=[k.copy() for k in keys]))
    return root


def reads_groups(node: exp.Expr, keys: set[str]) -> bool:
    """Whether a call is asked once a group: one that is no key and stands in no aggregate."""
    found = outermost(node, lambda n: is_aggregate(n) or is_call(n) or (bool(keys) and text(n) in keys))
    return any(is_call(n) and text(n) not in keys for n in found)


def _holds_query(node: exp.Expr) -> bool:
    return isinstance(node, exp.Query | exp.Exists) or (
        isinstance(node, exp.In | exp.Any | exp.All) and any(isinstance(n, exp.Query) for n in node.iter_expressions())
    )


def _below_aggregate(node: exp.Expr) -> bool:
    parent = node.parent
    while parent is not None and not isinstance(parent, exp.Query):
        if is_aggregate(parent):
            return True
        parent = parent.parent
    return False
