"""What is known around a SELECT: the CTEs it may read, and the row around it if it is a correlated subquery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from polar_llama.sqlfront.resolving import stubbed
from polar_llama.sqlfront.syntax import text

if TYPE_CHECKING:
    from polar_llama.sqlfront.correlating import Domain
    from polar_llama.sqlfront.planning import Planning


class Scope:
    """Grows and shrinks while a query is walked.

    Attributes:
        planning: The query.
        ctes: The CTEs that are visible, without calls.
        recursive: Whether one of them is recursive.
        domain: The row around, inside a correlated subquery.
    """

    def __init__(self, planning: Planning) -> None:
        """Start outside of everything."""
        self.planning = planning
        self.ctes: list[exp.CTE] = []
        self.recursive = False
        self.domain: Domain | None = None

    def domain_of(self, query: exp.Expr) -> Domain | None:
        """The domain, if a query reads it."""
        return self.domain if self.domain is not None and self.domain.is_read_by(query) else None

    def with_ctes(self, query: exp.Query) -> exp.Query:
        """A query with the CTEs that it needs."""
        needed = _needed(query, self.ctes)
        if not needed:
            return query
        copy = query.copy()
        own = copy.args.get("with_")
        every = [*(c.copy() for c in needed), *(own.expressions if own is not None else [])]
        copy.set("with_", exp.With(expressions=every, recursive=self.recursive or None))
        return copy

    def describe(self, query: exp.Query) -> list[tuple[str, str]]:
        """Names and types of a query without calls.

        Raises:
            duckdb.Error: What DuckDB says of the query.
        """
        domain = self.domain_of(query)
        return self.planning.describe(text(self.with_ctes(query if domain is None else domain.around(query))))

    def means(self, query: exp.Query, *, around: bool = True) -> bool:
        """Whether DuckDB can describe a query, its calls aside; `around` lets it read the row around it."""
        domain = self.domain
        if not around:
            self.domain = None
        try:
            self.describe(stubbed(query, self.planning))
        except duckdb.Error:
            return False
        finally:
            self.domain = domain
        return True


def _needed(query: exp.Expr, ctes: list[exp.CTE]) -> list[exp.CTE]:
    """The CTEs that a query reads, and those that they read."""
    names = {t.name.lower() for t in query.find_all(exp.Table) if not t.db}
    found: list[exp.CTE] = []
    for cte in reversed(ctes):
        if cte.alias.lower() in names:
            found.append(cte)
            names |= {t.name.lower() for t in cte.this.find_all(exp.Table) if not t.db}
    return found[::-1]
