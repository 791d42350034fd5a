"""What cannot be planned is refused before anything is asked, by a message that names a way around."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb
import pytest
from polars.exceptions import PolarsError

from polar_llama.errors import PlanError

if TYPE_CHECKING:
    from sql_kit import Bench

REFUSED: tuple[tuple[str, str], ...] = (
    ("PIVOT t ON llm(q) USING sum(i)", "a call inside PIVOT"),
    ("PIVOT t ON g IN (llm(q)) USING sum(i)", "a call inside PIVOT"),
    ("PIVOT t ON g USING sum(i)", "PIVOT"),
    ("PIVOT t ON g IN ('x') USING sum(i) ORDER BY 1", "cannot be read"),
    ("SELECT * FROM t PIVOT (sum(i) FOR q IN (llm('a')))", "PIVOT"),
    (
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE llm_bool(n::VARCHAR)) SELECT * FROM r",
        "recursive CTE",
    ),
    ("SELECT list_transform([q], lambda x: llm(x)) FROM t", "lambda"),
    ("SELECT [llm(x) FOR x IN [q]] FROM t", "comprehension"),
    ("SELECT t.i FROM t RIGHT JOIN u ON t.i = u.i AND llm_bool(t.q)", "RIGHT JOIN"),
    ("SELECT t.i FROM t FULL JOIN u ON t.i = u.i AND llm_bool(t.q)", "FULL JOIN"),
    ("SELECT t.i FROM t JOIN u ON llm_bool(t.q) RIGHT JOIN u AS x ON x.i = t.i", "JOIN"),
    ("SELECT * FROM range(llm('3', returns := 'BIGINT'))", "the arguments of range() in FROM"),
    ("SELECT * FROM read_csv(llm('x.csv'))", "the arguments of read_csv() in FROM"),
    ("SELECT t.i FROM t JOIN u ON t.i = u.i AND llm_bool(t.q) POSITIONAL JOIN u AS x", "JOIN"),
    ("SELECT * FROM (t JOIN u ON t.i = u.i AND llm_bool(q))", "join in parentheses"),
    ("SELECT z.i FROM u AS z SEMI JOIN (SELECT i, {'i': 9} AS z FROM t) x ON x.i = z.i AND llm_bool(z.w)", "'z' is a"),
    ("SELECT z.i FROM u AS z LEFT JOIN (SELECT i, {'i': 9} AS z FROM t) x ON x.i = z.i AND llm_bool(z.w)", "'z' is a"),
    ("SELECT array(SELECT llm(w) FROM u WHERE u.i = t.i ORDER BY n) FROM t", "ORDER BY"),
    ("SELECT (SELECT list(a) FROM (SELECT llm(w) AS a FROM u WHERE u.i = t.i ORDER BY n)) FROM t", "ORDER BY"),
    ("SELECT i FROM t LIMIT llm('3', returns := 'BIGINT')", "LIMIT"),
    (
        """SELECT i FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.i = t.i
           AND EXISTS (SELECT 1 FROM u AS x WHERE x.n > u.n AND llm_bool(x.w || u.w)))""",
        "correlated subquery",
    ),
    (
        """WITH x AS (SELECT i, q, random() AS r FROM t), y AS (SELECT i, r, llm(q) AS a FROM x),
           z AS (SELECT i, r, llm('z' || q) AS b FROM x) SELECT max(a), max(b) FROM y JOIN z ON y.r = z.r""",
        "random values",
    ),
    (
        "SELECT (SELECT llm(w || r) FROM u WHERE u.i = d.i) FROM (SELECT i, random()::VARCHAR AS r FROM t) AS d",
        "random values",
    ),
    ("SELECT g, (SELECT max(n) FROM u WHERE u.w > t.g), max(llm(q)) FROM t GROUP BY g", "correlated subquery"),
    (
        "WITH x AS (SELECT i FROM t) SELECT * FROM (WITH x AS (SELECT llm(q) AS a FROM t) SELECT * FROM x), x",
        "CTE name",
    ),
    ("SELECT g, (SELECT llm(string_agg(w, '')) FROM u WHERE u.n > max(t.v)) FROM t GROUP BY g", "correlated subquery"),
    ("SELECT i, (VALUES (llm(q))) FROM t", "VALUES"),
    ("SELECT unnest(llm(q, returns := 'STRUCT(a VARCHAR, b VARCHAR)')) FROM t", "unnest"),
    ("SELECT unnest([llm(q), 'x']), unnest([g]) FROM t", "beside another unnest()"),
    ("SELECT unnest([llm(q), 'x']) || upper(unnest([g])) FROM t", "beside another unnest()"),
    ("SELECT generate_subscripts([llm(q), 'x'], 1) FROM t", "generate_subscripts"),
    ("SELECT i, regexp_split_to_table(llm(q), ' ') FROM t", "regexp_split_to_table"),
    ("SELECT g, unnest([1, 2]), max(llm(q)) FROM t GROUP BY g, unnest([1, 2])", "unnest() in GROUP BY"),
    ("SELECT unnest([1, 2]), row_number() OVER (ORDER BY llm(q)) FROM t", "beside a window function"),
    ("SELECT unnest([g, 'x']) FROM t WHERE llm_bool(q) QUALIFY row_number() OVER (ORDER BY i) < 3", "beside a window"),
)

WRONG: tuple[tuple[str, str], ...] = (
    ("SELECT llm() FROM t", "one prompt"),
    ("SELECT llm(q, 'BOOLEAN') FROM t", "options by name"),
    ("SELECT llm(q, colour := 'red') FROM t", "no option 'colour'"),
    ("SELECT llm_bool(q, returns := 'BOOLEAN') FROM t", "no option 'returns'"),
    ("SELECT llm(q, returns := 'NOSUCH') FROM t", "not a DuckDB type"),
    ("SELECT llm(q, returns := 'VARCHAR); DROP TABLE t; --') FROM t", "not a DuckDB type"),
    ("SELECT llm(q, returns := 'INTERVAL') FROM t", "cannot be of that type"),
    ("SELECT llm(q, returns := 3) FROM t", "text of a DuckDB type"),
    ("SELECT llm(q, model := q) FROM t", "must be constant"),
    ("SELECT llm(q, temperature := 9) FROM t", "number from 0 to 2"),
    ("SELECT llm(q, options := 'no json') FROM t", "JSON object"),
    ("SELECT llm(q, on_error := 'shrug') FROM t", "on_error"),
    ("SELECT llm_class(q) FROM t", "list of labels"),
    ("SELECT llm_class(q, []) FROM t", "different texts"),
    ("SELECT llm_class(q, ['a', 'a']) FROM t", "different texts"),
    ("SELECT llm_class(q, [g]) FROM t", "must be constant"),
    ("SELECT llm(q FROM t", "cannot be read"),
    ("SELECT 1; SELECT 2", "several statements"),
    ("SELECT * FROM", "but got the end of the query"),
    ("SELECT i FROM t WHERE WHERE llm_bool(q)", "something is missing"),
    ("SELECT llm('a secret", "a quote or a comment in it is not closed"),
    ("CREATE TABLE x AS SELECT llm(q) FROM t", "a query is one SELECT"),
    ("", "a query is one SELECT"),
    ("EXPLAIN SELECT llm(q) FROM t", "a query is one SELECT"),
    ("-- nothing", "a query is one SELECT"),
    ("SELECT main.llm(q) FROM t", "write llm(prompt)"),
    ("SELECT q.llm_bool() FROM t", "write llm_bool(prompt)"),
    ("SELECT * FROM llm('x')", "llm() is no table"),
    ("SELECT * FROM t, llm_bool(t.q)", "llm_bool() is no table"),
    ("SELECT llm(DISTINCT q) FROM t", "a function of one row"),
    ("SELECT llm(q ORDER BY i) FROM t", "a function of one row"),
    ("SELECT llm(*) FROM t", "a function of one row"),
    ("SELECT llm(q) OVER (PARTITION BY g) FROM t", "a function of one row"),
    ("SELECT llm(q) FILTER (WHERE v > 1) FROM t", "a function of one row"),
    ("SELECT llm(q, returns := 'MAP(VARCHAR, INTEGER)') FROM t", "cannot be of that type"),
)


@pytest.mark.parametrize(("query", "construct"), REFUSED, ids=[query for query, _ in REFUSED])
def test_refused_with_a_way_around(bench: Bench, query: str, construct: str) -> None:
    with pytest.raises(PlanError, match=rf"(?s){re.escape(construct)}.*Hint: "):
        bench.ours(query)
    assert not bench.oracle.asked


@pytest.mark.parametrize(("query", "reason"), WRONG, ids=[query for query, _ in WRONG])
def test_a_wrong_call_says_what_is_right(bench: Bench, query: str, reason: str) -> None:
    with pytest.raises(PlanError, match=re.escape(reason)):
        bench.ours(query)
    assert not bench.oracle.asked


@pytest.mark.parametrize(
    "query",
    [
        "SELECT llm(nope) FROM t",
        "SELECT llm(q) FROM nope",
        "SELECT llm(i) FROM t JOIN u ON t.i = u.i",
        "SELECT llm(q), count(*) FROM t GROUP BY g",
        "SELECT nosuch(llm(q)) FROM t",
        "SELECT llm(q) + 1 FROM t WHERE i = {",
    ],
)
def test_what_duckdb_refuses_is_refused_by_duckdb(bench: Bench, query: str) -> None:
    with pytest.raises((duckdb.Error, PlanError)) as caught:
        bench.ours(query)
    assert "polar_llama_table" not in str(caught.value)
    assert not bench.oracle.asked


def test_a_parameter_that_the_query_has_not_is_refused(bench: Bench) -> None:
    query = "SELECT llm(q) FROM t WHERE i = $a"
    with pytest.raises(PlanError, match=r"no parameter \$b"):
        bench.ours(query, parameters={"a": 1, "b": 2})
    with pytest.raises(duckdb.Error, match="not provided"):
        bench.ours(query)
    with pytest.raises(PlanError, match=r"no parameter \$2, \$3"):
        bench.ours("SELECT llm(q) FROM t WHERE i = ?", parameters=[1, 2, 3])


@pytest.mark.parametrize(
    "query", ["SELECT i FROM t WHERE llm_bool(q) AND q::INT > 0", "SELECT i FROM t WHERE (llm(q) || 'x')::INT > 0"]
)
def test_an_error_while_running_shows_no_query_of_ours(bench: Bench, query: str) -> None:
    with pytest.raises((duckdb.Error, PolarsError), match="Could not convert") as caught:
        bench.ours(query)
    assert "polar_llama" not in str(caught.value)
    assert "LINE 1" not in str(caught.value)


def test_nothing_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PlanError):
        bench.ours("EXPLAIN SELECT llm(q) FROM t")
    assert not caplog.records
