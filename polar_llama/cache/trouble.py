"""What can go wrong with a cache directory, said so that its owner knows what to do."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_SECONDS = 60.0
"""How long a locked database is waited for: other processes hold it for milliseconds."""


class RefusedRowError(OSError):
    """A row that this cache would not write. An OSError, so diskcache's own methods take it for a miss, too."""


class DamagedError(Exception):
    """The database holds what diskcache would never write."""


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say about a cache directory into `ConfigurationError`."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a mistake of ours, not of the directory
    except (sqlite3.DatabaseError, DamagedError, OSError) as error:
        what, remedy = _diagnosis(error)
        msg = (
            f"the answer cache in {str(directory)!r} {what} ({error}); nothing was deleted. "
            f'{remedy}, or set cache_dir to another directory, or cache="off" to run without a cache'
        )
        raise ConfigurationError(msg) from error


_FULL = ("is on a full disk", "Free some space")
_DAMAGED = ("is damaged", "Move its cache.db away, and a new one is made")
_IN_THE_WAY = ("cannot be created: a file is in its place", "Move the file away")
_FORBIDDEN = ("cannot be written", "Check the permissions of the directory")
_BUSY = (f"stayed locked by another process for {BUSY_SECONDS:.0f} seconds", "End that process")
_OTHER = ("cannot be used", "Check the directory and its disk")

_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
}
_BY_SQLITE_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
}


def _diagnosis(error: Exception) -> tuple[str, str]:
    match error:
        case DamagedError():
            return _DAMAGED
        case OSError():
            return _BY_ERRNO.get(error.errno or 0, _OTHER)
        case sqlite3.Error():
            # The low byte is the primary code; an error raised by the Python module has none.
            return _BY_SQLITE_CODE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, _OTHER)
        case _:
            return _OTHER
