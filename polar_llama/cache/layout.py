"""The directory format of diskcache, with its open doors shut.

diskcache unpickles any row that says it is a pickle (CVE-2025-69872), opens and deletes any file a
row names, and obeys any setting it finds in the database. Whoever can write to the directory could
run code as its reader. Here a row is plain bytes or it does not exist, and settings come from this
file only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import diskcache
from diskcache.core import ENOVAL, MODE_RAW, UNKNOWN

from polar_llama.cache.directory import make_private
from polar_llama.cache.trouble import BUSY_SECONDS, DamagedError, RefusedRowError

if TYPE_CHECKING:
    from pathlib import Path

_SETTINGS = {
    "eviction_policy": "none",  # the default silently drops answers beyond 1 GB
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "sqlite_auto_vacuum": 1,  # a cleared cache gives its space back
    "sqlite_cache_size": 2**13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,  # a disk error would be a crash (SIGBUS) instead of an error
    "sqlite_synchronous": 1,
}

_REFUSED = "not a row of plain bytes"


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Rows of plain bytes, all in the database: no pickles, and no files.

    A large value is in the database as well. diskcache's separate files are not part of the
    transaction: after a power loss a row may name an empty one, which is a wrong answer.
    """

    def __init__(self, directory: Path | str, **_: object) -> None:
        """Take no settings: diskcache passes on those it found in the database."""
        super().__init__(str(directory))

    def put(self, key: bytes) -> tuple[bytes, bool]:
        """The columns `key` and `raw`."""
        return _bytes(key), True

    def get(self, key: object, raw: object) -> bytes:
        """The key of a row; refuses pickled ones."""
        if not raw or type(key) is not bytes:
            raise RefusedRowError(_REFUSED)
        return key

    def store(
        self,
        value: bytes,
        read: object = False,  # noqa: ARG002, FBT002 -- diskcache's signature, here and below
        key: object = UNKNOWN,  # noqa: ARG002
    ) -> tuple[int, int, None, bytes]:
        """The columns `size` (of a separate file), `mode`, `filename` and `value`."""
        return 0, MODE_RAW, None, _bytes(value)

    def fetch(self, mode: object, filename: object, value: object, read: object = False) -> bytes:  # noqa: FBT002
        """The value of a row; refuses pickles, files, and types we do not store."""
        if mode != MODE_RAW or filename is not None or read or type(value) is not bytes:
            raise RefusedRowError(_REFUSED)
        return value

    def remove(self, file_path: object) -> None:
        """Leave the file that a row names: no row of ours names one."""


def _bytes(given: object) -> bytes:
    if type(given) is not bytes:
        msg = f"the answer cache stores bytes, not {type(given).__name__}"
        raise TypeError(msg)
    return given


class _Layout(diskcache.Cache):  # type: ignore[misc]
    """Creates or checks the tables, then lets go: reading and writing happen on our connections."""

    def __init__(self, directory: Path) -> None:
        try:
            super().__init__(str(directory), timeout=BUSY_SECONDS, disk=BytesDisk, **_SETTINGS)
        finally:
            self.close()

    def reset(self, key: str, value: object = ENOVAL, update: bool = True) -> object:  # noqa: ARG002, FBT001, FBT002 -- diskcache's signature
        """Apply a setting of ours; others, from the database, would become pragmas and attributes."""
        if key in _SETTINGS:
            return super().reset(key, _SETTINGS[key], update)
        return None


def lay_out(directory: Path) -> None:
    """Create or check a cache directory and its tables, both private to their user.

    Raises:
        OSError: If the directory cannot be created or changed.
        sqlite3.DatabaseError: If the database cannot be used.
        DamagedError: If the database holds what diskcache would never write.
    """
    make_private(directory)
    try:
        _Layout(directory)
    except (AttributeError, TypeError, ValueError) as error:
        # What diskcache stumbles over when its Settings table was tampered with.
        raise DamagedError(str(error)) from error
