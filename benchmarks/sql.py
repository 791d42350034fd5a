"""SQL: what planning a long query takes, and the memory of few rows out of many."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
from sqlglot import parse_one

import polar_llama as pll
from benchmarks.contender import ROOT
from benchmarks.figures import Figure
from benchmarks.server import server
from benchmarks.work import MODEL
from polar_llama import settings
from polar_llama.frame.inference_frame import plan_of
from polar_llama.frame.running import planned

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT = (Path(__file__).parent / "report.sql").read_text(encoding="utf-8")
"""A hundred lines: five CTEs, joins, windows, groups, seven calls."""

SCHEMAS: dict[str, dict[str, Any]] = {
    "orders": {
        "order_id": pl.Int64,
        "customer_id": pl.Int64,
        "ordered_at": pl.Date,
        "total": pl.Float64,
        "comment": pl.String,
        "status": pl.String,
    },
    "order_lines": {
        "order_id": pl.Int64,
        "line": pl.Int64,
        "product_id": pl.Int64,
        "quantity": pl.Int64,
        "price": pl.Float64,
        "returned": pl.Boolean,
    },
    "products": {"product_id": pl.Int64, "title": pl.String, "category": pl.String},
    "customers": {
        "customer_id": pl.Int64,
        "name": pl.String,
        "country": pl.String,
        "active": pl.Boolean,
        "note": pl.String,
        "terms": pl.String,
    },
}

ROWS = 1_000_000
KEPT = ROWS // 1_000
TEXT = "'Ticket ' || i || ': ' || repeat('my card was charged twice for one coffee. ', 4)"

MEASURED = """
import os, resource, sys
import polars as pl
{work}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(answers, int(status["VmHWM"].split()[0]) / 1024)
"""
PLAIN = """
import duckdb
with duckdb.connect() as con:
    answers = con.sql("SELECT text FROM 'tickets.parquet' WHERE pick = 7").pl().height
"""
EVERYTHING = """
import duckdb
with duckdb.connect() as con:
    answers = con.sql("SELECT * FROM 'tickets.parquet'").pl().height
"""
OURS = """
import polar_llama as pll
answers = pll.sql("SELECT llm(text) AS a FROM 'tickets.parquet' WHERE pick = 7").collect()["a"].count()
"""


def parsed_and_planned(runs: int) -> Iterator[Figure]:
    """`sql()`, and the planning that `collect()` does: parse, describe, cut, resolve, optimise; nothing is read.

    What comes between that and the first row is running the query, in DuckDB and Polars. Milliseconds are this
    machine's: what sqlglot takes to read the text tells how fast it is.
    """
    tables: dict[str, Any] = {name: pl.DataFrame(schema=schema) for name, schema in SCHEMAS.items()}
    taken = [(*_planned(tables), _read()) for _ in range(10 * runs + 1)][1:]
    walls, cpus, reads = (sorted(1e3 * t for t in column) for column in zip(*taken, strict=True))
    absolute = f"at best {cpus[0]:.0f} ms; wall {median(walls):.0f} ms; sqlglot alone {median(reads):.1f} ms"
    yield Figure("SQL: 100 lines with 7 calls, parsed and planned: CPU", median(cpus), "ms", 50, absolute, below=True)


def _planned(tables: dict[str, Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    planned(plan_of(pll.sql(REPORT, **tables)), settings.current())
    return time.perf_counter() - wall, time.process_time() - cpu


def _read() -> float:
    cpu = time.process_time()
    parse_one(REPORT, read="duckdb")
    return time.process_time() - cpu


def filtered(runs: int) -> Iterator[Figure]:
    """A thousand rows of a million, from Parquet: the peak memory above that of plain DuckDB, which asks nothing."""
    with tempfile.TemporaryDirectory() as directory, server() as url:
        with duckdb.connect() as con:
            con.execute(
                f"COPY (SELECT i, i % 1000 AS pick, {TEXT} AS text FROM range({ROWS}) r(i)) "
                f"TO '{directory}/tickets.parquet' (ROW_GROUP_SIZE 100_000)"
            )
        ours, plain, everything = (
            median(_peak(work, directory, url, rows) for _ in range(runs))
            for work, rows in ((OURS, KEPT), (PLAIN, KEPT), (EVERYTHING, ROWS))
        )
    absolute = f"ours {ours:.0f} MiB, DuckDB {plain:.0f} MiB; DuckDB and the whole table {everything:.0f} MiB"
    yield Figure("1,000 of 1,000,000 Parquet rows asked: peak memory", ours - plain, "MiB", 100, absolute)


def _peak(work: str, directory: str, url: str, rows: int) -> float:
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "emulated-key",
        "POLAR_LLAMA_MODEL": f"openai:{MODEL}",
        "POLAR_LLAMA_CACHE": "off",
    }
    command = [sys.executable, "-c", MEASURED.format(work=work)]
    done = subprocess.run(command, cwd=directory, env=environ, check=True, capture_output=True, text=True)
    answers, peak = done.stdout.split()
    assert int(answers) == rows, "rows or answers were lost"
    return float(peak)
