"""Cutting a query: what DuckDB computes before anything is asked, the answers, and what it computes after.

Every SELECT that holds calls becomes one of two things. A *chain* is an inner query without calls, read
lazily, and ordinary Polars verbs on it: filters, a sort, a slice, a select. What a chain cannot hold
(grouping, windows over answers, DISTINCT) is *peeled*: a chain computes the answers, and DuckDB runs the
rest of the SELECT over that chain as over any table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import polars as pl
from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.frame.inference_frame import InferenceFrame
from polar_llama.sqlfront.calls import holds_call, is_call
from polar_llama.sqlfront.correlating import Domain, domain_of
from polar_llama.sqlfront.lowering import Lowering
from polar_llama.sqlfront.native import native
from polar_llama.sqlfront.pulling import asked_of, fill, pull, slots_of
from polar_llama.sqlfront.relation import Column, RelationScan, Stage
from polar_llama.sqlfront.resolving import Item, resolve, source_of, stubbed
from polar_llama.sqlfront.syntax import (
    all_of,
    conjuncts,
    fresh_column,
    holds_aggregate,
    holds_window,
    is_aggregate,
    is_constant,
    is_unit,
    is_value,
    is_volatile,
    is_windowed,
    outermost,
    text,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.sqlfront.planning import Planning

_SORTABLE = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "TIME"}
)
"""Types that Polars sorts as DuckDB does; enums, too."""


class Cutter:
    """Takes the calls out of one query, from the inside to the outside."""

    def __init__(self, planning: Planning) -> None:
        """Cut a query."""
        self.planning = planning
        self._ctes: list[exp.CTE] = []
        self._recursive = False
        self._domain: Domain | None = None

    def cut(self, query: exp.Query) -> Stage | exp.Query:
        """Take the calls out of a query.

        Returns:
            A frame and its columns, if nothing is left for DuckDB to do; else a query without calls.

        Raises:
            PlanError: If a call stands where it cannot be planned.
        """
        return self._query(query)

    def describe(self, query: exp.Query) -> list[tuple[str, str]]:
        """Names and types of a query without calls, its CTEs and the row around it being known."""
        if self._domain is not None and self._domain.is_read_by(query):
            query = self._domain.around(query)
        return self.planning.describe(text(self.with_ctes(query)))

    def with_ctes(self, query: exp.Query) -> exp.Query:
        """A query with the CTEs that it needs."""
        needed = _needed(query, self._ctes)
        if not needed:
            return query
        copy = query.copy()
        own = copy.args.get("with_")
        copy.set("with_", exp.With(expressions=[*(c.copy() for c in needed), *(own.expressions if own else [])]))
        copy.args["with_"].set("recursive", self._recursive or None)
        return copy

    # The walk: derived tables, subqueries and branches first.

    def _query(self, query: exp.Query) -> Stage | exp.Query:
        if not holds_call(query):
            return query
        domain = self._domain
        if domain is not None and not domain.is_read_by(query):
            self._domain = None
        try:
            return self._taken(query)
        finally:
            self._domain = domain

    def _taken(self, query: exp.Query) -> Stage | exp.Query:
        depth = len(self._ctes)
        with_ = query.args.get("with_")
        if with_ is not None:
            query.set("with_", None)
            self._cte_bodies(with_, query)
        match query:
            case exp.Select():
                found = self._select(query)
            case exp.SetOperation():
                found = self._set_operation(query)
            case exp.Subquery():
                found = self._parenthesised(query)
            case _:
                raise PlanError(f"a call inside {query.key.upper()} cannot be planned. Hint: SELECT it from a CTE instead")
        if with_ is not None and not isinstance(found, Stage):
            found.set("with_", with_)
        del self._ctes[depth:]
        return found

    def _cte_bodies(self, with_: exp.With, query: exp.Query) -> None:
        if with_.args.get("recursive"):
            self._recursive = True
        for number, cte in enumerate(with_.expressions):
            if any(c.alias.lower() == cte.alias.lower() for c in self._ctes):
                raise PlanError(f"the CTE name {cte.alias!r} is used twice, one inside the other. Hint: give one another name")
            if holds_call(cte.this):
                if with_.args.get("recursive") and cte.alias.lower() in {t.name.lower() for t in cte.this.find_all(exp.Table)}:
                    raise PlanError(
                        "a call inside a recursive CTE cannot be planned: what is asked would depend on every answer before. "
                        "Hint: compute the recursion first, and ask over its result"
                    )
                self._asked_where_read(cte, [query, *with_.expressions[number + 1 :]])
                cte.set("this", self.nested(cte.this))
            self._ctes.append(cte)

    def _asked_where_read(self, cte: exp.CTE, readers: list[exp.Expr]) -> None:
        """A CTE keeps its prompts; whoever reads it asks, as if it were a derived table."""
        if isinstance(cte.this, exp.Select):
            pull(cte.this, self.describe)
        slots = slots_of(cte.this)
        if slots is None or cte.args["alias"].args.get("columns") or cte.this.args.get("with_") is not None:
            return
        names = [name for name, _ in self.describe(stubbed(cte.this, self.planning))]  # type: ignore[arg-type]
        if len({n.lower() for n in names}) != len(names):
            return
        fill(cte.this, slots)
        columns = [exp.column(n, quoted=True) for n in names]
        items = [exp.alias_(asked_of(slots[c.name.lower()], c), c.name, quoted=True) if c.name.lower() in slots else c for c in columns]
        for reader in readers:
            for table in [t for t in reader.find_all(exp.Table) if t.name.lower() == cte.alias.lower() and not t.db]:
                alias = table.args.get("alias") or exp.TableAlias(this=table.this.copy())
                if alias.this is None:
                    alias.set("this", table.this.copy())
                query = exp.Select(expressions=[i.copy() for i in items]).from_(exp.to_table(cte.alias))
                derived = exp.Subquery(this=query, alias=alias.copy())
                for key in ("joins", "pivots", "sample"):
                    if table.args.get(key):
                        derived.set(key, table.args[key])
                table.replace(derived)

    def nested(self, query: exp.Query) -> exp.Query:
        """A query in a query, without calls; it keeps the names of its columns."""
        if not holds_call(query):
            return query
        found = self._query(query)
        if not isinstance(found, Stage):
            return found
        domain = self._domain if self._domain is not None and found.keys else None
        return self.planning.stage_query(found, [c.name for c in found.columns], domain)

    def _set_operation(self, query: exp.SetOperation) -> Stage | exp.Query:
        modifiers = [query.args.get(k) for k in ("order", "limit", "offset")]
        if any(holds_call(m) for m in modifiers if m is not None):
            return self._query(_wrapped(query))
        query.set("this", self.nested(query.this))
        query.set("expression", self.nested(query.expression))
        return query

    def _parenthesised(self, query: exp.Subquery) -> Stage | exp.Query:
        modified = any(query.args.get(k) is not None for k in ("order", "limit", "offset"))
        if not modified and not query.alias:
            return self._query(query.this)
        if any(holds_call(query.args.get(k)) for k in ("order", "limit", "offset")):
            raise PlanError("a call in the ORDER BY or LIMIT of a parenthesised query cannot be planned. Hint: leave the parentheses out")
        query.set("this", self.nested(query.this))
        return query

    def _select(self, select: exp.Select) -> Stage | exp.Query:
        pull(select, self.describe)
        self._sources(select)
        self._joins(select)
        self._subqueries(select)
        if not holds_call(select):
            return select
        items = resolve(self.planning, select, self.describe)
        return self._placed(select, items)

    def _sources(self, select: exp.Select) -> None:
        from_ = select.args.get("from_")
        sources = [*([from_] if from_ is not None else []), *(select.args.get("joins") or [])]
        for source in sources:
            for node in [source.this] if isinstance(source, exp.From | exp.Join) else []:
                self._source(node)

    def _source(self, node: exp.Expr) -> None:
        if not holds_call(node):
            return
        if any(holds_call(p) for p in node.args.get("pivots") or []):
            raise PlanError("a call inside PIVOT cannot be planned. Hint: ask in a CTE first and pivot its columns")
        if isinstance(node, exp.Subquery):
            node.set("this", self.nested(node.this))
            for join in node.args.get("joins") or []:
                self._source(join.this)
        elif isinstance(node, exp.Values):
            node.replace(_values(node, self))
        elif isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
            return  # see `_joins`: it may read the row around it
        else:
            raise PlanError(
                f"a call inside {node.key.upper()} in FROM cannot be planned. Hint: ask in a CTE first and use its column"
            )

    def _joins(self, select: exp.Select) -> None:
        """Calls in ON: of an inner join a filter above it, of a left join a lateral query, of a semi join EXISTS."""
        joins = select.args.get("joins") or []
        for i, join in enumerate(joins):
            condition = join.args.get("on")
            if not holds_call(condition):
                continue
            side, kind = join.side.upper(), join.kind.upper()
            padded = any(j.side.upper() in {"RIGHT", "FULL"} for j in joins[i + 1 :])
            if not side and kind in {"", "INNER"} and not join.method and not padded:
                parts = conjuncts(condition)
                join.set("on", all_of([p for p in parts if not holds_call(p)]) or exp.true())
                select.where(*[p.copy() for p in parts if holds_call(p)], copy=False)
            elif kind in {"SEMI", "ANTI"} and not side and i == len(joins) - 1:
                found = exp.Exists(this=exp.Select(expressions=[exp.Literal.number(1)]).from_(join.this).where(condition))
                select.where(found if kind == "SEMI" else exp.Not(this=found), copy=False)
                joins.pop()
            elif side == "LEFT" and kind in {"", "OUTER"} and not join.method:
                alias = join.this.alias_or_name
                query = exp.Select(expressions=[exp.Star()]).from_(join.this.copy()).where(condition)
                lateral = exp.Lateral(this=exp.Subquery(this=query), alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
                join.set("this", lateral)
                join.set("on", exp.true())
            else:
                name = " ".join(p for p in (join.method, side, kind, "JOIN") if p)
                raise PlanError(
                    f"a call in the ON of a {name} cannot be planned. Hint: ask in a CTE first, "
                    "WITH asked AS (SELECT *, llm_bool(...) AS a FROM t), and join on its column"
                )
        for i, join in enumerate(joins):
            if isinstance(join.this, exp.Lateral) and isinstance(join.this.this, exp.Subquery) and holds_call(join.this):
                around = source_of(select)
                around.set("joins", [j.copy() for j in joins[:i]])
                self._correlated(select, around, join.this.this)

    def _subqueries(self, select: exp.Select) -> None:
        """Queries in expressions that hold calls and can be computed on their own."""
        sources = {id(s.this) for s in (select.args.get("from_"), *(select.args.get("joins") or [])) if s is not None}
        found = [
            n for n in outermost(select, lambda n: isinstance(n, exp.Query) and n is not select and id(n) not in sources)
        ]
        for node in found:
            if not holds_call(node) or node.find_ancestor(exp.From, exp.Join, exp.Select) is not select:
                continue
            query = node.this if isinstance(node, exp.Subquery) else node
            if not self._describes(query):
                self._correlated(select, source_of(select), node)
                continue
            if isinstance(node.parent, exp.Exists) and query.args.get("limit") is None:
                query.set("limit", exp.Limit(expression=exp.Literal.number(1)))  # one row is enough
            if isinstance(node, exp.Subquery):
                node.set("this", self.nested(query))
            else:
                node.replace(self.nested(query))

    def _correlated(self, select: exp.Select, around: exp.Select, node: exp.Expr) -> None:
        """A query with calls that reads the row around it: asked for every different row there can be."""
        query = node.this if isinstance(node, exp.Subquery) else node
        if self._describes(query):
            node.set("this", self.nested(query))
            return
        if self._domain is not None:
            raise PlanError(
                "a call inside a correlated subquery of another one cannot be planned. "
                "Hint: ask in a CTE first and use its column"
            )
        where = select.args.get("where")
        free = [c for c in conjuncts(where.this if where is not None else None) if not holds_call(c) and not is_volatile(c)]
        self._domain = domain_of(query, around, free, self._means)
        try:
            if not self._describes(query):
                raise PlanError(
                    "this correlated subquery with a call cannot be planned. "
                    "Hint: write it as a JOIN, or ask in a CTE first and use its column"
                )
            result = self.nested(query)
        finally:
            self._domain = None
        if isinstance(node, exp.Subquery):
            node.set("this", result)
        else:
            node.replace(result)

    def _means(self, query: exp.Query) -> bool:
        """Whether DuckDB can describe a query, its calls aside."""
        try:
            self.planning.describe(text(self.with_ctes(stubbed(query, self.planning))))  # type: ignore[arg-type]
        except duckdb.Error:
            return False
        return True

    def _describes(self, query: exp.Query) -> bool:
        """Whether a query means something on its own."""
        try:
            self.describe(stubbed(query, self.planning))
        except duckdb.Error:
            return False
        return True

    # Placing: what the chain holds, and what is left for DuckDB.

    def _placed(self, select: exp.Select, items: list[Item]) -> Stage | exp.Query:
        group, distinct = select.args.get("group"), select.args.get("distinct")
        clauses = [*(i.expr for i in items), *(select.args.get(k) for k in ("having", "qualify", "order"))]
        if group is not None or any(holds_aggregate(c) for c in clauses if c is not None):
            return self._grouped(select, items)
        windows = any(holds_window(c) for c in clauses if c is not None)
        asked_first = holds_call(select.args.get("where"))
        if windows and (asked_first or any(holds_call(w) for c in clauses if c is not None for w in _windows(c))):
            return self._peeled(select, items, late=True)
        if distinct is not None:
            on = distinct.args.get("on")
            free = not any(holds_call(select.args.get(k)) for k in ("where", "qualify", "order")) and not holds_call(on)
            if on is None or not free:
                return self._peeled(select, items, late=on is not None)
        if any(_is_mixed(c) for c in [*clauses, select.args.get("where")] if c is not None):
            return self._peeled(select, items, late=False)
        filtered = asked_first or holds_call(select.args.get("qualify"))
        ordered = holds_call(select.args.get("order"))
        cut_short = any(select.args.get(k) is not None for k in ("order", "limit", "offset"))
        if self._domain is not None and (filtered or ordered) and cut_short:
            return self._peeled(select, items, late=False)  # a limit holds for each row around
        if (filtered or ordered) and not _is_slice(select, self.planning.parameters):
            return self._peeled(select, items, late=False)
        return self._chain(select, items)

    def _chain(self, select: exp.Select, items: list[Item]) -> Stage:
        where, qualify = (conjuncts(c.this) if (c := select.args.get(k)) else [] for k in ("where", "qualify"))
        asked = [c for c in [*where, *qualify] if holds_call(c)]
        body = _body(select, where, qualify)

        domain = self._domain if self._domain is not None and self._domain.is_read_by(select) else None
        if domain is not None and not asked:  # a limit holds for each row around
            for key in ("order", "limit", "offset"):
                body.set(key, select.args[key].copy() if select.args.get(key) is not None else None)

        def with_items(inner: Sequence[exp.Expr | None]) -> exp.Query:
            body.set("expressions", [e.copy() for e in inner if e is not None] or [exp.Literal.number(1)])
            return self.with_ctes(body if domain is None else domain.around(body))

        low = Lowering(
            self.planning, lambda inner: [kind for _, kind in self.planning.describe(text(with_items(inner)))][: len(inner)], eager=not asked
        )
        outputs = [low.rewrite(i.expr) for i in items]
        outputs = [low.hoist(o) if is_constant(o) else o for o in outputs]
        predicates = [low.rewrite(c, truth=True) for c in asked]
        order = select.args.get("order") if domain is None else None
        keys = [(k, low.rewrite(k.this)) for k in (order.expressions if order is not None else [])]
        sorted_after = any(holds_call(k) for k, _ in keys)
        if not low.inner:
            low.hoist(exp.Literal.number(1))
        low.prepare()
        suffix = "" if sorted_after or domain is not None else _suffix(keys, None if asked else select)
        query = with_items(low.inner)
        kinds = [low.kind(f"c{i}") for i in range(len(low.inner))]
        places = [f"c{len(kinds) + i}" for i in range(len(domain.references) if domain is not None else 0)]
        kinds += [kind for _, kind in self.planning.describe(text(query))][len(kinds) :]
        relation = self.planning.relation(query, kinds, suffix)
        frame = InferenceFrame._of(RelationScan(relation))
        for number, predicate in enumerate(predicates):
            frame = _filtered(frame, predicate, low, f"p{number}")
        if sorted_after:
            frame = _sorted(frame, keys, low)
        if asked or sorted_after:
            frame = _sliced(frame, select, self.planning.parameters)
        typed = [low.polars(o) for o in outputs]
        frame = frame.select(
            [*(t.expr.alias(f"o{i}") for i, t in enumerate(typed)), *(pl.col(p).alias(f"k{i}") for i, p in enumerate(places))]
        )
        types = self.planning.types
        columns = [Column(i.name, t.kind, types.dtype(t.kind), f"o{n}") for n, (i, t) in enumerate(zip(items, typed, strict=True))]
        around = [Column(f"k{i}", kinds[int(p[1:])], types.dtype(kinds[int(p[1:])]), f"k{i}") for i, p in enumerate(places)]
        return Stage(frame, tuple(columns), tuple(around))

    def _peeled(self, select: exp.Select, items: list[Item], *, late: bool, keys: Sequence[exp.Expr] = ()) -> Stage | exp.Query:
        """A chain for what is asked first, and the rest of the SELECT over it.

        `late` leaves the calls that only the result reads in the rest, to be asked after it.
        """
        peel = _Peel(self, keys=keys, late=late)
        where = select.args.get("where")
        mixed = [c for c in conjuncts(where.this) if _is_mixed(c)] if where is not None else []
        rest = select.copy()
        for key in ("from_", "joins", "laterals", "where", "sample"):
            rest.set(key, None)
        rest.set("expressions", [exp.alias_(peel.visit(i.expr), i.name, quoted=True) for i in items])
        distinct = select.args.get("distinct") is not None
        for key in ("group", "having", "qualify", "order", "distinct"):
            if select.args.get(key) is not None:
                rest.set(key, peel.visit(select.args[key], early=distinct))
        if mixed:
            rest.set("where", exp.Where(this=all_of([peel.visit(c) for c in mixed])))
        first = source_of(select)
        if select.args.get("sample") is not None:
            first.set("sample", select.args["sample"].copy())
        kept = all_of([c for c in conjuncts(where.this) if not _is_mixed(c)]) if where is not None else None
        if kept is not None:
            first.set("where", exp.Where(this=kept))
        peel.outputs = peel.outputs or [exp.Literal.number(1)]
        chain = self._chain(first, [Item(e, f"o{n}") for n, e in enumerate(peel.outputs)])
        domain = self._domain if chain.keys else None
        source = self.planning.stage_query(chain, [f"o{n}" for n in range(len(peel.outputs))], domain)
        rest.set("from_", exp.From(this=exp.Subquery(this=source, alias=exp.TableAlias(this=exp.to_identifier("r")))))
        if not holds_call(rest):
            return rest
        again = [Item(e.this, e.alias) for e in rest.expressions]
        rest.set("expressions", [i.expr for i in again])
        return self._placed(rest, again)

    def _grouped(self, select: exp.Select, items: list[Item]) -> Stage | exp.Query:
        """Calls over rows are peeled off below the grouping; calls over groups become a SELECT above it."""
        group = select.args.get("group")
        keys = _keys(group) if group is not None else []
        texts = {text(k) for k in keys}
        having = select.args.get("having")
        clauses = [*(i.expr for i in items), *(c for k in ("having", "qualify", "order") if (c := select.args.get(k)))]
        over_groups = any(_reads_groups(c, texts) for c in clauses)
        if not over_groups:
            return self._peeled(select, items, late=False, keys=keys)
        lift = _Lift(keys)
        outer = exp.Select(expressions=[lift.visit(i.expr) for i in items])
        parts = conjuncts(having.this) if having is not None else []
        asked = [c for c in parts if _reads_groups(c, texts)]
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
        free = all_of([c for c in parts if not _reads_groups(c, texts)])
        if free is not None:
            inner.set("having", exp.Having(this=free))
        outputs = [Item(e, f"g{n}") for n, e in enumerate(lift.outputs)] or [Item(exp.Literal.number(1), "g0")]
        inner.set("expressions", [exp.alias_(i.expr.copy(), i.name) for i in outputs])
        if holds_call(inner):
            found = self._peeled(inner, outputs, late=False, keys=keys)
            assert not isinstance(found, Stage)  # noqa: S101 -- grouping is DuckDB's
            inner = found  # type: ignore[assignment]
        outer.set("from_", exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier("g")))))
        return self._placed(outer, [Item(e, i.name) for e, i in zip(outer.expressions, items, strict=True)])


class _Peel:
    """Replaces what the chain below computes by its columns."""

    def __init__(self, cutter: Cutter, *, keys: Sequence[exp.Expr], late: bool) -> None:
        self.outputs: list[exp.Expr] = []
        self._cutter = cutter
        self._keys = {text(k) for k in keys}
        self._late = late
        self._names: dict[str, str] = {}

    def visit(self, node: exp.Expr, *, early: bool = False) -> exp.Expr:
        """A node over the columns of the chain; `early` below aggregates, windows and DISTINCT ON."""
        if is_value(node) and text(node) in self._keys and not is_constant(node):
            return self._output(node)
        if isinstance(node, exp.Any | exp.All) and isinstance(node.this, exp.Query):
            return self._beside_query(node, early=early)
        if not holds_call(node):
            if is_unit(node) and not isinstance(node, exp.Window):
                return self._output(node)
            return Lowering._mapped(node, lambda c: self.visit(c, early=early))
        early = early or isinstance(node, exp.Window | exp.Distinct) or is_aggregate(node) or not self._late
        if is_call(node) and not early:
            copy = node.copy()
            copy.set("expressions", [self.visit(node.expressions[0]), *(e.copy() for e in node.expressions[1:])])
            return copy
        grouped = bool(self._keys) or _in_aggregate_scope(node)
        if early and is_value(node) and not is_windowed(node) and self._is_row_wise(node) and (not grouped or _below_aggregate(node) or is_call(node)):
            return self._output(node)
        if isinstance(node, exp.In | exp.Any | exp.All | exp.Exists | exp.Query) and not is_call(node):
            return self._beside_query(node, early=early)
        return Lowering._mapped(node, lambda c: self.visit(c, early=early))

    def _beside_query(self, node: exp.Expr, *, early: bool) -> exp.Expr:
        def change(child: exp.Expr) -> exp.Expr:
            if isinstance(child, exp.Query):
                query = child.this if isinstance(child, exp.Subquery) else child
                if not self._cutter._describes(query):
                    raise PlanError(
                        "a call beside a correlated subquery cannot be planned. "
                        "Hint: ask in a CTE first and use its column"
                    )
                return child.copy()
            return self.visit(child, early=early)

        return Lowering._mapped(node, change)

    @staticmethod
    def _is_row_wise(node: exp.Expr) -> bool:
        return not (holds_aggregate(node) or holds_window(node) or _is_mixed(node))

    def _output(self, node: exp.Expr) -> exp.Expr:
        key = text(node)
        if key not in self._names:
            self._names[key] = f"o{len(self.outputs)}"
            self.outputs.append(node.copy())
        return fresh_column(self._names[key], "r")


class _Lift:
    """Replaces group keys and aggregates by columns of the grouped query below."""

    def __init__(self, keys: Sequence[exp.Expr]) -> None:
        self.outputs: list[exp.Expr] = []
        self._keys = {text(k) for k in keys}
        self._names: dict[str, str] = {}

    def visit(self, node: exp.Expr) -> exp.Expr:
        key = text(node)
        whole = (is_value(node) and key in self._keys and not is_constant(node)) or is_aggregate(node)
        if whole or (is_unit(node) and not holds_call(node) and not isinstance(node, exp.Window)):
            if key not in self._names:
                self._names[key] = f"g{len(self.outputs)}"
                self.outputs.append(node.copy())
            return fresh_column(self._names[key], "g")
        return Lowering._mapped(node, self.visit)


def _needed(query: exp.Expr, ctes: list[exp.CTE]) -> list[exp.CTE]:
    """The CTEs that a query reads, and those that they read."""
    names = {t.name.lower() for t in query.find_all(exp.Table) if not t.db}
    found: list[exp.CTE] = []
    for cte in reversed(ctes):
        if cte.alias.lower() in names:
            found.append(cte)
            names |= {t.name.lower() for t in cte.this.find_all(exp.Table) if not t.db}
    return found[::-1]


def _wrapped(query: exp.SetOperation) -> exp.Select:
    """`a UNION b ORDER BY …` as `SELECT * FROM (a UNION b) ORDER BY …`."""
    outer = exp.Select(expressions=[exp.Star()])
    for key in ("order", "limit", "offset"):
        outer.set(key, query.args.get(key))
        query.set(key, None)
    outer.set("from_", exp.From(this=exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier("u")))))
    return outer


def _values(node: exp.Values, cutter: Cutter) -> exp.Expr:
    """`VALUES` with calls as a UNION ALL of SELECTs, one a row."""
    rows = [exp.Select(expressions=[e.copy() for e in (row.expressions if isinstance(row, exp.Tuple) else [row])]) for row in node.expressions]
    for row in rows:
        row.set("expressions", [exp.alias_(e, f"col{i}") for i, e in enumerate(row.expressions)])
    query: exp.Query = rows[0]
    for row in rows[1:]:
        query = exp.union(query, row, distinct=False, copy=False)
    return exp.Subquery(this=cutter.nested(query), alias=node.args.get("alias"))


def _windows(node: exp.Expr) -> list[exp.Expr]:
    return [n for n in walk(node) if isinstance(n, exp.Window)]


def _is_mixed(node: exp.Expr) -> bool:
    """Whether a call stands beside a table subquery in one predicate: `llm(q) IN (SELECT …)`."""
    return any(
        isinstance(n, exp.In | exp.Any | exp.All)
        and (n.args.get("query") is not None or isinstance(n, exp.Any | exp.All))
        and holds_call(n.parent if isinstance(n, exp.Any | exp.All) else n)
        for n in walk(node)
    )


def _literal(node: exp.Expr | None, parameters: object) -> int | None:
    if node is None:
        return None
    value = node.args.get("expression")
    if isinstance(value, exp.Literal) and value.is_int and node.args.get("limit_options") is None:
        return int(value.name)
    if isinstance(value, exp.Placeholder) and isinstance(parameters, dict):
        found = parameters.get(str(value.this))
        return found if isinstance(found, int) and not isinstance(found, bool) else None
    return None


def _is_slice(select: exp.Select, parameters: object) -> bool:
    """Whether LIMIT and OFFSET, where given, are plain numbers."""
    given = [c for k in ("limit", "offset") if (c := select.args.get(k)) is not None]
    return all(_literal(c, parameters) is not None for c in given)


def _filtered(frame: InferenceFrame, predicate: exp.Expr, low: Lowering, name: str) -> InferenceFrame:
    typed = low.polars(predicate)
    if typed.kind == "BOOLEAN" and native(predicate, low.known) is not None:
        return frame.filter(typed.expr)  # type: ignore[return-value]
    if typed.kind != "BOOLEAN":
        typed = low.polars(exp.cast(predicate.copy(), "boolean"))
    # In a column of its own: Polars hands filters to sources as bytes, and a function is none.
    return frame.with_columns(typed.expr.alias(name)).filter(pl.col(name))  # type: ignore[return-value]


def _sliced(frame: InferenceFrame, select: exp.Select, parameters: object) -> InferenceFrame:
    length, offset = (_literal(select.args.get(k), parameters) for k in ("limit", "offset"))
    if length is None and offset is None:
        return frame
    return frame.slice(offset or 0, length)  # type: ignore[return-value]


def _sorted(frame: InferenceFrame, keys: Sequence[tuple[exp.Expr, exp.Expr]], low: Lowering) -> InferenceFrame:
    found = [low.polars(rewritten) for _, rewritten in keys]
    odd = [t.kind for t in found if t.kind not in _SORTABLE and not t.kind.startswith("ENUM(")]
    if odd:
        raise PlanError(f"ORDER BY on an answer of type {odd[0]} cannot be planned. Hint: order by a field of it, or by its text")
    return frame.sort(  # type: ignore[return-value]
        [t.expr for t in found],
        descending=[bool(k.args.get("desc")) for k, _ in keys],
        nulls_last=[not k.args.get("nulls_first") for k, _ in keys],
        maintain_order=True,
    )


def _suffix(keys: Sequence[tuple[exp.Expr, exp.Expr]], select: exp.Select | None) -> str:
    ordered = []
    for key, rewritten in keys:
        copy = key.copy()
        copy.set("this", rewritten)
        ordered.append(text(copy))
    parts = [" ORDER BY " + ", ".join(ordered)] if ordered else []
    for name in ("limit", "offset"):
        clause = select.args.get(name) if select is not None else None
        if clause is not None:
            parts.append(" " + text(clause).strip())
    return "".join(parts)


def _body(select: exp.Select, where: Sequence[exp.Expr], qualify: Sequence[exp.Expr]) -> exp.Select:
    """The SELECT without calls: its FROM, and the conditions that read no answer."""
    body = select.copy()
    for key in ("where", "qualify", "limit", "offset"):
        body.set(key, None)
    if select.args.get("distinct") is None:
        body.set("order", None)
    else:
        for key in ("limit", "offset"):
            body.set(key, select.args[key].copy() if select.args.get(key) is not None else None)
    free = all_of([c for c in where if not holds_call(c)])
    if free is not None:
        body.set("where", exp.Where(this=free))
    free = all_of([c for c in qualify if not holds_call(c)])
    if free is not None:
        body.set("qualify", exp.Qualify(this=free))
    return body


def _keys(group: exp.Expr) -> list[exp.Expr]:
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


def _reads_groups(node: exp.Expr, keys: set[str]) -> bool:
    """Whether a call is asked once a group: one that is no key and stands in no aggregate."""
    return any(is_call(n) for n in outermost(node, lambda n: text(n) in keys or is_aggregate(n) or is_call(n)) if text(n) not in keys)


def _below_aggregate(node: exp.Expr) -> bool:
    parent = node.parent
    while parent is not None and not isinstance(parent, exp.Query):
        if is_aggregate(parent):
            return True
        parent = parent.parent
    return False


def _in_aggregate_scope(node: exp.Expr) -> bool:
    return _below_aggregate(node)

