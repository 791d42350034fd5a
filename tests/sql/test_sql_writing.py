"""Trees that are written without a copy stay as they were; outlines of tables are the tables DuckDB would see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest
from cases import CASES

from polar_llama.sqlfront.dtypes import kinds_of
from polar_llama.sqlfront.parsing import parsed
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import is_kept, nulls, spent, text, with_cte

if TYPE_CHECKING:
    from sqlglot import exp

PLAIN = {
    "b": pl.Boolean(),
    "i8": pl.Int8(),
    "i16": pl.Int16(),
    "i32": pl.Int32(),
    "i64": pl.Int64(),
    "u8": pl.UInt8(),
    "u16": pl.UInt16(),
    "u32": pl.UInt32(),
    "u64": pl.UInt64(),
    "f32": pl.Float32(),
    "f64": pl.Float64(),
    "s": pl.String(),
    "d": pl.Date(),
    "dt": pl.Datetime("us"),
    'odd "name"': pl.Binary(),
}


def as_it_is(tree: exp.Expr) -> list[tuple[object, ...]]:
    nodes = list(walk(tree, nested=True))
    return [(id(n), id(n.parent), n.arg_key, n.index, repr(n)) for n in nodes]


def test_what_needs_no_copy_is_written_without_being_changed() -> None:
    written = 0
    for _, query, *_ in CASES:
        tree, _ = parsed(query)
        for node in list(walk(tree, nested=True)):
            if is_kept(node):
                before, copied = as_it_is(node), spent(node.copy())
                assert text(node) == copied
                assert as_it_is(node) == before, query
                written += 1
    assert written > 1_000


def test_a_frame_has_the_types_that_duckdb_gives_it() -> None:
    frame = pl.DataFrame(schema=PLAIN)
    kinds = kinds_of(frame.schema)
    assert kinds is not None
    with duckdb.connect(":memory:") as con:
        con.register("frame", frame)
        seen = con.sql("FROM frame")
        outlined = con.sql(with_cte(f"t AS ({nulls(kinds)})", "FROM t"))
        assert list(zip(seen.columns, map(str, seen.types), strict=True)) == kinds
        assert list(zip(outlined.columns, map(str, outlined.types), strict=True)) == kinds


@pytest.mark.parametrize(
    "schema",
    [
        {"a": pl.Int64(), "A": pl.Int64()},
        {"e": pl.Enum(["x"])},
        {"t": pl.Time()},
        {"z": pl.Datetime("us", "UTC")},
        {"l": pl.List(pl.Int64())},
    ],
    ids=lambda schema: str(list(schema.values())),
)
def test_of_other_frames_duckdb_is_asked(schema: dict[str, pl.DataType]) -> None:
    assert kinds_of(pl.Schema(schema)) is None


@pytest.mark.parametrize(
    "query", ["SELECT a FROM t", "WITH u AS (FROM t) FROM u", "WITH RECURSIVE u AS (FROM t) FROM u", "(FROM t) LIMIT 1"]
)
def test_one_more_cte_is_seen(query: str) -> None:
    with duckdb.connect(":memory:") as con:
        assert con.sql(with_cte("t AS (SELECT 1 AS a)", query)).fetchall() == [(1,)]
