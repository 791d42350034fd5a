"""Whoever can write to the cache directory can change answers, and nothing else."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import diskcache
import pytest

from polar_llama.cache import DiskCache, open_cache
from polar_llama.cache.layout import BytesDisk
from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY, GOOD = b"k" * 16, b"g" * 16


@dataclass
class Exploit:
    """Unpickling it makes a file."""

    trace: Path

    def __reduce__(self) -> tuple[object, ...]:
        """What pickle calls when it loads this."""
        return Path.touch, (self.trace,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "pwned"


@pytest.fixture
def attacker(disk_cache: DiskCache, directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the closed cache's database, which holds one good row."""
    disk_cache.put_many({GOOD: b"good"})
    disk_cache.close()
    with closing(sqlite3.connect(directory / "cache.db", isolation_level=None)) as database:
        yield database


def plant(attacker: sqlite3.Connection, **columns: object) -> None:
    row = {"key": KEY, "raw": 1, "mode": 1, "filename": None, "value": None, **columns}
    attacker.execute("INSERT INTO Cache (key, raw, mode, filename, value) VALUES (?, ?, ?, ?, ?)", [*row.values()])


def test_a_pickled_value_is_a_miss(attacker: sqlite3.Connection, directory: Path, trace: Path) -> None:
    plant(attacker, mode=4, value=pickle.dumps(Exploit(trace)))
    cache = open_cache(directory)
    assert cache.get_many([KEY, GOOD]) == {GOOD: b"good"}
    assert list(cache.items()) == [(GOOD, b"good")]
    with diskcache.Cache(str(directory), disk=BytesDisk) as careful:
        assert careful.get(KEY) is None
    assert not trace.exists()

    with diskcache.Cache(str(directory)) as careless:  # the attack is real
        careless.get(KEY)
    assert trace.exists()


def test_a_pickled_key_is_no_key(attacker: sqlite3.Connection, directory: Path, trace: Path) -> None:
    pickled = pickle.dumps(Exploit(trace))
    plant(attacker, key=pickled, raw=0, value=b"bad")
    cache = open_cache(directory)
    assert cache.get_many([pickled, GOOD]) == {GOOD: b"good"}
    assert list(cache.items()) == [(GOOD, b"good")]
    with diskcache.Cache(str(directory), disk=BytesDisk) as careful, suppress(OSError):
        list(careful)
    assert not trace.exists()

    with diskcache.Cache(str(directory)) as careless:
        list(careless)
    assert trace.exists()


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
def test_a_row_that_names_a_file(attacker: sqlite3.Connection, directory: Path, tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(pickle.dumps(Exploit(tmp_path / "pwned")))
    plant(attacker, mode=mode, filename=f"../{secret.name}")
    cache = open_cache(directory)
    assert cache.get_many([KEY]) == {}
    assert list(cache.items()) == [(GOOD, b"good")]
    cache.put_many({KEY: b"asked again"})
    assert cache.get_many([KEY]) == {KEY: b"asked again"}
    cache.clear()
    assert secret.exists()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("value", [None, 7, 7.5], ids=repr)
def test_a_value_of_another_type_is_a_miss(attacker: sqlite3.Connection, directory: Path, value: object) -> None:
    plant(attacker, value=value)
    cache = open_cache(directory)
    assert cache.get_many([KEY, GOOD]) == {GOOD: b"good"}
    assert list(cache.items()) == [(GOOD, b"good")]


@pytest.mark.parametrize("column", ["mode", "filename", "value", "raw"])
def test_text_that_is_no_text_breaks_nothing(attacker: sqlite3.Connection, directory: Path, column: str) -> None:
    plant(attacker, value=b"v")
    attacker.execute(f"UPDATE Cache SET {column} = CAST(x'fffe' AS TEXT) WHERE key = ?", (KEY,))
    cache = open_cache(directory)
    assert cache.get_many([GOOD]) == {GOOD: b"good"}
    assert dict(cache.items())[GOOD] == b"good"
    assert cache.get_many([KEY]) == ({KEY: b"\xff\xfe"} if column == "value" else {})


def test_a_refused_row_is_replaced_by_the_next_answer(attacker: sqlite3.Connection, directory: Path) -> None:
    plant(attacker, mode=4, value=pickle.dumps("x"))
    cache = open_cache(directory)
    cache.put_many({KEY: b"answer"})
    assert cache.get_many([KEY]) == {KEY: b"answer"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sqlite_synchronous", "OFF; DROP TABLE Cache"),
        ("sqlite_journal_mode", "delete"),
        ("sqlite_writable_schema", 1),
        ("_directory", "/"),
        ("_sql", "text"),
        ("close", "text"),
        ("disk_fetch", "text"),
        ("disk__directory", "/"),
        ("disk_unheard_of", 1),
        ("eviction_policy", "unheard of"),
        ("cull_limit", 1_000_000),
        ("timeout", "text"),
        ("count", "text"),
    ],
)
def test_settings_in_the_database_are_not_obeyed(
    attacker: sqlite3.Connection, directory: Path, key: str, value: object
) -> None:
    attacker.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (key, value))
    cache = open_cache(directory)
    cache.put_many({KEY: b"answer"})
    assert cache.get_many([KEY, GOOD]) == {KEY: b"answer", GOOD: b"good"}
    assert attacker.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_settings_in_the_database_run_no_pragma(attacker: sqlite3.Connection, directory: Path) -> None:
    attacker.execute("INSERT INTO Settings VALUES ('sqlite_user_version', 77)")
    open_cache(directory).put_many({KEY: b"answer"})
    assert attacker.execute("PRAGMA user_version").fetchall() == [(0,)]

    diskcache.Cache(str(directory)).close()  # the attack is real
    assert attacker.execute("PRAGMA user_version").fetchall() == [(77,)]


def test_settings_that_diskcache_cannot_read_are_damage(attacker: sqlite3.Connection, directory: Path) -> None:
    attacker.execute("INSERT INTO Settings VALUES (x'00', 1)")
    with pytest.raises(ConfigurationError, match="is damaged") as caught:
        open_cache(directory)
    assert str(directory) in str(caught.value)


def test_nothing_is_culled_after_a_careless_visitor(attacker: sqlite3.Connection, directory: Path) -> None:
    attacker.execute("UPDATE Cache SET expire_time = 1.0")
    with diskcache.Cache(str(directory)) as visitor:
        settings = visitor.eviction_policy, visitor.cull_limit, visitor.size_limit
        visitor[b"v" * 16] = b"x" * 100
    assert settings == ("none", 0, 2**62)
    assert open_cache(directory).get_many([GOOD]) == {GOOD: b"good"}
