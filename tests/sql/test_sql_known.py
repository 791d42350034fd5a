"""Types that are told without DuckDB are those that DuckDB tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from cases import CASES, D, U
from sqlglot import exp, parse_one

from polar_llama.sqlfront import chaining, sql
from polar_llama.sqlfront.known import known_kinds
from polar_llama.sqlfront.syntax import source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
TABLES = {"t": "i BIGINT, q VARCHAR, v INTEGER, s STRUCT(q INTEGER), d DECIMAL(9,2)", "u": "i INTEGER, w VARCHAR"}


@pytest.mark.usefixtures("bench")
def test_in_every_case(monkeypatch: pytest.MonkeyPatch) -> None:
    told = 0

    def checked(select: exp.Select, items: Sequence[exp.Expr | None], columns_of: Any) -> list[str] | None:
        nonlocal told
        found = known_kinds(select, items, columns_of)
        if found is not None:
            scope, query = columns_of.__self__, source_of(select)
            query.set("expressions", [i.copy() for i in items if i is not None])
            assert [kind for _, kind in scope.describe(query)] == found
            told += 1
        return found

    monkeypatch.setattr(chaining, "known_kinds", checked)
    for _, query, *_ in CASES:
        sql(query, t=D, u=U)
    assert told > 200


@pytest.mark.parametrize(
    "query",
    [
        "SELECT q, i, v, t.d FROM t",
        "SELECT T.Q || 'x' || q, 'x' || upper(q), (lower(q)) FROM t",
        "SELECT v > 1, q IS NULL, NOT v > 1, v > 1 AND q = 'x' FROM t",
        "SELECT a.i, b.i, w FROM t a LEFT JOIN u b ON a.i = b.i",
        "SELECT x.n, x.q FROM (SELECT i AS n, q FROM t) x",
        "SELECT q FROM (SELECT i AS q FROM t WHERE v > 1 LIMIT 1) x",
        "SELECT t.q FROM t WHERE v > 1 ORDER BY i LIMIT 3",
    ],
)
def test_plain_to_see(query: str) -> None:
    assert told(query) == by_duckdb(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT v + 1 FROM t",
        "SELECT s.q FROM t",
        "SELECT 1 FROM t",
        "SELECT * FROM t",
        "SELECT q || v FROM t",
        "SELECT i FROM t JOIN u USING (i)",
        "SELECT q FROM t NATURAL JOIN u",
        "SELECT q FROM t AS t(q, i)",
        "SELECT q FROM (SELECT * FROM t) x",
        "SELECT q FROM (WITH t AS (SELECT 1 AS q) SELECT q FROM t) x",
        "SELECT q FROM t, LATERAL (SELECT 1) l",
        "SELECT x FROM unnest([1]) r(x)",
        "SELECT 'x'",
    ],
)
def test_left_to_duckdb(query: str) -> None:
    assert told(query) is None


def told(query: str) -> list[str] | None:
    select = parse_one(query, read="duckdb")
    assert isinstance(select, exp.Select)
    columns: Callable[[str], list[tuple[str, str]] | None] = {
        name: [(c.split()[0], c.split()[1]) for c in listed.split(", ")] for name, listed in TABLES.items()
    }.get
    return known_kinds(select, select.expressions, columns)


def by_duckdb(query: str) -> list[str]:
    with duckdb.connect(":memory:") as con:
        for name, columns in TABLES.items():
            con.execute(f"CREATE TABLE {name} ({columns})")
        return list(map(str, con.sql(query).types))
