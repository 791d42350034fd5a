"""Results of a user's own connection: whole before anything is asked, in memory up to a bound, on disk beyond it."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from sql_kit import in_any_order, rows_of

from polar_llama.errors import AnswerError
from polar_llama.sqlfront import holding, sql
from polar_llama.sqlfront.holding import held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sql_kit import Oracle

ROWS = pl.DataFrame({"i": range(100), "q": [f"question {i % 7}" for i in range(100)]})
TABLE = ROWS.to_arrow()


class Directories:
    """The temporary directories that were made: where, and how open they were."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modes: list[int] = []

    def made(self, **options: Any) -> tempfile.TemporaryDirectory[str]:
        directory = tempfile.TemporaryDirectory(dir=self.root, **options)
        self.modes.append(Path(directory.name).stat().st_mode & 0o777)
        return directory


@pytest.fixture
def spilling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Directories]:
    """Everything goes to disk; and nothing is left there."""
    directories = Directories(tmp_path / "spilt")
    directories.root.mkdir()
    monkeypatch.setattr(holding, "BOUND", 0)
    monkeypatch.setattr(holding, "TemporaryDirectory", directories.made)
    yield directories
    assert directories.modes, "nothing was spilt"
    assert set(directories.modes) == {0o700}
    assert not list(directories.root.iterdir())


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.register("rows", ROWS)
        connection.execute("CREATE TABLE t AS FROM rows")
        yield connection


def test_what_fits_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BOUND", TABLE.nbytes)
    with held(TABLE.schema, TABLE.to_batches()) as rows:
        assert rows.file is None
        assert pa.Table.from_batches(rows) == rows.table() == TABLE


def test_what_does_not_can_be_read_as_often(spilling: Directories) -> None:
    with held(TABLE.schema, TABLE.to_batches(30)) as rows:
        assert rows.file is not None
        assert not rows.batches
        for _ in range(2):
            assert pa.Table.from_batches(rows) == TABLE
            assert duckdb.sql("SELECT count(*) FROM found", connection=_seeing(rows.table())).fetchall() == [(100,)]


def _seeing(found: Any) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:").register("found", found)


def test_an_error_while_reading_leaves_nothing(spilling: Directories) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from TABLE.to_batches()
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"), held(TABLE.schema, broken()):
        pass


QUERIES = (
    "SELECT i, llm(q) AS a FROM t",
    "SELECT i, llm(q) AS a FROM t WHERE llm_bool(q) OR i < 50 ORDER BY i LIMIT 30",
    "SELECT a, count(*) AS n FROM (SELECT llm(q) AS a FROM t) GROUP BY a",
    "WITH x AS (SELECT i, llm(q) AS a FROM t) SELECT count(*) AS n FROM x JOIN x AS y ON x.a = y.a AND x.i < y.i",
    "SELECT DISTINCT llm_class(q, ['a', 'b']) AS c, [llm_class(q, ['a', 'b'])] AS l FROM t",
    "SELECT i, q::ENUM('question 1', 'question 2', 'question 3') AS e, llm(q) AS a FROM t WHERE i % 7 IN (1, 2, 3)",
    "SELECT i, {'a': i, 'b': [q]} AS s, i::DECIMAL(9, 2) AS d, now() AS z, llm(q) AS a FROM t",
    "SELECT count(*) AS n FROM t WHERE llm_bool(q) AND false",
)


@pytest.mark.parametrize("query", QUERIES)
def test_spilt_or_not_the_rows_are_the_same(
    oracle: Oracle, con: duckdb.DuckDBPyConnection, spilling: Directories, query: str
) -> None:
    spilt = sql(query, connection=con).collect()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holding, "BOUND", 2**30)
        kept = sql(query, connection=con).collect()
    assert spilt.schema == kept.schema
    timeless = [c for c in kept.columns if c != "z"]  # the clock went on
    assert in_any_order(rows_of(spilt.select(timeless))) == in_any_order(rows_of(kept.select(timeless)))
    if "false" in query:
        sql("SELECT llm(q) AS a FROM t", connection=con).collect()  # an empty result needs no disk


def test_temporary_tables_registered_frames_and_an_open_transaction(
    oracle: Oracle, con: duckdb.DuckDBPyConnection, spilling: Directories
) -> None:
    con.execute("CREATE TEMP TABLE kept AS SELECT 3 AS i UNION ALL SELECT 200")
    con.execute("BEGIN")
    con.execute("INSERT INTO t VALUES (200, 'new')")
    query = "SELECT i, llm(q) AS a, count(*) OVER (PARTITION BY llm_bool(q)) AS n FROM t JOIN kept USING (i)"
    assert sql(query, connection=con).collect().height == 2
    con.execute("ROLLBACK")
    assert sql(query, connection=con).collect().height == 1
    assert sorted(set(oracle.asked)) == ["new", "question 3"]
    frame = sql("SELECT count(*) AS n FROM rows WHERE llm_bool(q) OR true", connection=con)
    assert frame.collect().item() == 100


def test_several_at_once(oracle: Oracle, con: duckdb.DuckDBPyConnection, spilling: Directories) -> None:
    query = "SELECT i, llm(q) AS a, row_number() OVER (ORDER BY llm(q), i) AS n FROM t WHERE llm_bool(q) OR true"
    one, two = pl.collect_all([sql(query, connection=con), sql(query, connection=con)])
    assert one.sort("i").equals(two.sort("i"))
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.append(sql(query, connection=con).collect().height)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [100, 100]


def test_what_is_not_read_to_the_end(oracle: Oracle, con: duckdb.DuckDBPyConnection, spilling: Directories) -> None:
    frame = sql("SELECT i, llm(q) AS a FROM t", connection=con)
    assert frame.head(3).collect().height == 3
    assert next(iter(frame.collect_batches(chunk_size=10))).height > 0


def test_a_failing_row_is_told_as_it_is(
    oracle: Oracle, con: duckdb.DuckDBPyConnection, spilling: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql("SELECT llm(q) AS a FROM t", connection=con).collect()

    async def broken(*_: Any) -> Any:
        raise ValueError("out of order")

    monkeypatch.setattr(oracle, "complete", broken)
    frame = sql("SELECT a, count(*) AS n FROM (SELECT llm('again ' || q) AS a FROM t) GROUP BY a", connection=con)
    with pytest.raises(AnswerError):
        frame.collect()
