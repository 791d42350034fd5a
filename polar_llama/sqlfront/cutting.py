"""Cutting a query: what DuckDB computes before anything is asked, the answers, and what it computes after.

Every SELECT that holds calls becomes one of two things. A *chain* is an inner query without calls, read
lazily, and ordinary Polars verbs on it: filters, a sort, a slice, a select. What a chain cannot hold
(grouping, windows over answers, DISTINCT) is *peeled*: a chain computes the answers, and DuckDB runs the
rest of the SELECT over that chain as over any table.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.sqlfront.calls import holds_call
from polar_llama.sqlfront.chaining import number_of
from polar_llama.sqlfront.correlating import domain_of
from polar_llama.sqlfront.placing import placed
from polar_llama.sqlfront.pulling import pull, pull_cte
from polar_llama.sqlfront.relation import Stage
from polar_llama.sqlfront.resolving import resolve
from polar_llama.sqlfront.scope import Scope, names_in, reads_itself, table_names
from polar_llama.sqlfront.sources import cut_conditions, cut_laterals, cut_sources, spell_laterals
from polar_llama.sqlfront.syntax import conjuncts, is_volatile, outermost, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.sqlfront.correlating import Domain
    from polar_llama.sqlfront.planning import Planning

_MODIFIERS = ("order", "limit", "offset")


class Cutter:
    """Takes the calls out of one query, from the inside to the outside."""

    def __init__(self, planning: Planning) -> None:
        """Cut a query."""
        self._planning = planning
        self._scope = Scope(planning)

    def cut(self, query: exp.Query) -> Stage | exp.Query:
        """Take the calls out of a query, which is changed.

        Returns:
            A frame and its columns, if nothing is left for DuckDB to do; else a query without calls.

        Raises:
            PlanError: If a call stands where it cannot be planned.
            duckdb.Error: What DuckDB says of the query.
        """
        if not holds_call(query):
            return query
        domain = self._scope.domain
        self._scope.domain = self._scope.domain_of(query)
        try:
            return self._with_ctes(query)
        finally:
            self._scope.domain = domain

    def nested(self, query: exp.Query) -> exp.Query:
        """A query in a query, without calls; it keeps the names of its columns."""
        found = self.cut(query)
        if not isinstance(found, Stage):
            return found
        domain = self._scope.domain if found.keys else None
        return self._planning.stage_query(found, [c.name for c in found.columns], domain)

    def _with_ctes(self, query: exp.Query) -> Stage | exp.Query:
        depth = len(self._scope.ctes)
        with_ = query.args.get("with_")
        if with_ is not None:
            query.set("with_", None)
            self._ctes(with_, query)
        found = self._one(query)
        if with_ is not None and not isinstance(found, Stage):
            self._scope.compute(names_in(found))
            found.set("with_", with_ if with_.expressions else None)
        del self._scope.ctes[depth:]
        return found

    def _ctes(self, with_: exp.With, query: exp.Query) -> None:
        self._scope.recursive |= bool(with_.args.get("recursive"))
        read = Counter(table_names(query))
        for cte in reversed(list(with_.expressions)):
            if cte.alias.lower() in read:
                read.update(table_names(cte.this))
            else:
                cte.pop()  # nothing needs it: DuckDB does not even look at it
        for number, cte in enumerate(with_.expressions):
            if any(c.name == cte.alias.lower() for c in self._scope.ctes):
                raise PlanError(
                    f"the CTE name {cte.alias!r} is used twice, one inside the other. Hint: give one another name"
                )
            volatile, asks = self._scope.is_volatile(cte.this), holds_call(cte.this)
            if asks:
                _check_not_recursive(with_, cte)
                readers = [query, *with_.expressions[number + 1 :]]
                if isinstance(cte.this, exp.Select) and not volatile and not _feeds_recursion(cte, with_):
                    pull_cte(self._scope, cte, readers)
                cte.set("this", self.nested(cte.this))
            self._scope.add(cte, volatile=volatile, outlined=asks or read[cte.alias.lower()] > 1)

    def _one(self, query: exp.Query) -> Stage | exp.Query:
        if any(holds_call(query.args.get(k)) for k in ("limit", "offset")):
            raise PlanError(
                "a call in LIMIT or OFFSET cannot be planned. Hint: ask first, and give the number as a parameter"
            )
        match query:
            case exp.Pivot():
                return self._pivot(query)
            case exp.Select():
                return self._select(query)
            case exp.SetOperation() if any(holds_call(query.args.get(k)) for k in _MODIFIERS):
                return self.cut(_wrapped(query))
            case exp.SetOperation():
                _limit_branches(query, self._planning.parameters)
                query.set("this", _operand(self.nested(query.this)))
                query.set("expression", _operand(self.nested(query.expression)))
                return query
            case exp.Subquery() if query.alias or any(query.args.get(k) is not None for k in _MODIFIERS):
                return self.cut(_wrapped(query))
            case exp.Subquery():
                return self.cut(query.this)
            case _:
                raise PlanError(f"a call inside {query.key.upper()} cannot be planned. Hint: ask in a CTE first")

    def _pivot(self, pivot: exp.Pivot) -> exp.Query:
        if isinstance(pivot.this, exp.Subquery) and isinstance(pivot.this.this, exp.Query):
            pivot.this.set("this", self.nested(pivot.this.this))
        if holds_call(pivot):
            raise PlanError("a call inside PIVOT cannot be planned. Hint: ask in a CTE first and pivot its columns")
        return pivot  # type: ignore[return-value]  # sqlglot does not count it among queries

    def _select(self, select: exp.Select) -> Stage | exp.Query:
        pull(self._scope, select)
        spell_laterals(select, self._scope.means)
        cut_sources(select, self.nested)
        cut_conditions(select, self._scope.describe)
        cut_laterals(select, self._correlated)
        self._subqueries(select)
        if not holds_call(select):
            return select
        return placed(
            self._scope, select, resolve(self._planning, select, self._scope.describe, self._scope.columns_of)
        )

    def _subqueries(self, select: exp.Select) -> None:
        """Take the calls out of queries in expressions."""
        sources = {id(s.this) for s in (select.args.get("from_"), *(select.args.get("joins") or [])) if s is not None}
        for node in list(
            outermost(select, lambda n: isinstance(n, exp.Query) and n is not select and id(n) not in sources)
        ):
            if holds_call(node) and node.find_ancestor(exp.From, exp.Join, exp.Select) is select:
                self._correlated(select, source_of(select), node)

    def _correlated(self, select: exp.Select, around: exp.Select, node: exp.Expr) -> None:
        """Take the calls out of a query that may read the row around it.

        Then it is asked for every different row there can be around it.
        """
        query = node.this if isinstance(node, exp.Subquery) else node
        if not isinstance(query, exp.Query):
            raise PlanError(
                f"a call inside {query.key.upper()} in an expression cannot be planned. Hint: SELECT it instead"
            )
        if self._scope.means(query):
            if isinstance(node.parent, exp.Exists) and query.args.get("limit") is None:
                query.set("limit", exp.Limit(expression=exp.Literal.number(1)))  # one row is enough
            _replace(node, self.nested(query))
            return
        if self._scope.domain is not None:
            raise PlanError(
                "a call inside a correlated subquery of another one cannot be planned. "
                "Hint: ask in a CTE first and use its column"
            )
        if self._scope.is_volatile(around):
            raise PlanError(
                "a call in a correlated subquery beside random values in FROM cannot be planned. "
                "Hint: compute those first, CREATE TABLE ... AS, or as a frame, and read that"
            )
        where = select.args.get("where")
        free = [c for c in conjuncts(where and where.this) if not holds_call(c) and not is_volatile(c)]
        domain = domain_of(query, around, free, lambda q: self._scope.means(q, around=False))
        self._scope.domain = domain
        try:
            if _loses_order(node, query, domain):
                raise PlanError(
                    "the ORDER BY of a correlated subquery with a call is lost in ARRAY(…) and in derived tables. "
                    "Hint: order inside an aggregate, (SELECT list(llm(…) ORDER BY …) FROM …)"
                )
            if not self._scope.means(query):
                raise PlanError(
                    "this correlated subquery with a call cannot be planned. "
                    "Hint: write it as a JOIN, or ask in a CTE first and use its column"
                )
            _replace(node, domain.restored(self.nested(query)))
        finally:
            self._scope.domain = None


def _loses_order(node: exp.Expr, query: exp.Query, domain: Domain) -> bool:
    """Whether the order of rows asked for each row around matters, and not only which of them there are."""
    derived = [s.this for s in query.find_all(exp.Subquery) if s is not node and isinstance(s.parent, exp.From)]
    ordered = [q for q in derived if domain.is_read_by(q) and holds_call(q)]
    ordered += [query] if isinstance(node.parent, exp.Array) else []
    return any(q.args.get("order") is not None and number_of(q.args.get("limit"), {}) != 1 for q in ordered)


def _replace(node: exp.Expr, query: exp.Query) -> None:
    if isinstance(node, exp.Subquery):
        node.set("this", query)
    else:
        node.replace(query)


def _feeds_recursion(cte: exp.CTE, with_: exp.With) -> bool:
    """Whether a recursive CTE reads this one: nothing can be asked there."""
    if not with_.args.get("recursive"):
        return False
    return any(reads_itself(c) and cte.alias.lower() in names_in(c.this) for c in with_.expressions)


def _check_not_recursive(with_: exp.With, cte: exp.CTE) -> None:
    if with_.args.get("recursive") and reads_itself(cte):
        raise PlanError(
            "a call inside a recursive CTE cannot be planned: what is asked would depend on every answer before. "
            "Hint: compute the recursion first, and ask over its result"
        )


def _limit_branches(query: exp.SetOperation, parameters: Mapping[str, Any]) -> None:
    """`a UNION ALL b LIMIT 3` needs no more than three rows of either, in place."""
    length, offset = (number_of(query.args.get(k), parameters) for k in ("limit", "offset"))
    whole = (
        query.args.get("order") is not None
        or query.args.get("by_name")
        or (query.args.get("offset") and offset is None)
    )
    if length is None or whole or not isinstance(query, exp.Union) or query.args.get("distinct"):
        return
    for branch in (query.this, query.expression):
        if isinstance(branch, exp.Union) and not any(branch.args.get(k) for k in _MODIFIERS):
            branch.set("limit", exp.Limit(expression=exp.Literal.number(length + (offset or 0))))
            _limit_branches(branch, parameters)
            branch.set("limit", None)
        elif isinstance(branch, exp.Select) and holds_call(branch) and branch.args.get("limit") is None:
            branch.set("limit", exp.Limit(expression=exp.Literal.number(length + (offset or 0))))


def _operand(query: exp.Query) -> exp.Query:
    """A query as an operand of a set operation: its own ORDER BY and LIMIT must not become that one's."""
    modified = any(query.args.get(k) is not None for k in (*_MODIFIERS, "with_"))
    return exp.Subquery(this=query) if modified and not isinstance(query, exp.Subquery) else query


def _wrapped(query: exp.SetOperation | exp.Subquery) -> exp.Select:
    """`a UNION b ORDER BY …` as `SELECT * FROM (a UNION b) ORDER BY …`."""
    outer = exp.Select(expressions=[exp.Star()])
    for key in _MODIFIERS:
        outer.set(key, query.args.get(key))
        query.set(key, None)
    source = query if isinstance(query, exp.Subquery) else exp.Subquery(this=query)
    if not source.alias:
        source.set("alias", exp.TableAlias(this=exp.to_identifier("u")))
    outer.set("from_", exp.From(this=source))
    return outer
