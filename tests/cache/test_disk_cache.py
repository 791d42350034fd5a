"""What is particular to the cache on disk: sharing, upkeep, its directory, its troubles."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from polar_llama.cache import DiskCache, connection, open_cache
from polar_llama.cache.trouble import explained
from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
KEYS = [bytes([n]) * 16 for n in range(100)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(directory: Path, because: str) -> pytest.RaisesExc[ConfigurationError]:
    """The error that names the directory, the cause, and both ways out."""

    def complete(error: ConfigurationError) -> bool:
        return all(part in str(error) for part in (str(directory), because, "cache_dir", 'cache="off"'))

    return pytest.RaisesExc(ConfigurationError, check=complete)


# Sharing


def test_one_object_per_directory_whatever_its_spelling(disk_cache: DiskCache, directory: Path) -> None:
    link = directory.with_name("link")
    link.symlink_to(directory)
    assert open_cache(directory) is disk_cache
    assert open_cache(directory / ".." / directory.name) is disk_cache
    assert open_cache(link) is disk_cache


def test_variables_in_the_path_are_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    cache = open_cache(Path("$SOMEWHERE/answers"))
    assert cache.directory == tmp_path / "answers"
    assert [entry.name for entry in tmp_path.iterdir()] == ["answers"]
    cache.close()


def test_whoever_still_uses_a_closed_cache_loses_nothing(disk_cache: DiskCache) -> None:
    disk_cache.close()
    disk_cache.put_many({KEYS[1]: b"one"})
    assert disk_cache.get_many([KEYS[1]]) == {KEYS[1]: b"one"}


def test_a_directory_removed_under_way_is_made_again(disk_cache: DiskCache, directory: Path) -> None:
    disk_cache.put_many({KEYS[1]: b"one"})
    shutil.rmtree(directory)
    disk_cache.put_many({KEYS[2]: b"two"})
    assert disk_cache.get_many(KEYS[:3]) == {KEYS[2]: b"two"}
    assert (directory / "cache.db").exists()


def test_the_import_is_lazy(start: Callable[..., subprocess.Popen[str]]) -> None:
    output, _ = start("import polar_llama.cache, sys; print('diskcache' in sys.modules)").communicate()
    assert output == "False\n"


# Upkeep


def test_info_counts_entries_and_bytes(disk_cache: DiskCache, directory: Path) -> None:
    disk_cache.put_many(dict.fromkeys(KEYS, b"x" * 10_000))
    info = disk_cache.info()
    assert (info.directory, info.entries) == (directory, 100)
    assert info.bytes_on_disk >= 1_000_000


def test_clear_forgets_and_gives_the_space_back(disk_cache: DiskCache) -> None:
    disk_cache.put_many(dict.fromkeys(KEYS, b"x" * 10_000))
    assert disk_cache.clear() == 100
    assert disk_cache.get_many(KEYS) == {}
    info = disk_cache.info()
    assert info.entries == 0
    assert info.bytes_on_disk < 200_000
    assert disk_cache.clear() == 0


@pytest.mark.parametrize("chunk", [1, 7, 100, 1_000])
def test_items_give_everything_once(disk_cache: DiskCache, chunk: int) -> None:
    stored = {key: key[:3] for key in KEYS}
    disk_cache.put_many(stored)
    assert list(disk_cache.items(chunk)) == list(stored.items())


def test_the_cache_can_be_used_while_it_is_exported(disk_cache: DiskCache) -> None:
    disk_cache.put_many(dict.fromkeys(KEYS[:50], b"old"))
    exported = []
    for number, item in enumerate(disk_cache.items(10)):
        exported.append(item)
        disk_cache.put_many({KEYS[number]: b"new"})
    assert [key for key, _ in exported] == KEYS[:50]


def test_large_values_stay_in_the_database(disk_cache: DiskCache, directory: Path) -> None:
    disk_cache.put_many({KEYS[0]: b"x" * 1_000_000})
    assert {entry.name for entry in directory.iterdir()} <= {"cache.db", "cache.db-wal", "cache.db-shm"}


@pytest.mark.parametrize("items", [{"a": b"1"}, {b"a": "1"}, {b"a": 1}, {b"a": None}], ids=repr)
def test_only_bytes_are_stored(disk_cache: DiskCache, items: dict[bytes, bytes]) -> None:
    with pytest.raises(TypeError, match="stores bytes, not"):
        disk_cache.put_many({KEYS[0]: b"fine", **items})
    assert disk_cache.info().entries == 0


def test_repr_names_the_directory(disk_cache: DiskCache, directory: Path) -> None:
    assert repr(disk_cache) == f"DiskCache({str(directory)!r})"


# Permissions


@posix
def test_a_new_directory_is_private(disk_cache: DiskCache, directory: Path) -> None:
    disk_cache.put_many({KEYS[0]: b"x"})
    assert mode(directory) == 0o700
    assert {mode(entry) for entry in directory.iterdir()} == {0o600}


@posix
def test_an_open_directory_of_ours_is_closed_to_others(directory: Path) -> None:
    open_cache(directory).close()
    directory.chmod(0o777)
    (directory / "cache.db").chmod(0o644)
    open_cache(directory).close()
    assert mode(directory) == 0o700
    assert mode(directory / "cache.db") == 0o600


@posix
def test_a_directory_with_other_things_in_it_stays_open_and_the_answers_private(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    (directory / "thesis.tex").touch()
    open_cache(directory).close()
    assert mode(directory) == 0o755
    assert mode(directory / "cache.db") == 0o600


@posix
def test_a_directory_made_for_everybody_stays_open(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o1777)
    open_cache(directory).close()
    assert mode(directory) == 0o1777


# Troubles


def test_a_file_in_the_place_of_the_directory(directory: Path) -> None:
    directory.write_text("mine")
    with refused(directory, "a file is in its place"):
        open_cache(directory)
    with refused(directory, "a file is in its place"):
        open_cache(directory / "below")
    assert directory.read_text() == "mine"


def test_a_path_that_is_none() -> None:
    with refused(Path("a"), "embedded null"):
        open_cache(Path("a\0b"))


@posix
@pytest.mark.parametrize("place", ["", "answers"], ids=["existing", "new"])
def test_a_directory_that_may_not_be_written(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, place: str
) -> None:
    script = """
import os, sys
from pathlib import Path
import polar_llama.cache.layout
from polar_llama.cache import open_cache
from polar_llama.cache.trouble import explained
from polar_llama.errors import ConfigurationError
if os.geteuid() == 0:  # nothing is forbidden to root
    os.setuid(65534)
try:
    open_cache(Path(sys.argv[1]))
except ConfigurationError as error:
    print(error)
"""
    tmp_path.chmod(0o555)
    output, _ = start(script, tmp_path / place).communicate()
    tmp_path.chmod(0o755)
    assert f"the answer cache in {str(tmp_path / place)!r} cannot be written" in output
    assert 'cache="off"' in output


def test_a_full_disk_loses_nothing(disk_cache: DiskCache, directory: Path) -> None:
    disk_cache.put_many({KEYS[0]: b"before"})
    with disk_cache._writer.use() as database:
        database.execute("PRAGMA max_page_count = 40").fetchall()
    with refused(directory, "is on a full disk"):
        disk_cache.put_many(dict.fromkeys(KEYS, b"x" * 10_000))
    assert dict(disk_cache.items()) == {KEYS[0]: b"before"}
    disk_cache.put_many(dict.fromkeys(KEYS[1:], b"x" * 10_000))  # space again: the limit went with its connection
    assert disk_cache.info().entries == 100


def test_an_interrupt_stores_nothing_and_lets_go(disk_cache: DiskCache, directory: Path) -> None:
    disk_cache.put_many({KEYS[0]: b"before"})

    def interrupted() -> None:
        with disk_cache._writer.transaction() as database:
            database.execute("DELETE FROM Cache")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert dict(disk_cache.items()) == {KEYS[0]: b"before"}
    other = sqlite3.connect(directory / "cache.db", isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")  # nobody holds the lock
    other.close()


@posix
def test_a_disk_that_refuses_to_write_loses_nothing(
    start: Callable[..., subprocess.Popen[str]], directory: Path
) -> None:
    script = """
import resource, sys
from pathlib import Path
from polar_llama.cache import open_cache
from polar_llama.cache.trouble import explained
from polar_llama.errors import ConfigurationError
cache = open_cache(Path(sys.argv[1]))
cache.put_many({b"k" * 16: b"before"})
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    cache.put_many({bytes([n]) * 16: b"x" * 50_000 for n in range(40)})
except ConfigurationError as error:
    print(error)
print(dict(cache.items()))
"""
    output, _ = start(script, directory).communicate()
    assert f"the answer cache in {str(directory)!r} cannot be used (disk I/O error)" in output
    assert output.endswith(f"{ {b'k' * 16: b'before'} }\n")
    assert dict(open_cache(directory).items()) == {b"k" * 16: b"before"}
    open_cache(directory).close()


def test_a_file_that_is_no_database(directory: Path) -> None:
    directory.mkdir()
    (directory / "cache.db").write_bytes(b"this is not a database" * 500)
    with refused(directory, "is damaged"):
        open_cache(directory)
    assert (directory / "cache.db").read_bytes() == b"this is not a database" * 500


def test_a_directory_in_the_place_of_the_database(directory: Path) -> None:
    (directory / "cache.db").mkdir(parents=True)
    with refused(directory, "cannot be written"):
        open_cache(directory)


def test_a_damaged_database(disk_cache: DiskCache, directory: Path) -> None:
    disk_cache.put_many(dict.fromkeys(KEYS, b"x" * 3_000))
    disk_cache.close()
    with (directory / "cache.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(8_192)
        file.write(b"\xff" * (size - 8_192))
    with refused(directory, "is damaged"):
        open_cache(directory).get_many(KEYS)


def test_extended_codes_are_explained_as_their_kind(directory: Path) -> None:
    def moved() -> None:
        with explained(directory):
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
            raise error

    with refused(directory, "cannot be written"):
        moved()


def test_a_locked_database_is_waited_for(disk_cache: DiskCache, directory: Path) -> None:
    disk_cache.put_many({KEYS[0]: b"zero"})
    other = sqlite3.connect(directory / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = threading.Thread(target=disk_cache.put_many, args=({KEYS[1]: b"one"},))
    writer.start()
    assert disk_cache.get_many(KEYS) == {KEYS[0]: b"zero"}  # readers do not wait
    assert writer.is_alive()
    other.execute("COMMIT")
    writer.join()
    other.close()
    assert disk_cache.get_many(KEYS) == {KEYS[0]: b"zero", KEYS[1]: b"one"}


def test_a_database_locked_for_good(monkeypatch: pytest.MonkeyPatch, disk_cache: DiskCache, directory: Path) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.01)
    disk_cache.put_many({KEYS[0]: b"zero"})  # the writer is open now, with that patience
    other = sqlite3.connect(directory / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with refused(directory, "locked by another process"):
        disk_cache.put_many({KEYS[1]: b"one"})
    other.close()
    disk_cache.put_many({KEYS[2]: b"two"})
    assert disk_cache.get_many(KEYS) == {KEYS[0]: b"zero", KEYS[2]: b"two"}
