"""One SQLite connection: used by one thread at a time, reopened when it has to be."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polar_llama.cache.directory import DATABASE
from polar_llama.cache.trouble import BUSY_SECONDS, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # with the write-ahead log: survives a killed process, costs no fsync a commit
    "PRAGMA cache_size = -32768",  # KiB: room for the index of a million keys
    "PRAGMA trusted_schema = OFF",  # a tampered schema may not call functions with side effects
)


class Connection:
    """A connection to the database of one cache directory, opened at the first use.

    diskcache opens one connection per thread and can close only the calling thread's; owning them
    lets `close` close, and a fork find nothing open.
    """

    def __init__(self, directory: Path, lay_out: Callable[[Path], None]) -> None:
        """Remember where; `lay_out` creates or checks the directory before each opening."""
        self._directory = directory
        self._path = directory / DATABASE
        self._lay_out = lay_out
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._file = (0, 0)

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The open connection, for this thread alone, with errors explained."""
        with self._lock, explained(self._directory):
            yield self._ready()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The open connection inside a write transaction: everything in the block is kept, or nothing."""
        with self.use() as database:
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            except BaseException:
                self._shut()  # rolls back, whatever state the failure left
                raise

    def close(self) -> None:
        """Close the connection, if it is open."""
        with self._lock:
            self._shut()

    def hold(self) -> None:
        """Close the connection and keep it closed until `release`."""
        self._lock.acquire()
        self._shut()

    def release(self) -> None:
        """End `hold`."""
        self._lock.release()

    def _ready(self) -> sqlite3.Connection:
        if self._open is None or self._file != _identity(self._path):
            self._shut()  # somebody removed the directory: writing on would store answers nowhere
            self._lay_out(self._directory)
            self._file = _identity(self._path)
            self._open = _connect(self._path)
        return self._open

    def _shut(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 -- on the path of every look-up, and half the price
    except FileNotFoundError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    database.text_factory = bytes  # a tampered row may hold text that is none: no reason for an error
    try:
        for pragma in _PRAGMAS:
            database.execute(pragma)
    except BaseException:
        database.close()
        raise
    return database
