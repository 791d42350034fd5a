"""How little is asked: 1,000 rows with 100 different questions, ten of them in each of ten categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

from polar_llama.frame.llm import llm
from polar_llama.frame.looking import estimate, explain
from polar_llama.sqlfront import sql

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from sql_kit import Oracle

ROWS = pl.DataFrame({"i": range(1000)}).with_columns(
    question=pl.format("question {}", pl.col("i") % 100), cat=pl.col("i") % 10, x=(pl.col("i") * 7919) % 1000
)
KEPT = pl.DataFrame({"i": range(0, 1000, 10)})  # 100 rows, 10 questions
TRIPLED = pl.DataFrame({"i": list(range(1000)) * 3})

CASES: tuple[tuple[int, str], ...] = (
    (100, "SELECT *, llm(question) AS a FROM t"),
    (10, "SELECT *, llm(question) AS a FROM t WHERE cat = 3"),
    (10, "SELECT * FROM (SELECT *, llm(question) AS a FROM t) WHERE cat = 3"),
    (10, "WITH asked AS (SELECT *, llm(question) AS a FROM t) SELECT * FROM asked WHERE cat = 3"),
    (10, "SELECT * FROM t WHERE llm_bool(question) AND cat = 3"),
    (10, "SELECT * FROM t WHERE cat = 3 AND llm_bool(question)"),
    (10, "SELECT *, llm(question) AS a FROM t LIMIT 10"),
    (10, "SELECT * FROM (SELECT *, llm(question) AS a FROM t) LIMIT 10"),
    (10, "SELECT *, llm(question) AS a FROM t ORDER BY x LIMIT 10"),
    (10, "SELECT * FROM (SELECT *, llm(question) AS a FROM t) ORDER BY x DESC LIMIT 10"),
    (5, "SELECT *, llm(question) AS a FROM t ORDER BY i LIMIT 5 OFFSET 20"),
    (0, "SELECT i FROM (SELECT *, llm(question) AS a FROM t)"),
    (0, "SELECT count(*) FROM (SELECT *, llm(question) AS a FROM t)"),
    (0, "WITH asked AS (SELECT *, llm(question) AS a FROM t) SELECT count(*) FROM asked JOIN asked AS b USING (i)"),
    (0, "SELECT *, llm(question) AS a FROM t LIMIT 0"),
    (0, "SELECT *, llm(question) AS a FROM t WHERE false"),
    (0, "SELECT llm(NULL) AS a FROM t"),
    (1, "SELECT llm('one question') AS a FROM t"),
    (100, "SELECT llm(question) AS a, llm(question) AS b FROM t"),
    (100, "SELECT a, llm(question) AS b FROM (SELECT question, llm(question) AS a FROM t)"),
    (
        100,
        "SELECT s.name, s.age FROM (SELECT llm(question, returns := 'STRUCT(name VARCHAR, age BIGINT)') AS s FROM t)",
    ),
    (100, "SELECT llm_bool(question) AS b FROM t WHERE llm_bool(question)"),
    (10, "SELECT * FROM (SELECT i, llm(question) AS a FROM t) AS a JOIN k USING (i)"),
    (10, "SELECT a.i, a.a FROM (SELECT i, llm(question) AS a FROM t) AS a SEMI JOIN k USING (i)"),
    (10, "SELECT i, llm(question) AS a FROM t WHERE i IN (SELECT i FROM k)"),
    (100, "SELECT a.a FROM (SELECT i, llm(question) AS a FROM t) AS a JOIN d ON a.i = d.i"),
    (10, "SELECT llm(question) AS a FROM t JOIN k ON t.i = k.i"),
    (10, "SELECT count(*) FROM t JOIN k ON t.i = k.i AND llm_bool(t.question)"),
    (10, "SELECT k.i FROM k LEFT JOIN t ON t.i = k.i AND llm_bool(t.question)"),
    (10, "SELECT k.i FROM k WHERE EXISTS (SELECT 1 FROM t WHERE t.i = k.i AND llm_bool(t.question))"),
    (10, "SELECT k.i, (SELECT llm(question) FROM t WHERE t.i = k.i) AS a FROM k"),
    (10, "SELECT CASE WHEN cat = 3 THEN llm(question) ELSE 'no' END AS a FROM t"),
    (20, "SELECT CASE WHEN cat = 3 THEN llm(question) WHEN cat = 4 THEN llm(question) END AS a FROM t"),
    (10, "SELECT * FROM t WHERE cat <> 3 OR llm_bool(question)"),
    (10, "SELECT coalesce(CASE WHEN cat <> 3 THEN 'known' END, llm(question)) AS a FROM t"),
    (10, "SELECT cat, llm('Sum up: ' || string_agg(question, ',' ORDER BY i)) AS a FROM t GROUP BY cat"),
    (2, "SELECT cat, llm(cat::VARCHAR || max(question)) AS a FROM t GROUP BY cat HAVING cat < 2"),
    (3, "SELECT cat, llm('top' || cat) AS a FROM t GROUP BY cat ORDER BY count(*), cat LIMIT 3"),
    (10, "SELECT i, llm(question) AS a FROM t QUALIFY row_number() OVER (PARTITION BY cat ORDER BY i) = 1"),
    (10, "SELECT DISTINCT ON (cat) cat, llm(question) AS a FROM t ORDER BY cat, i"),
    (10, "SELECT count(*) FILTER (WHERE cat = 3 AND llm_bool(question)) AS n, count(*) FROM t"),
    (10, "SELECT sum(CASE WHEN cat = 3 THEN llm(question, returns := 'BIGINT') END) AS n FROM t"),
    (10, "SELECT llm(question) AS a FROM t WHERE cat = 3 UNION ALL SELECT llm(question) FROM t WHERE cat = 3"),
    (1, "SELECT count(*) FROM t WHERE llm_bool('always the same')"),
    (10, "SELECT llm(question) AS a FROM (SELECT * FROM t WHERE cat = 3 ORDER BY x LIMIT 50)"),
)


@pytest.mark.parametrize(("requests", "query"), CASES, ids=[query for _, query in CASES])
def test_no_more_is_asked_than_matters(oracle: Oracle, requests: int, query: str) -> None:
    frame = sql(query, t=ROWS, k=KEPT, d=TRIPLED)
    frame.collect_schema()
    assert not oracle.asked
    done = frame.collect()
    assert len(oracle.asked) == requests
    again = sql(query, t=ROWS.lazy(), k=KEPT, d=TRIPLED).collect()
    assert len(oracle.asked) == requests, "the second run is all from the cache"
    assert sorted(done.rows(), key=repr) == sorted(again.rows(), key=repr)


def test_a_chain_asks_for_the_rows_that_are_left(oracle: Oracle) -> None:
    query = "SELECT llm('b ' || a) AS b FROM (SELECT cat, llm(question) AS a FROM t) WHERE a LIKE '%~1' AND cat = 3"
    done = sql(query, t=ROWS).collect()
    chained = [prompt for prompt in oracle.asked if prompt.startswith("b ")]
    assert len(oracle.asked) - len(chained) == 10
    assert 0 < len(chained) == done["b"].n_unique() < 10


def test_a_limit_above_a_condition_on_answers_stops_early(oracle: Oracle) -> None:
    done = sql("SELECT i FROM t WHERE llm_bool(question) LIMIT 3", t=ROWS).collect()
    assert len(done) == 3
    assert len(oracle.asked) < 50


@pytest.mark.parametrize(
    ("query", "returns"),
    [
        ("SELECT llm(question) AS a FROM t", str),
        ("SELECT llm_bool(question) AS a FROM t", bool),
        ("SELECT llm(question, returns := 'BOOLEAN') AS a FROM t", bool),
        ("SELECT llm(question, returns := 'BIGINT') AS a FROM t", int),
        ("SELECT llm(question, returns := 'INTEGER') AS a FROM t", pl.Int32),
    ],
)
def test_answers_are_shared_with_the_frame_form(oracle: Oracle, query: str, returns: Any) -> None:
    ours = sql(query, t=ROWS).collect()
    assert len(oracle.asked) == 100
    theirs = ROWS.lazy().select(a=llm("question", returns=returns)).collect()
    assert len(oracle.asked) == 100, "the frame form finds every answer"
    assert ours.equals(theirs)
    assert ours.schema == theirs.schema


def test_labels_are_shared_with_the_frame_form(oracle: Oracle) -> None:
    from typing import Literal

    labels = Literal["refund", "other"]
    theirs = ROWS.lazy().select(a=llm("question", returns=labels, system="Be brief.")).collect()
    ours = sql("SELECT llm_class(question, ['refund', 'other'], system := 'Be brief.') AS a FROM t", t=ROWS).collect()
    enum = sql(
        "SELECT llm(question, returns := 'ENUM(''refund'', ''other'')', system := 'Be brief.') AS a FROM t", t=ROWS
    )
    assert ours.equals(theirs)
    assert ours.schema == theirs.schema
    assert enum.collect().equals(theirs)
    assert len(oracle.asked) == 100


@pytest.mark.parametrize("options", ["{'top_p': 0.9, 'stop': ['a', 'b']}", '\'{"top_p": 0.9, "stop": ["a", "b"]}\''])
def test_options_are_shared_with_the_frame_form(oracle: Oracle, options: str) -> None:
    ours = sql(f"SELECT llm(question, options := {options}) AS a FROM t", t=ROWS).collect()
    assert len(oracle.asked) == 100
    theirs = ROWS.lazy().select(a=llm("question", options={"top_p": 0.9, "stop": ["a", "b"]})).collect()
    assert ours.equals(theirs)
    assert len(oracle.asked) == 100, "a DECIMAL of DuckDB is a number of JSON"


def test_the_result_goes_on_in_polars(oracle: Oracle) -> None:
    frame = sql("SELECT *, llm(question) AS a FROM t", t=ROWS)
    assert isinstance(frame, pl.LazyFrame)
    assert frame.filter(cat=3).select("a").collect().height == 100
    assert len(oracle.asked) == 10
    assert frame.head(10).collect().height == 10
    assert frame.select("i").collect().width == 1
    assert len(oracle.asked) == 19  # question 3 was known


def test_a_peeled_result_is_read_as_far_as_it_is_wanted(oracle: Oracle) -> None:
    frame = sql("SELECT cat, llm_bool(question) AS b, count(*) AS n FROM t GROUP BY ALL", t=ROWS)
    assert frame.select(pl.col("n").sum()).collect().item() == 1000
    assert frame.sort("cat", "b").head(1).collect().height == 1


def test_parquet_is_read_as_far_as_it_is_needed(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ROWS.write_parquet(tmp_path / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    query = "SELECT llm(question) AS a FROM '*.parquet' WHERE cat = 3 AND llm_bool(question)"
    frame = sql(query)
    scans = explain(frame).partition("\nSCANS\n")[2]
    assert scans.splitlines() == [
        '1. SELECT question FROM "*.parquet" WHERE cat = 3',
        "   reads question of PARQUET_SCAN where (cat = 3)",
    ]
    assert frame.collect().height > 0
    assert len(oracle.asked) <= 20


def test_what_duckdb_runs_is_shown_in_full(oracle: Oracle, tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "rows.parquet")
    texts = ", ".join(f"question || '{n:03}' AS q{n}" for n in range(30))
    query = f"SELECT {texts}, llm(question) AS a FROM '{tmp_path}/rows.parquet' AS t WHERE t.cat = $cat"
    scans = explain(sql(query, parameters={"cat": 3})).partition("\nSCANS\n")[2]
    assert "question || '029'" in scans
    assert "where (cat = 3)" in scans
    assert max(map(len, scans.splitlines())) <= 130
    assert not oracle.asked


@pytest.mark.parametrize("where", ["our database", "the user's"])
@pytest.mark.parametrize("given", [ROWS, ROWS.lazy(), ROWS.to_arrow()], ids=["eager", "lazy", "Arrow"])
def test_scans_of_frames_and_of_answers_are_shown(oracle: Oracle, given: Any, where: str) -> None:
    with duckdb.connect(":memory:") as con:
        query = "SELECT cat, count(*) AS n FROM t WHERE llm_bool(question) AND cat > 3 GROUP BY cat"
        frame = sql(query, t=given, connection=con if where == "the user's" else None)
        plan = explain(frame)
        assert "GROUP BY r.o0\n   reads o0 of a frame\n" in plan
        read = plan.splitlines()[-1].strip()
        assert read.startswith(("reads cat, question of a frame", "reads question, cat of a frame"))
        assert read.endswith('where ("cat" > 3)') == (isinstance(given, pl.LazyFrame) and where == "our database")
        assert not oracle.asked
        assert con.sql("SHOW TABLES").fetchall() == []


LOOKED_AT = (
    (100, "SELECT llm(question) AS a FROM t"),
    (10, "SELECT llm(question) AS a FROM t WHERE cat = 3"),
    (100, "SELECT llm_bool(question) AS b, count(*) AS n FROM t GROUP BY b"),
    (10, "SELECT cat, llm('Sum up: ' || string_agg(question, ',' ORDER BY i)) AS a FROM t GROUP BY cat"),
    (10, "SELECT k.i FROM k LEFT JOIN t ON t.i = k.i AND llm_bool(t.question)"),
)


@pytest.mark.parametrize(("requests", "query"), LOOKED_AT, ids=[query for _, query in LOOKED_AT])
@pytest.mark.parametrize("where", ["our database", "the user's"])
def test_looking_sends_nothing_and_sees_through_duckdb(oracle: Oracle, where: str, requests: int, query: str) -> None:
    with duckdb.connect(":memory:") as con:
        frame = sql(query, t=ROWS, k=KEPT, connection=con if where == "the user's" else None)
        looked = estimate(frame)
        assert not oracle.asked
        assert looked["requests"].sum() == requests
        explain(frame)
        frame.collect()
        assert len(oracle.asked) == requests


@pytest.mark.parametrize(
    "query",
    [
        "SELECT a FROM (SELECT i, cat, trim(llm('Say ' || question)) AS a FROM t) WHERE cat > 2",
        "WITH x AS (SELECT *, llm('Say ' || question) AS a FROM t) SELECT a FROM x JOIN k USING (i) WHERE cat > 2",
        "SELECT i FROM (SELECT * FROM t WHERE llm('Say ' || question) <> 'no') WHERE cat > 2",
    ],
)
def test_a_call_is_known_by_how_it_was_written_wherever_it_is_asked(oracle: Oracle, query: str) -> None:
    plan = explain(sql(query, t=ROWS, k=KEPT))
    stages = plan.partition("\nSTAGES\n")[2].partition("\n\n")[0]
    assert "llm('Say ' || question)" in stages
    assert "polar_llama" not in stages
