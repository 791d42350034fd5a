"""What `polar-llama sql` reads: the query, and files as tables."""

from __future__ import annotations

import argparse
import glob
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

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

NOT_UTF8 = "is not UTF-8 text. Hint: iconv -f LATIN1 -t UTF-8 (or -f UTF-16) makes it so"


def query(text: str) -> str:
    """The query of the command line, or that of standard input.

    Raises:
        ConfigurationError: If it is not UTF-8 text.
    """
    try:
        if text == "-":
            if isinstance(sys.stdin, io.TextIOWrapper):
                sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
            return sys.stdin.read()
        return text.encode(errors="surrogateescape").decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the query {NOT_UTF8}") from None


class Named(argparse.Action):
    """Collects what is given by name, each name once."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Take one more."""
        name, value = values
        known = getattr(namespace, self.dest)
        if name.lower() in {n.lower() for n in known}:
            parser.error(f"argument {option_string}: {name!r} is given twice")
        setattr(namespace, self.dest, {**known, name: value})


def parameter(text: str) -> tuple[str, str]:
    """`NAME=VALUE`.

    Raises:
        argparse.ArgumentTypeError: If it is something else.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def table(text: str) -> tuple[str, str]:
    """`NAME=FILE`.

    Raises:
        argparse.ArgumentTypeError: If it is something else, or a file that is not read here.
    """
    name, _, file = text.partition("=")
    if not name or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE, as in t=questions.parquet")
    if Path(file).suffix.lower() not in _READERS:
        raise argparse.ArgumentTypeError(f"{file!r} is no file that is read here: {', '.join(sorted(_READERS))}")
    return name, file


def scanned(file: str) -> pl.LazyFrame:
    """A file, or the files of a glob, as a table.

    Raises:
        ConfigurationError: If there is none, or it cannot be read.
    """
    import polars as pl

    suffix = Path(file).suffix.lower()
    options: dict[str, Any] = {"separator": "\t"} if suffix == ".tsv" else {}
    path = glob.escape(file) if Path(file).is_file() else file  # `t[1].csv` is a file, where there is one
    if path == file and "://" not in file and not glob.glob(file, recursive=True):  # noqa: PTH207 -- as it was typed
        raise ConfigurationError(f"there is no file {file}")
    frame: pl.LazyFrame = getattr(pl, _READERS[suffix])(path, **options)
    try:
        schema = frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise ConfigurationError(_refused(file, error)) from None
    if any("\0" in name for name in schema):  # UTF-16, whose every other byte is a zero
        raise ConfigurationError(f"{file} {NOT_UTF8}")
    return frame


def _refused(file: str, error: Exception) -> str:
    """Why Polars does not read a file."""
    if "expanded paths were empty" in str(error):
        return f"there is no file in the directory {file}. Hint: {file}/*.parquet reads all in it"
    hint = ". Hint: write one object a line (jq -c '.[]'), or read it with FROM 'file.json'"
    return f"{file} cannot be read: {error}{hint if Path(file).suffix.lower() == '.json' else ''}"
