"""`polar-llama sql`: run a query, and show or write its result."""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polar_llama.cli.output import FORMATS, endings, format_of, output, show, write
from polar_llama.cli.tables import NOT_UTF8, Named, parameter, query, scanned, table
from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

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
  polar-llama sql 'SELECT llm($task || text) AS answer FROM t' --table t=reviews.csv --parameter task='Translate: ' \\
                  --format ndjson | jq -r .answer
"""

_UNSET = re.compile(r"Values were not provided for the following parameters: (\w+)")
_MISSING = re.compile(r"Table with name (.+?) does not exist")


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
        action=Named,
        type=table,
        default={},
        metavar="NAME=FILE",
        help="a file as a table: parquet, csv, tsv, ndjson, arrow; globs work; may be given again",
    )
    parser.add_argument(
        "--parameter",
        action=Named,
        type=parameter,
        default={},
        metavar="NAME=VALUE",
        help="the text that $NAME in the query stands for; may be given again",
    )
    parser.add_argument("--database", metavar="FILE", help="a DuckDB database, opened for reading")
    parser.add_argument(
        "--output", metavar="FILE", type=output, help="write parquet, csv or ndjson (by its ending) instead of printing"
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="what --output is whatever its ending; without it, what standard output is"
    )
    parser.add_argument(
        "--model", metavar="PROVIDER:MODEL", help="for calls that name none, such as openai:gpt-6-luna or local"
    )
    parser.add_argument("--max-cost", type=_dollars, metavar="USD", help="stop before the query costs more")
    parser.add_argument("--max-requests", type=_count, metavar="N", help="stop before more requests are sent")
    parser.add_argument("--rows", type=_count, default=20, metavar="N", help="rows to print (default 20; 0 prints all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no report")
    looking = parser.add_mutually_exclusive_group()
    looking.add_argument("--explain", action="store_true", help="print the plan; send nothing")
    looking.add_argument(
        "--estimate", action="store_true", help="print how much would be asked, and its cost; send nothing"
    )
    parser.set_defaults(run=run, parser=parser)


def run(given: argparse.Namespace) -> int:
    """Run the command."""
    from polar_llama.settings import session
    from polar_llama.sqlfront.front import planned
    from polar_llama.sqlfront.tables import given as named

    kind = given.format or (given.output and format_of(given.output))
    if given.output and not kind:
        given.parser.error(f"argument --output: {str(given.output)!r} does not end with {endings()}: say --format")
    text = query(given.query)
    settings = {"model": given.model, "max_cost": given.max_cost, "max_requests": given.max_requests}
    chosen: dict[str, Any] = {k: v for k, v in settings.items() if v is not None}
    if given.quiet:
        chosen["progress"] = False
    with _hints(given.table), _database(given.database) as connection, session(**chosen):
        tables = {name: scanned(file) for name, file in given.table.items()}
        frame = planned(text, connection, given.parameter, named(tables), external_access=True)
        if given.explain:
            from polar_llama.frame.looking import explain

            print(explain(frame))
        elif given.estimate:
            from polar_llama.cli.estimate import shown
            from polar_llama.frame.looking import estimate

            print(shown(estimate(frame)))
        elif kind:
            write(frame, given.output, kind)
        else:
            show(frame.collect(), given.rows)
        if not (given.quiet or given.explain or given.estimate):
            _report()
    return 0


@contextmanager
def _hints(tables: Collection[str]) -> Iterator[None]:
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
        missing = _MISSING.search(str(error))
        if missing is None:
            raise
        known = f", only {', '.join(tables)}" if tables else ""
        raise ConfigurationError(
            f"there is no table {missing[1]}{known}. Hint: --table NAME=FILE names a file, FROM 'FILE' reads one"
        ) from None
    except duckdb.InvalidInputException as error:
        if unset := _UNSET.search(str(error)):
            raise ConfigurationError(
                f"the query reads ${unset[1]}, which has no value. Hint: --parameter {unset[1]}=VALUE"
            ) from None
        if "invalid utf-8 sequence" in str(error):
            raise ConfigurationError(f"a file of --table {NOT_UTF8}") from None
        raise


@contextmanager
def _database(file: str | None) -> Iterator[Any]:
    if file is None:
        yield None
        return
    import duckdb

    if not Path(file).is_file():
        raise ConfigurationError(f"there is no database {file}")
    try:
        connection = duckdb.connect(file, read_only=True)
    except duckdb.IOException as error:
        hint = ". Hint: close it there, or query a copy" if "lock" in str(error) else ""
        raise ConfigurationError(f"the database {file} cannot be opened: {error}{hint}") from None
    except duckdb.Error:  # what it says of a file of another kind leads astray
        raise ConfigurationError(f"{file} is no DuckDB database. Hint: --table NAME=FILE, or FROM 'FILE'") from None
    with connection:
        yield connection


def _report() -> None:
    """What the run did, on the terminal."""
    from polar_llama.exec.report import last_run

    report = last_run()
    if report is not None and sys.stderr.isatty():
        print(report, file=sys.stderr)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _dollars(text: str) -> float:
    with suppress(ValueError):
        if float(text) >= 0:  # and not NaN
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no amount of dollars, such as 0.50")
