"""Reading the files that a column names: only from folders the program allows, never because a cell says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.errors import ConfigurationError, PlanError
from polar_llama.transport.fetch import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_files(paths: str | pl.Expr, *, allow_paths: Sequence[str | Path]) -> pl.Expr:
    """The bytes of files, to be given to `llm(images=…)`.

    Args:
        paths: A column's name, or an expression of texts. Relative paths are looked for in the allowed folders.
        allow_paths: The folders that files may lie in, symbolic links followed. A path outside them is an error.

    Returns:
        Binary, named as the paths; null for null.

    Raises:
        ConfigurationError: If no folder is allowed, or one does not exist.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = Path(folder, "a.txt").write_bytes(b"hello")
        >>> df = pl.DataFrame({"file": ["a.txt", None]})
        >>> df.select(read_files("file", allow_paths=[folder]))["file"].to_list()
        [b'hello', None]
    """
    given = [allow_paths] if isinstance(allow_paths, str | Path) else list(allow_paths)
    roots = [Path(root).expanduser().resolve() for root in given]
    if not roots or not all(root.is_dir() for root in roots):
        msg = "read_files(allow_paths=…) must name folders that exist"
        raise ConfigurationError(msg)

    def read(column: pl.Series) -> pl.Series:
        found = [None if path is None else _read(path, roots) for path in column.cast(pl.String)]
        return pl.Series(column.name, found, dtype=pl.Binary)

    expr = pl.col(paths) if isinstance(paths, str) else paths
    return expr.map_batches(read, return_dtype=pl.Binary, is_elementwise=True)


def _read(path: str, roots: list[Path]) -> bytes:
    """A file's bytes.

    Raises:
        PlanError: If it is outside the allowed folders, is not there, or is too large. The path is not shown: it is
            a cell's text.
    """
    for root in roots:
        try:
            file = (root / path).resolve()
            if not file.is_relative_to(root) or not file.is_file():
                continue
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
        except (OSError, ValueError):
            continue
        if len(content) > MAX_BYTES:
            msg = f"read_files(): a file has more than {MAX_BYTES >> 20} MB"
            raise PlanError(msg)
        return content
    msg = "read_files(): a path names no file that can be read in the allowed folders (allow_paths=…)"
    raise PlanError(msg)
