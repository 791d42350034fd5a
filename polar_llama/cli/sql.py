"""`polar-llama sql`: run a query, and show or write its result."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

_EPILOG = """\
In SQL there are, beside all of DuckDB's functions:
  llm(prompt)                               a text; options by name: llm(q, model := 'local', system := '…')
  llm(prompt, returns := 'INTEGER')         a value of any DuckDB type
  llm_bool(prompt)                          true or false: WHERE llm_bool('Is this angry? ' || text)
  llm_class(prompt, ['refund', 'other'])    one of some labels

Only rows that matter are asked, equal prompts once, and never again once they are cached.
Look before you ask: --explain shows the plan, --estimate what it will cost; neither sends anything.

examples:
  polar-llama sql "SELECT question, llm(question) AS answer FROM t LIMIT 5" --table t=questions.parquet
  polar-llama sql "SELECT label, count(*) FROM (SELECT llm_class(text, ['praise', 'complaint']) AS label
                   FROM 'reviews.csv') GROUP BY label" --model openai:gpt-6-luna --max-cost 0.50
  polar-llama sql - --database shop.duckdb --output answers.csv < query.sql
"""

_READERS = {
    ".parquet": "scan_parquet",
    ".csv": "scan_csv",
    ".tsv": "scan_csv",
    ".ndjson": "scan_ndjson",
    ".jsonl": "scan_ndjson",
    ".json": "scan_ndjson",
    ".arrow": "scan_ipc",
    ".feather": "scan_ipc",
    ".ipc": "scan_ipc",
}
_WRITERS = {".parquet": "sink_parquet", ".csv": "sink_csv", ".ndjson": "sink_ndjson", ".jsonl": "sink_ndjson"}


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sql",
        help="run a DuckDB query that may ask a model",
        description="Run one DuckDB query that may ask a model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("query", help="the query; - reads it from standard input")
    parser.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="NAME=FILE",
        type=_table,
        help="a file as a table: parquet, csv, tsv, ndjson, arrow; globs work; may be given again",
    )
    parser.add_argument("--database", metavar="FILE", help="a DuckDB database, opened for reading")
    parser.add_argument(
        "--output", metavar="FILE", type=_output, help="write parquet, csv or ndjson instead of printing"
    )
    parser.add_argument(
        "--model", metavar="PROVIDER:MODEL", help="for calls that name none, such as openai:gpt-6-luna or local"
    )
    parser.add_argument("--max-cost", type=float, metavar="USD", help="stop before the query costs more")
    parser.add_argument("--max-requests", type=int, metavar="N", help="stop before more requests are sent")
    parser.add_argument("--rows", type=_count, default=20, metavar="N", help="rows to print (default 20; 0 prints all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no report")
    looking = parser.add_mutually_exclusive_group()
    looking.add_argument("--explain", action="store_true", help="print the plan; send nothing")
    looking.add_argument(
        "--estimate", action="store_true", help="print how much would be asked, and its cost; send nothing"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Run the command."""
    from polar_llama.settings import session
    from polar_llama.sqlfront.front import planned
    from polar_llama.sqlfront.tables import given as named

    query = sys.stdin.read() if given.query == "-" else given.query
    settings = {"model": given.model, "max_cost": given.max_cost, "max_requests": given.max_requests}
    chosen: dict[str, Any] = {k: v for k, v in settings.items() if v is not None}
    if given.quiet:
        chosen["progress"] = False
    with _hints(), _database(given.database) as connection, session(**chosen):
        tables = {name: _scanned(file) for name, file in given.table}
        frame = planned(query, connection, (), named(tables), external_access=True)
        if given.explain:
            from polar_llama.frame.looking import explain

            print(explain(frame))
        elif given.estimate:
            from polar_llama.cli.estimate import shown
            from polar_llama.frame.looking import estimate

            print(shown(estimate(frame)))
        elif given.output:
            _written(frame, given.output)
        else:
            _show(frame.collect(), given.rows)
        if not (given.quiet or given.explain or given.estimate):
            _report()
    return 0


@contextmanager
def _hints() -> Iterator[None]:
    """Say of an error what helps in a shell, where that is another thing than in Python."""
    import duckdb

    try:
        yield
    except ConfigurationError as error:
        if not str(error).startswith("no model is set"):
            raise
        raise ConfigurationError(
            "no model is set. Say which: --model openai:gpt-6-luna, or the environment variable POLAR_LLAMA_MODEL. "
            "--model local needs no key and no network"
        ) from None
    except duckdb.CatalogException as error:
        hint = " Hint: --table NAME=FILE names a file" if "Table with name" in str(error) else ""
        raise type(error)(f"{error}{hint}") from None


@contextmanager
def _database(file: str | None) -> Iterator[Any]:
    if file is None:
        yield None
        return
    import duckdb

    if not Path(file).exists():
        raise ConfigurationError(f"there is no database {file}")
    with duckdb.connect(file, read_only=True) as connection:
        yield connection


def _scanned(file: str) -> pl.LazyFrame:
    import polars as pl

    suffix = Path(file).suffix.lower()
    options: dict[str, Any] = {"separator": "\t"} if suffix == ".tsv" else {}
    if not any(c in file for c in "*?[") and "://" not in file and not Path(file).exists():
        raise ConfigurationError(f"there is no file {file}")
    frame: pl.LazyFrame = getattr(pl, _READERS[suffix])(file, **options)
    return frame


def _written(frame: pl.LazyFrame, file: Path) -> None:
    """Write the result; the file is there only when it is whole."""
    nested = [n for n, dtype in frame.collect_schema().items() if dtype.is_nested()]
    if nested and file.suffix.lower() == ".csv":
        raise ConfigurationError(
            f"CSV cannot hold the column {nested[0]!r}, which has lists or structs. "
            "Hint: write parquet or ndjson, or SELECT to_json(…) of it"
        )
    part = file.with_name(f".{file.name}.part")
    sink: Callable[[Path], object] = getattr(frame, _WRITERS[file.suffix.lower()])
    try:
        sink(part)
        part.replace(file)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _show(frame: pl.DataFrame, rows: int) -> None:
    import polars as pl

    width = os.get_terminal_size().columns if sys.stdout.isatty() else 120
    with pl.Config(tbl_rows=rows or -1, tbl_cols=-1, fmt_str_lengths=100, tbl_width_chars=width):
        print(frame)


def _report() -> None:
    """What the run did, on the terminal."""
    from polar_llama.exec.report import last_run

    report = last_run()
    if report is not None and sys.stderr.isatty():
        print(report, file=sys.stderr)


def _table(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not equals or not name or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE, as in t=questions.parquet")
    if Path(file).suffix.lower() not in _READERS:
        raise argparse.ArgumentTypeError(f"{file!r} is no file that is read here: {', '.join(sorted(_READERS))}")
    return name, file


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


def _output(text: str) -> Path:
    file = Path(text)
    if file.suffix.lower() not in _WRITERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no file that is written here: {', '.join(sorted(_WRITERS))}")
    if not file.parent.exists():
        raise argparse.ArgumentTypeError(f"there is no directory {file.parent}")
    return file
