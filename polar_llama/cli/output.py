"""What `polar-llama sql` gives: a table on the terminal, or a file."""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

FORMATS = ("csv", "ndjson", "parquet")
_ENDINGS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}
_BROKEN_PIPE = "(os error 32)"
"""How Polars tells that nobody reads any more."""


def output(text: str) -> Path:
    """The file of `--output`.

    Raises:
        argparse.ArgumentTypeError: If nothing can be written there.
    """
    file = Path(text)
    if not text or file.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    if not file.parent.exists():
        raise argparse.ArgumentTypeError(f"there is no directory {file.parent}")
    return file


def format_of(file: Path) -> str | None:
    """The format that a file's name tells."""
    return _ENDINGS.get(file.suffix.lower())


def endings() -> str:
    """The endings that tell a format, for people."""
    return ", ".join(_ENDINGS)


def write(frame: pl.LazyFrame, file: Path | None, kind: str) -> None:
    """Write the result to a file, which is there only when it is whole, or to standard output.

    Raises:
        ConfigurationError: If the format cannot hold it, or the file cannot be written; nothing was asked.
    """
    _check(frame, kind)
    sink: Callable[[Path | IO[bytes]], object] = getattr(frame, f"sink_{kind}")
    if file is None:
        if kind == "parquet" and sys.stdout.isatty():
            raise ConfigurationError("parquet is nothing for a terminal. Hint: --output FILE, or | a command")
        sys.stdout.flush()
        _piped(sink, sys.stdout.buffer)
    elif file.parts[:2] == ("/", "dev") or (file.exists() and not file.is_file()):  # a pipe or a device
        with file.open("wb") as stream:
            _piped(sink, stream)
    else:
        _whole(sink, file.resolve())


def _check(frame: pl.LazyFrame, kind: str) -> None:
    """Refuse what a format cannot hold before anything is asked."""
    for name, dtype in frame.collect_schema().items():
        if kind == "csv" and dtype.is_nested():
            raise ConfigurationError(
                f"CSV cannot hold the column {name!r}, which has lists or structs. "
                "Hint: write parquet or ndjson, or SELECT to_json(…) of it"
            )
        if kind != "parquet" and _holds_bytes(dtype):
            raise ConfigurationError(
                f"{kind.upper()} cannot hold the column {name!r}, which has bytes. "
                "Hint: write parquet, or SELECT base64(…) of it"
            )


def _holds_bytes(dtype: Any) -> bool:
    import polars as pl

    if isinstance(dtype, pl.Struct):
        return any(_holds_bytes(field.dtype) for field in dtype.fields)
    return _holds_bytes(dtype.inner) if isinstance(dtype, pl.List | pl.Array) else dtype == pl.Binary


def _whole(sink: Callable[[Path], object], file: Path) -> None:
    part = file.with_name(f".{file.name}.part")
    try:
        part.touch()
        if file.exists():
            part.chmod(file.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from None
    try:
        sink(part)
        part.replace(file)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _piped(sink: Callable[[IO[bytes]], object], stream: IO[bytes]) -> None:
    import polars as pl

    try:
        sink(stream)
    except (OSError, pl.exceptions.PolarsError) as error:
        if _BROKEN_PIPE not in str(error):
            raise
        raise BrokenPipeError from None


def show(frame: pl.DataFrame, rows: int) -> None:
    """Print a table.

    Args:
        frame: The table.
        rows: How many rows, 0 for all.
    """
    import polars as pl

    width = shutil.get_terminal_size((120, 24)).columns
    with pl.Config(tbl_rows=rows or -1, tbl_cols=-1, fmt_str_lengths=100, tbl_width_chars=width):
        if not (sys.stdout.encoding or "utf-8").lower().startswith("utf"):
            pl.Config.set_tbl_formatting("ASCII_FULL_CONDENSED")
        print(frame)
