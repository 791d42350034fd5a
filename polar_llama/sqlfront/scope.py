"""What is known around a SELECT: the CTEs it may read, and the row around it if it is a correlated subquery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.sqlfront.known import known_columns
from polar_llama.sqlfront.resolving import stubbed
from polar_llama.sqlfront.syntax import is_volatile
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import nulls, spent, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polar_llama.sqlfront.correlating import Domain
    from polar_llama.sqlfront.planning import Planning


@dataclass(slots=True, eq=False)
class Visible:
    """A CTE, without calls, that later parts of the query may read.

    Attributes:
        name: Its name, in lower case.
        text: Its SQL.
        reads: The names it reads, in lower case.
        volatile: Whether it gives other rows each time it is computed.
        columns: Names and types of its columns, where they are known.
        outline: SQL of a CTE with the same name and columns, and no more in it; None where there is none.
        computed: In how many pieces of the query it is computed.
    """

    name: str
    text: str
    reads: frozenset[str]
    volatile: bool
    columns: Sequence[tuple[str, str]] | None = None
    outline: str | None = None
    computed: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """The SQL of a query without the CTEs around it.

    Attributes:
        text: The query, without CTEs.
        reads: The names it reads, in lower case.
        ctes: Its own CTEs.
        recursive: Whether one of these may be recursive.
    """

    text: str
    reads: frozenset[str]
    ctes: tuple[str, ...] = ()
    recursive: bool = False


class Scope:
    """Grows and shrinks while a query is walked.

    Attributes:
        planning: The query.
        ctes: The CTEs that are visible.
        recursive: Whether one of them is recursive.
        domain: The row around, inside a correlated subquery.
    """

    def __init__(self, planning: Planning) -> None:
        """Start outside of everything."""
        self.planning = planning
        self.ctes: list[Visible] = []
        self.recursive = False
        self.domain: Domain | None = None

    def domain_of(self, query: exp.Expr) -> Domain | None:
        """The domain, if a query reads it."""
        return self.domain if self.domain is not None and self.domain.is_read_by(query) else None

    def is_volatile(self, query: exp.Expr) -> bool:
        """Whether a query gives other rows each time it is computed, by itself or by a CTE that it reads."""
        random = {c.name for c in self.ctes if c.volatile}
        return is_volatile(query) or bool(random and random & names_in(query))

    def compute(self, reads: frozenset[str]) -> None:
        """Note that a piece of the query computes the CTEs it reads.

        Raises:
            PlanError: If that would give others rows than another piece sees.
        """
        read = set(reads)
        for cte in reversed(self.ctes):
            if cte.name not in read:
                continue
            read |= cte.reads
            cte.computed += 1
            if cte.volatile and cte.computed > 1:
                raise PlanError(
                    f"the CTE {cte.name!r} holds random values, and this query would compute it more than once. "
                    "Hint: compute it first, CREATE TABLE ... AS, or as a frame, and read that"
                )

    def add(self, cte: exp.CTE, *, volatile: bool, outlined: bool) -> None:
        """From here on a CTE is visible; what is read once is described as fast with its reader as `outlined`."""
        piece, alias = self.piece(cte.this), cte.args["alias"]
        whole = exp.CTE(**{**cte.args, "this": exp.var(self._with(piece.ctes, piece)), "alias": alias.copy()})
        found = Visible(cte.alias.lower(), spent(whole), piece.reads, volatile)
        if outlined and not self.recursive:
            names = [i.name for i in alias.args.get("columns") or []]
            columns = known_columns(cte.this, self.columns_of) or self.described(piece)
            found.columns = [(names[i] if i < len(names) else n, kind) for i, (n, kind) in enumerate(columns)]
            found.outline = f"{text(alias.this)} AS ({nulls(found.columns)})"
        self.ctes.append(found)

    def piece(self, query: exp.Query, *, spend: bool = False) -> Piece:
        """A query and what it reads; with `spend`, the query is not needed any more."""
        reads, own = names_in(query), query.args.get("with_")
        if own is None:
            return Piece((spent if spend else text)(query), reads)
        bare = query.copy()
        bare.set("with_", None)
        return Piece(spent(bare), reads, tuple(map(text, own.expressions)), bool(own.args.get("recursive")))

    def sql(self, piece: Piece, *, brief: bool = False) -> str:
        """The SQL of a query with the CTEs that it needs; in `brief`, only what it takes to learn its columns."""
        return self._with([*self._needed(piece.reads, brief=brief), *piece.ctes], piece)

    def _with(self, ctes: Sequence[str], piece: Piece) -> str:
        if not ctes:
            return piece.text
        return f"WITH {'RECURSIVE ' if piece.recursive or self.recursive else ''}{', '.join(ctes)} {piece.text}"

    def _needed(self, names: frozenset[str], *, brief: bool) -> list[str]:
        """The CTEs that a query reads, and those that they read."""
        read = set(names)
        found: list[str] = []
        for cte in reversed(self.ctes):
            if cte.name in read:
                outline = cte.outline if brief else None
                found.append(outline or cte.text)
                read |= frozenset() if outline else cte.reads
        return found[::-1]

    def describe(self, query: exp.Query) -> list[tuple[str, str]]:
        """Names and types of a query without calls.

        Raises:
            duckdb.Error: What DuckDB says of the query.
        """
        domain = self.domain_of(query)
        return self.described(self.piece(query if domain is None else domain.around(query), spend=domain is not None))

    def columns_of(self, table: str) -> Sequence[tuple[str, str]] | None:
        """Names and types of the columns of a CTE or a frame, by its name in lower case, where they are known."""
        for cte in reversed(self.ctes):
            if cte.name == table:
                return cte.columns
        return self.planning.columns_of(table)

    def described(self, piece: Piece) -> list[tuple[str, str]]:
        """The same of a query that reads no row around it."""
        try:
            return self.planning.describe(self.sql(piece, brief=True))
        except duckdb.Error:  # a type whose name DuckDB does not read, or an error to tell as it is
            return self.planning.describe(self.sql(piece))

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


def reads_itself(cte: exp.CTE) -> bool:
    """Whether a CTE of WITH RECURSIVE is recursive: a set operation that reads its own name."""
    return isinstance(cte.this.unnest(), exp.SetOperation) and cte.alias.lower() in names_in(cte.this)


def names_in(query: exp.Expr) -> frozenset[str]:
    """The names of tables that a query reads, in lower case."""
    return frozenset(table_names(query))


def table_names(query: exp.Expr) -> Iterator[str]:
    """The names of tables wherever a query reads one, in lower case."""
    return (t.name.lower() for t in walk(query, nested=True) if isinstance(t, exp.Table) and not t.db)
