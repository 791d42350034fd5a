"""Where DuckDB runs: a database of our own, or the user's connection."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import duckdb

from polar_llama.frame.leaf import STAND_IN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_roots: dict[tuple[int, bool], duckdb.DuckDBPyConnection] = {}
_lock = threading.Lock()
_busy: WeakKeyDictionary[duckdb.DuckDBPyConnection, threading.RLock] = WeakKeyDictionary()


def _root(*, external_access: bool) -> duckdb.DuckDBPyConnection:
    """A database in memory, one a process: opening one takes 30 ms, a cursor of it one."""
    key = os.getpid(), external_access
    with _lock:
        if key not in _roots:
            root = duckdb.connect(":memory:")
            root.execute("SET GLOBAL python_enable_replacements = false")
            if not external_access:
                root.execute("SET GLOBAL enable_external_access = false")
            _roots[key] = root
        return _roots[key]


@atexit.register
def _close() -> None:
    """DuckDB complains at interpreter exit of connections left open, or closed and still referred to."""
    for key in [k for k in _roots if k[0] == os.getpid()]:  # that of the process we were forked from is not ours
        _roots.pop(key).close()


def _lock_of(connection: duckdb.DuckDBPyConnection) -> threading.RLock:
    """Held while a user's connection is used: it takes one query at a time."""
    with _lock:
        return _busy.setdefault(connection, threading.RLock())


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Database:
    """Gives connections to work on.

    Attributes:
        connection: The user's, or None for a database of our own.
        external_access: Whether files and URLs may be read (of our own database; the user's decides itself).
    """

    connection: duckdb.DuckDBPyConnection | None = None
    external_access: bool = True

    @property
    def owned(self) -> bool:
        """Whether the database is ours, so that queries run side by side and stream."""
        return self.connection is None

    @contextmanager
    def opened(self, tables: Mapping[str, Any]) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that sees some frames as tables, for the length of a `with` block."""
        if self.connection is None:
            cursor = _root(external_access=self.external_access).cursor()
            try:
                yield registered(cursor, tables)
            finally:
                cursor.close()
            return
        with _lock_of(self.connection):
            try:
                yield registered(self.connection, tables)
            finally:
                for name in tables:
                    self.connection.unregister(name)

    def __reduce__(self) -> tuple[Any, ...]:
        # A connection cannot travel, but to a copy that is looked at here; a database of our own is made anew.
        if STAND_IN.get() is not None:
            _databases[id(self)] = self
            return _database, (id(self),)
        if self.connection is not None:
            msg = "a query on a DuckDB connection cannot be pickled: the connection belongs to this process"
            raise TypeError(msg)
        return Database, (None, self.external_access)


_databases: WeakValueDictionary[int, Database] = WeakValueDictionary()


def _database(key: int) -> Database:
    return _databases[key]


def registered(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    """The connection, with frames registered as tables."""
    for name, frame in tables.items():
        connection.register(name, frame)
    return connection


def without_excerpt(error: duckdb.Error) -> duckdb.Error:
    """The error without DuckDB's excerpt, which shows a query that the user did not write."""
    return type(error)(str(error).split("\n\nLINE")[0])


def described(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Names and types of a query's columns, without running it.

    Raises:
        duckdb.Error: What DuckDB says of the query.
    """
    if not parameters:  # a relation is only bound, in half the time
        relation = connection.sql(query)
        return list(zip(relation.columns, map(str, relation.types), strict=True))
    rows = connection.execute(f"DESCRIBE {query}", dict(parameters)).fetchall()
    return [(name, kind) for name, kind, *_ in rows]
