"""Where tables come from, and that what is in them comes through unharmed."""

from __future__ import annotations

import datetime as dt
import pickle
import subprocess
import sys
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from sql_kit import digest

from polar_llama import settings
from polar_llama.errors import PlanError
from polar_llama.exec.report import last_run
from polar_llama.settings import session
from polar_llama.sqlfront import sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sql_kit import Oracle

ROWS = pl.DataFrame({"i": [0, 1, 2, 3], "q": ["p", "p", "r", None], "v": [3, 3, 1, 2]})
ODD = pl.DataFrame(
    {
        "d": [Decimal("1.50"), None],
        "l": [[1, 2], None],
        "s": [{"a": 1, "b": "x"}, None],
        "day": [dt.date(2024, 1, 1), None],
        "ts": [dt.datetime(2024, 1, 1, 12), None],  # noqa: DTZ001 -- a timestamp without a zone
        "tz": [dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC), None],
        "t": [dt.time(1), None],
        "b": [b"x", None],
        "f": [float("nan"), None],
        "u": pl.Series([1, None], dtype=pl.UInt8),
        "q": ["héllo ☃", "'; DROP TABLE t; -- {x} \" \\ %s $1 ?"],
    }
)


def plain_odd() -> pl.DataFrame:
    with duckdb.connect(":memory:") as con:
        con.register("odd", ODD)
        return con.sql("FROM odd").pl()


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t AS SELECT i, 'q' || i AS q FROM range(5) r(i)")
        yield connection


@pytest.mark.parametrize("form", ["frame", "lazy", "arrow", "file", "variable", "connection"])
def test_every_kind_of_table(oracle: Oracle, tmp_path: Path, form: str) -> None:
    query = "SELECT i, llm(q) AS a FROM rows WHERE v > 2 AND llm_bool('x' || q) IS NOT NULL ORDER BY i"
    wanted = sql(query, rows=ROWS).collect()
    if form == "file":
        ROWS.write_csv(tmp_path / "rows.csv")
        ROWS.write_parquet(tmp_path / "rows 1.parquet")
        ROWS.write_ndjson(tmp_path / "rows.json")
        for name in ("rows.csv", "*.parquet", "rows.json"):
            assert sql(query.replace("rows", f"'{tmp_path}/{name}'")).collect().equals(wanted)
        return
    if form == "variable":
        rows = ROWS
        assert sql(query).collect().equals(wanted)
        del rows
        return
    if form == "connection":
        with duckdb.connect(":memory:") as con:
            con.register("source", ROWS)
            con.execute("CREATE TABLE rows AS FROM source")
            assert sql(query, connection=con).collect().equals(wanted)
        return
    given = {"frame": ROWS, "lazy": ROWS.lazy(), "arrow": ROWS.to_arrow()}[form]
    assert sql(query, ROWS=given).collect().equals(wanted)


def test_a_frame_that_asks_is_a_table(oracle: Oracle) -> None:
    asked = sql("SELECT i, q, llm(q) AS a FROM t", t=ROWS)
    done = sql("SELECT a, count(*) AS n FROM x WHERE i < 3 GROUP BY a ORDER BY n", x=asked).collect()
    assert done["n"].to_list() == [1, 2]
    assert sorted(oracle.asked) == ["p", "r"]


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(PlanError, match="'t' is a list"):
        sql("SELECT llm(q) FROM t", t=[1, 2])


@pytest.mark.parametrize(
    "query",
    [
        "SELECT *, llm(q) AS a FROM t",
        "SELECT *, upper(llm(q)) AS a FROM t WHERE length(llm(q)) > 1",
        "SELECT DISTINCT *, llm(q) AS a FROM t",
        "SELECT * FROM t WHERE llm_bool(q) OR true",
        "SELECT *, row_number() OVER (ORDER BY llm(q)) AS n FROM t",
        "SELECT * FROM (SELECT *, llm(q) AS a FROM t) ORDER BY a",
    ],
)
def test_values_come_through_unharmed(oracle: Oracle, query: str) -> None:
    done = sql(query, t=ODD).collect()
    plain = plain_odd()
    assert done.select(plain.columns).sort("q").equals(plain.sort("q"))
    assert done.select(plain.columns).schema == plain.schema
    assert set(oracle.asked) <= set(ODD["q"])


def test_empty_tables_ask_nothing_and_keep_their_types(oracle: Oracle) -> None:
    frame = sql("SELECT *, llm(q) AS a, llm_bool(q) AS c FROM t WHERE llm_bool(q)", t=ODD.clear())
    assert frame.collect().schema == {**plain_odd().schema, "a": pl.String, "c": pl.Boolean}
    assert not oracle.asked


def test_odd_names(oracle: Oracle) -> None:
    odd = ROWS.select(pl.col("i").alias('a "b'), pl.col("q").alias("né;--"))
    query = """SELECT "a ""b", llm("né;--") AS "out {x}" FROM "my table" WHERE llm_bool("né;--") OR true ORDER BY 1"""
    named: dict[str, Any] = {"my table": odd}
    done = sql(query, **named).collect()
    assert done.columns == ['a "b', "out {x}"]
    assert done.height == 4


def test_a_struct_answer(oracle: Oracle) -> None:
    answer = "llm(q, returns := 'STRUCT(name VARCHAR, age BIGINT)')"
    query = f"SELECT a.age + 1 AS n, a FROM (SELECT {answer} AS a FROM t) LIMIT 1"
    done = sql(query, t=ROWS).collect()
    assert done.schema == {"n": pl.Int64, "a": pl.Struct({"name": pl.String, "age": pl.Int64})}


def test_a_conversation(oracle: Oracle) -> None:
    sql("SELECT llm([{'role': 'user', 'content': q}]) AS a FROM t WHERE i = 0", t=ROWS).collect()
    assert oracle.asked == ['[{"role":"user","content":"p"}]']


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELECT llm($p || q) AS a FROM t WHERE i >= $k LIMIT $n", {"p": "'; --", "k": 0, "n": 1}),
        ("SELECT llm(? || q) AS a FROM t WHERE i >= ? LIMIT ?", ["'; --", 0, 1]),
        ("SELECT llm($1 || q) AS a FROM t WHERE i >= $2 LIMIT $3", ["'; --", 0, 1]),
    ],
)
def test_prepared_parameters(oracle: Oracle, query: str, parameters: object) -> None:
    assert sql(query, parameters=parameters, t=ROWS).collect().height == 1  # type: ignore[arg-type]
    assert oracle.asked == ["'; --p"]


class TestConnection:
    def test_views_macros_temporary_tables_and_registered_frames(
        self, oracle: Oracle, con: duckdb.DuckDBPyConnection
    ) -> None:
        con.execute("CREATE VIEW big AS SELECT * FROM t WHERE i > 2")
        con.execute("CREATE MACRO shout(x) AS upper(x) || '!'")
        con.execute("CREATE TEMP TABLE kept AS SELECT 3 AS i")
        con.register("frame", ROWS)
        query = """SELECT big.i, shout(llm(shout(big.q))) AS a FROM big JOIN kept USING (i) JOIN frame USING (i)
                   WHERE llm_bool(shout('k' || big.q)) OR true"""
        assert sql(query, connection=con).collect().height == 1
        assert sorted(oracle.asked) == ["KQ3!", "Q3!"] or oracle.asked == ["Q3!"]

    def test_nothing_is_left_behind(self, oracle: Oracle, con: duckdb.DuckDBPyConnection) -> None:
        con.register("u", ROWS)
        before = con.execute("SELECT count(*) FROM duckdb_views()").fetchall(), con.execute("SHOW TABLES").fetchall()
        sql("SELECT count(*) FROM t WHERE i IN (SELECT i FROM u WHERE llm_bool(q))", connection=con, u=ROWS).collect()
        assert before == (
            con.execute("SELECT count(*) FROM duckdb_views()").fetchall(),
            con.execute("SHOW TABLES").fetchall(),
        )

    def test_an_open_transaction_is_seen(self, oracle: Oracle, con: duckdb.DuckDBPyConnection) -> None:
        con.execute("BEGIN")
        con.execute("INSERT INTO t VALUES (99, 'new')")
        assert sql("SELECT llm(q) AS a FROM t WHERE i > 50", connection=con).collect().height == 1
        con.execute("ROLLBACK")
        assert oracle.asked == ["new"]

    def test_file_and_attached_databases(self, oracle: Oracle, con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
        with duckdb.connect(str(tmp_path / "f.duckdb")) as file:
            file.execute("CREATE TABLE t AS SELECT 7 AS i, 'file' AS q")
            assert sql("SELECT llm(q) AS a FROM t", connection=file).collect().height == 1
        con.execute(f"ATTACH '{tmp_path}/f.duckdb' AS other (READ_ONLY)")
        query = "SELECT other.t.i, llm(other.t.q) AS a FROM other.main.t WHERE llm_bool(q) OR true"
        assert sql(query, connection=con).collect().rows() == [(7, f"file~{digest('file') % 5}")]

    def test_several_queries_at_once(self, oracle: Oracle, con: duckdb.DuckDBPyConnection) -> None:
        query = "SELECT i, llm(q) AS a FROM t WHERE llm_bool(q) OR true"
        one, two = pl.collect_all([sql(query, connection=con), sql(query, connection=con)])
        assert one.equals(two)
        assert sql(query, connection=con).join(sql(query, connection=con), on="i").collect().height == 5
        done: list[int] = []
        threads = [
            threading.Thread(target=lambda: done.append(sql(query, connection=con).collect().height)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == [5] * 4

    def test_a_frame_that_reads_the_same_connection(self, oracle: Oracle, con: duckdb.DuckDBPyConnection) -> None:
        asked = pl.concat([sql("SELECT i, llm(q) AS a FROM t", connection=con)] * 2)
        done = sql("SELECT count(*) AS n FROM x JOIN t USING (i) WHERE llm_bool(a) OR true", connection=con, x=asked)
        assert done.collect().item() == 10

    @pytest.mark.parametrize("name", ["empty", "frame", "rows", "reader", "relation", "batch", "native"])
    def test_it_finds_no_variables_of_ours(self, oracle: Oracle, con: duckdb.DuckDBPyConnection, name: str) -> None:
        con.execute("SET python_scan_all_frames = true")
        with pytest.raises(duckdb.Error, match="does not exist"):
            sql(f"SELECT *, llm(a.q) AS a FROM {name} JOIN a USING (i)", connection=con, a=ROWS)

    def test_it_cannot_travel(self, oracle: Oracle, con: duckdb.DuckDBPyConnection) -> None:
        with pytest.raises(pl.exceptions.ComputeError, match="belongs to this process"):
            pickle.dumps(sql("SELECT llm(q) AS a FROM t", connection=con))


def test_a_query_of_its_own_database_travels(oracle: Oracle) -> None:
    frame = sql("SELECT llm(q) AS a, upper(llm(q)) AS b FROM t WHERE llm_bool(q) OR true ORDER BY i", t=ROWS)
    assert pickle.loads(pickle.dumps(frame)).collect().equals(frame.collect())


def test_external_access_can_be_forbidden(oracle: Oracle, tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "rows.parquet")
    assert sql("SELECT llm(q) AS a FROM t", t=ROWS, external_access=False).collect().height == 4
    with pytest.raises(duckdb.Error, match="disabled"):
        sql(f"SELECT llm(q) AS a FROM '{tmp_path}/rows.parquet'", external_access=False)


def test_settings_are_those_in_force_when_it_runs(oracle: Oracle) -> None:
    frame = sql("SELECT b, count(*) AS n FROM (SELECT llm_bool(q) AS b FROM t) GROUP BY b", t=ROWS)
    with session(model="oracle:other"):
        frame.collect()
        report = last_run()
    assert report is not None
    assert [call.model for call in report.calls] == ["oracle:other"]
    assert report.total.sent == 2


def test_the_clock_stands_still(oracle: Oracle) -> None:
    query = "SELECT now() = current_timestamp AS a, today() = current_date AS b FROM t WHERE llm_bool(q) OR true"
    assert sql(query, t=ROWS).collect().unique().rows() == [(True, True)]


def test_failures_below_duckdb_are_told_as_they_are(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    from polar_llama.errors import ConfigurationError

    monkeypatch.setattr(settings, "_configured", {})
    with pytest.raises(ConfigurationError, match="no model is set"):
        sql("SELECT llm_bool(q) AS b, count(*) FROM t GROUP BY b", t=ROWS).collect()


def test_a_script_that_ends_says_nothing_of_connections() -> None:
    """Calls are remembered to the very end, and with them what DuckDB computes of their prompts."""
    query = "SELECT CASE WHEN upper(llm(q)) = 'B' THEN llm('y' || q) END AS a FROM t"
    script = f"import polars as pl, polar_llama as pll\nt = pl.DataFrame({{'q': ['a']}})\npll.sql({query!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_macro_that_unnests_answers_is_told(oracle: Oracle) -> None:
    with duckdb.connect(":memory:") as con:
        con.execute("CREATE MACRO twice(x) AS unnest([x, x])")
        frame = sql("SELECT i, twice(llm(q)) AS a FROM t", t=ROWS, connection=con)
        with pytest.raises((PlanError, pl.exceptions.ComputeError), match="several rows"):
            frame.collect()
