"""The directory of a cache: one spelling of its path, and private to its user."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path

from polar_llama.errors import ConfigurationError

DATABASE = "cache.db"
"""What diskcache calls its file."""


def located(directory: Path) -> Path:
    """The absolute path of a directory, the same for every spelling.

    Raises:
        ConfigurationError: If it is no path at all.
    """
    try:
        # diskcache expands variables in paths: done here first, both mean the same place.
        return Path(os.path.expandvars(directory)).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        msg = f'the answer cache cannot be in {str(directory)!r} ({error}); set another cache_dir, or cache="off"'
        raise ConfigurationError(msg) from error


def make_private(directory: Path) -> None:
    """Create a directory and its database file for their user only; close ours when others may enter.

    Raises:
        OSError: If the file system refuses.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = directory / DATABASE
    with contextlib.suppress(FileExistsError):
        # SQLite gives its other files the permissions of this one. An existing file is not opened:
        # closing it would drop every lock this process holds on it.
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    if sys.platform != "win32":
        _close_to_others(database)
        if _is_only_a_cache(directory):
            _close_to_others(directory)


def _close_to_others(path: Path) -> None:
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
        path.chmod(stat.S_IMODE(found.st_mode) & 0o700)


def _is_only_a_cache(directory: Path) -> bool:
    """Whether nobody else uses a directory: `cache_dir="."` or `"/tmp"` must not lock people out."""
    if directory.stat().st_mode & stat.S_ISVTX:
        return False
    with os.scandir(directory) as entries:
        return all(entry.name.startswith(DATABASE) for entry in entries)
