"""The disk cache: a diskcache directory, read and written in bulk."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from polar_llama.cache.connection import Connection
from polar_llama.cache.directory import DATABASE, located
from polar_llama.cache.trouble import RefusedRowError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

CHUNK = 500
"""Keys per statement: measured 2.5 microseconds a key; smaller chunks pay per statement, larger ones gain nothing."""

# The constants are the columns `raw`, `size`, `mode` and `filename` of a row of plain bytes: see `BytesDisk`.
_PUT = """
WITH given (key, value) AS (VALUES {marks})
INSERT INTO Cache (key, raw, store_time, access_time, size, mode, filename, value)
SELECT key, 1, ?, ?, 0, 1, NULL, value FROM given WHERE true
ON CONFLICT (key, raw) DO UPDATE SET
    store_time = excluded.store_time, access_time = excluded.access_time,
    size = excluded.size, mode = excluded.mode, filename = excluded.filename, value = excluded.value
"""
_PAGE = "SELECT rowid, key, raw, mode, filename, value FROM Cache WHERE rowid > ? ORDER BY rowid LIMIT ?"


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache holds.

    Attributes:
        directory: Where it is.
        entries: How many answers are stored.
        bytes_on_disk: The size of its files, in bytes.
    """

    directory: Path
    entries: int
    bytes_on_disk: int


class DiskCache:
    """Answers on disk, safe to use from several threads and processes at once; see `open_cache`.

    Every method raises `ConfigurationError`, naming the directory and the way out, when the
    directory cannot be used: not writable, full, damaged, or locked for longer than a minute. What
    was stored before stays stored; a `put_many` that fails stores nothing.
    """

    def __init__(self, directory: Path) -> None:
        """Prepare the cache in a directory; nothing is opened before the first use."""
        from polar_llama.cache.layout import BytesDisk, lay_out  # diskcache costs 20 ms to import

        self.directory = directory
        self._disk = BytesDisk(directory)
        # A writer may wait for another process; readers need not wait for it.
        self._reader = Connection(directory, lay_out)
        self._writer = Connection(directory, lay_out)

    def open(self) -> None:
        """Open the directory now, so that its troubles are told before anything is sent."""
        with self._reader.use():
            pass

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The stored values of those keys that are present; a row that is not plain bytes is not."""
        found: dict[bytes, bytes] = {}
        fetch = self._disk.fetch
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            with self._reader.use() as database:
                for key, mode, filename, value in database.execute(_select(len(chunk)), chunk):
                    try:
                        found[key] = fetch(mode, filename, value)
                    except RefusedRowError:
                        continue
        return found

    def put_many(self, items: Mapping[bytes, bytes]) -> None:
        """Store values in one transaction; they outlive a killed process when this returns.

        Raises:
            TypeError: If a key or a value is not bytes; nothing is stored.
        """
        if not items:
            return
        put, store = self._disk.put, self._disk.store
        given = [part for key, value in items.items() for part in (put(key)[0], store(value)[-1])]
        now = time.time()
        with self._writer.transaction() as database:
            for start in range(0, len(given), 2 * CHUNK):
                chunk = given[start : start + 2 * CHUNK]
                database.execute(_insert(len(chunk) // 2), (*chunk, now, now))

    def items(self, chunk: int = CHUNK) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value, in the order of their first storing; `chunk` are read at a time."""
        last = -1
        while True:
            with self._reader.use() as database:
                rows = database.execute(_PAGE, (last, chunk)).fetchall()
            for last, key, raw, mode, filename, value in rows:  # noqa: B007 -- where the next page starts
                try:
                    yield self._disk.get(key, raw), self._disk.fetch(mode, filename, value)
                except RefusedRowError:
                    continue
            if len(rows) < chunk:
                return

    def info(self) -> CacheInfo:
        """How much is stored, and where."""
        with self._reader.use() as database:
            ((entries,),) = database.execute("SELECT count(*) FROM Cache")
            size = sum(_size(file) for file in self.directory.glob(f"{DATABASE}*"))
        return CacheInfo(directory=self.directory, entries=entries, bytes_on_disk=size)

    def clear(self) -> int:
        """Forget every answer, give the space back, and say how many there were."""
        with self._writer.transaction() as database:
            gone = database.execute("DELETE FROM Cache").rowcount
        with self._writer.use() as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return gone

    def close(self) -> None:
        """Close files and connections; the next use opens them again, for whoever shares this object."""
        self._reader.close()
        self._writer.close()

    def hold(self) -> None:
        """Close everything, and keep other threads waiting until `release`: a fork may come."""
        self._reader.hold()
        self._writer.hold()

    def release(self) -> None:
        """End `hold`."""
        self._reader.release()
        self._writer.release()

    def __repr__(self) -> str:
        """Name the directory."""
        return f"DiskCache({str(self.directory)!r})"


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):  # another process may close, and so remove, the log
        return file.stat().st_size
    return 0


@cache
def _select(keys: int) -> str:
    # CROSS JOIN keeps SQLite to this order: one probe of the index per key, no sorting of the keys.
    marks = ", ".join(["(?)"] * keys)
    return (
        f"WITH asked (wanted) AS (VALUES {marks}) "  # noqa: S608 -- marks only
        "SELECT key, mode, filename, value FROM asked CROSS JOIN Cache ON key = wanted AND raw = 1"
    )


@cache
def _insert(rows: int) -> str:
    # One statement for many rows: sqlite3 lets go of the interpreter's lock and takes it again at every one.
    return _PUT.format(marks=", ".join(["(?, ?)"] * rows))


_caches: dict[Path, DiskCache] = {}
_lock = threading.Lock()


def open_cache(directory: Path) -> DiskCache:
    """The cache in a directory: created when missing, and one object per directory and process.

    Args:
        directory: Where answers are kept: made private to its user (mode 0700).

    Raises:
        ConfigurationError: If the directory cannot be created, read or written, or holds a damaged
            database.
    """
    path = located(directory)
    with _lock:
        found = _caches.get(path) or DiskCache(path)
        found.open()
        return _caches.setdefault(path, found)


# SQLite must not be carried over a fork: the child would inherit locks it does not hold, and perhaps
# a mutex that nobody will release. So nothing is open while a process forks; both sides reopen.


def _before_fork() -> None:
    _lock.acquire()
    for shared in _caches.values():
        shared.hold()


def _after_fork() -> None:
    for shared in _caches.values():
        shared.release()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
