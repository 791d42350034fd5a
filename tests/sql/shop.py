"""A small shop in the shape of TPC-H, made by DuckDB: the extension that makes the real one is not everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    import polars as pl

_WORDS = "['slow', 'damaged', 'perfect', 'late', 'lost', 'wrong colour', 'thanks', 'refund', 'again', 'never']"

_TABLES = {
    "region": "SELECT i AS r_regionkey, ['AFRICA', 'AMERICA', 'ASIA', 'EUROPE'][i + 1] AS r_name FROM range(4) r(i)",
    "nation": "SELECT i AS n_nationkey, 'nation ' || i AS n_name, i % 4 AS n_regionkey FROM range(8) r(i)",
    "customer": f"""SELECT i AS c_custkey, 'Customer#' || i AS c_name, i % 8 AS c_nationkey,
        ((i * 37) % 1000)::DECIMAL(12, 2) AS c_acctbal, ['BUILDING', 'MACHINERY', NULL][i % 3 + 1] AS c_mktsegment,
        {_WORDS}[i % 10 + 1] || ' ' || {_WORDS}[(i * 7) % 10 + 1] AS c_comment FROM range(40) r(i)""",
    "orders": f"""SELECT i AS o_orderkey, i % 33 AS o_custkey, ['O', 'F', 'P'][i % 3 + 1] AS o_orderstatus,
        ((i * 53) % 5000)::DECIMAL(12, 2) AS o_totalprice, DATE '1996-01-01' + ((i * 3) % 400)::INTEGER AS o_orderdate,
        CASE WHEN i % 11 > 0 THEN {_WORDS}[(i * 3) % 10 + 1] || ' ' || {_WORDS}[(i // 4) % 10 + 1] END AS o_comment
        FROM range(120) r(i)""",
    "lineitem": f"""SELECT i // 3 AS l_orderkey, i % 3 + 1 AS l_linenumber, (i * 7) % 50 AS l_quantity,
        ((i * 101) % 900)::DECIMAL(12, 2) AS l_extendedprice, ((i % 10) / 100)::DECIMAL(12, 2) AS l_discount,
        ['N', 'R', 'A'][i % 3 + 1] AS l_returnflag, {_WORDS}[i % 10 + 1] AS l_comment FROM range(300) r(i)""",
}


def shop() -> dict[str, pl.DataFrame]:
    with duckdb.connect(":memory:") as con:
        return {name: con.sql(query).pl() for name, query in _TABLES.items()}
