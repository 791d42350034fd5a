"""Correlated subqueries: what they read of the row around them, as a table of its own.

`(SELECT llm(u.w || t.q) FROM u WHERE u.i = t.i)` is asked once for every different `(t.q, t.i)`: the
*domain*. The subquery runs beside the domain, laterally; what comes out says for which row it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.syntax import all_of, named, source_of
from polar_llama.sqlfront.writing import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AROUND = "polar_llama_around"


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """The different rows around a correlated subquery, as far as it reads them.

    Attributes:
        query: Gives them, as columns `d0, d1, …`.
        references: How the subquery named them.
    """

    query: exp.Select
    references: tuple[exp.Column, ...]

    def is_read_by(self, query: exp.Expr) -> bool:
        """Whether a query reads the row around it."""
        return any(c.table == AROUND for c in query.find_all(exp.Column))

    def restored(self, query: exp.Query) -> exp.Query:
        """A query whose references to the row around it are as they were written, in place."""
        for column in [c for c in query.find_all(exp.Column) if c.table == AROUND]:
            column.replace(self.references[int(column.name[1:])].copy())
        return query

    def around(self, query: exp.Expr) -> exp.Select:
        """A query run for every row of the domain: its columns, then the domain's."""
        inner = exp.Subquery(this=query.copy())
        found = exp.Select(expressions=[exp.column(exp.Star(), table="x"), exp.column(exp.Star(), table=AROUND)])
        found.set(
            "from_",
            exp.From(this=exp.Subquery(this=self.query.copy(), alias=exp.TableAlias(this=exp.to_identifier(AROUND)))),
        )
        lateral = exp.Lateral(this=inner, alias=exp.TableAlias(this=exp.to_identifier("x")))
        found.set("joins", [exp.Join(this=lateral, kind="CROSS")])
        return found


def domain_of(
    query: exp.Query, around: exp.Select, conditions: Sequence[exp.Expr], means: Callable[[exp.Query], bool]
) -> Domain:
    """Find what a subquery reads of the row around it, and rename that in place.

    Args:
        query: The subquery.
        around: The FROM around it, with nothing selected.
        conditions: Conditions on that FROM that hold whatever is asked.
        means: Whether DuckDB can describe a query.
    """
    references: dict[str, exp.Column] = {}
    for column in list(query.find_all(exp.Column)):
        if isinstance(column.this, exp.Star) or not _is_outer(column, query, around, means):
            continue
        key = text(column).lower()
        references.setdefault(key, column.copy())
        column.replace(exp.column(f"d{list(references).index(key)}", table=AROUND))
    domain = around.copy()
    domain.set("expressions", [named(r.copy(), f"d{i}") for i, r in enumerate(references.values())])
    domain.set("distinct", exp.Distinct())
    kept = [c for c in conditions if c.find(exp.Query) is None and means(around.copy().select("1").where(c.copy()))]
    condition = all_of(kept)
    if condition is not None:
        domain.set("where", exp.Where(this=condition))
    return Domain(domain, tuple(references.values()))


def _is_outer(column: exp.Column, query: exp.Query, around: exp.Select, means: Callable[[exp.Query], bool]) -> bool:
    """Whether a column is none of the FROMs between it and the row around, but one of that row's."""
    scope = column.find_ancestor(exp.Select)
    while scope is not None:
        if scope.args.get("from_") is not None and means(source_of(scope).select(column.copy())):
            return False
        if scope is query:
            break
        scope = scope.find_ancestor(exp.Select)
    return means(around.copy().select(column.copy()))
