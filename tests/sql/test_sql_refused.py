"""What cannot be planned is refused before anything is asked, by a message that names a way around."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb
import pytest

from polar_llama.errors import PlanError

if TYPE_CHECKING:
    from sql_kit import Bench

REFUSED: tuple[tuple[str, str], ...] = (
    ("PIVOT t ON llm(q) USING sum(i)", "PIVOT"),
    ("PIVOT t ON g USING sum(i)", "PIVOT"),
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
    ("SELECT * FROM range(llm('3', returns := 'BIGINT'))", "FROM"),
    ("SELECT i FROM t LIMIT llm('3', returns := 'BIGINT')", "LIMIT"),
    (
        """SELECT i FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.i = t.i
           AND EXISTS (SELECT 1 FROM u AS x WHERE x.n > u.n AND llm_bool(x.w || u.w)))""",
        "correlated subquery",
    ),
    (
        "WITH x AS (SELECT i FROM t) SELECT * FROM (WITH x AS (SELECT llm(q) AS a FROM t) SELECT * FROM x), x",
        "CTE name",
    ),
    ("SELECT g, (SELECT llm(string_agg(w, '')) FROM u WHERE u.n > max(t.v)) FROM t GROUP BY g", "correlated subquery"),
    ("SELECT i, (VALUES (llm(q))) FROM t", "VALUES"),
    ("SELECT unnest(llm(q, returns := 'STRUCT(a VARCHAR, b VARCHAR)')) FROM t", "unnest"),
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
    ("SELECT 1; SELECT 2", "one SELECT"),
    ("CREATE TABLE x AS SELECT llm(q) FROM t", "one SELECT"),
    ("", "one SELECT"),
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
