"""Several processes on one directory: writing at once, killed, forked. Every process is real."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from polar_llama.cache import DiskCache, open_cache

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., subprocess.Popen[str]]

posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork")

PREAMBLE = """
import os, sys, threading
from pathlib import Path
from polar_llama.cache import open_cache

def key(*parts):
    return repr(parts).encode().ljust(20, b".")
"""


def key(*parts: object) -> bytes:
    return repr(parts).encode().ljust(20, b".")


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_processes_write_at_once(start: Start, disk_cache: DiskCache, directory: Path) -> None:
    script = (
        PREAMBLE
        + """
print("ready", flush=True)
sys.stdin.readline()
cache = open_cache(Path(sys.argv[1]))
me = int(sys.argv[2])
for batch in range(40):
    cache.put_many({key(me, batch, n): b"%d" % n for n in range(25)} | {key("shared"): b"%d" % me})
    assert len(cache.get_many([key(me, batch, n) for n in range(25)])) == 25
print("done")
"""
    )
    processes = [start(script, directory, me) for me in range(3)]
    assert [line(process) for process in processes] == ["ready"] * 3
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in processes] == ["done\n"] * 3
    expected = {key(me, batch, n): b"%d" % n for me in range(3) for batch in range(40) for n in range(25)}
    assert disk_cache.get_many(list(expected)) == expected
    assert disk_cache.get_many([key("shared")])[key("shared")] in {b"0", b"1", b"2"}
    assert disk_cache.info().entries == 3 * 40 * 25 + 1


def test_processes_create_one_directory_at_once(start: Start, directory: Path) -> None:
    script = (
        PREAMBLE
        + """
print("ready", flush=True)
sys.stdin.readline()
open_cache(Path(sys.argv[1])).put_many({key(int(sys.argv[2])): b"here"})
print("done")
"""
    )
    processes = [start(script, directory, me) for me in range(4)]
    assert [line(process) for process in processes] == ["ready"] * 4
    assert [process.communicate("go\n")[0] for process in processes] == ["done\n"] * 4
    assert dict(open_cache(directory).items()) == {key(me): b"here" for me in range(4)}
    open_cache(directory).close()


@posix
def test_a_killed_process_loses_nothing_that_was_put(start: Start, directory: Path) -> None:
    script = (
        PREAMBLE
        + """
cache = open_cache(Path(sys.argv[1]))
batch = 0
while True:
    cache.put_many({key(batch, n): b"x" * 500 for n in range(100)})
    print(batch, flush=True)
    batch += 1
"""
    )
    process = start(script, directory)
    last = 0
    while last < 12:
        last = int(line(process))
    process.kill()
    assert process.wait() == -9
    assert process.stdout is not None
    last = max([last, *map(int, process.stdout.read().split())])

    cache = open_cache(directory)
    found = [len(cache.get_many([key(batch, n) for n in range(100)])) for batch in range(last + 2)]
    assert found[: last + 1] == [100] * (last + 1)
    assert found[last + 1] in {0, 100}  # the batch in flight: wholly there, or not at all
    cache.close()


@posix
def test_a_fork_while_another_thread_writes(start: Start, disk_cache: DiskCache, directory: Path) -> None:
    script = (
        PREAMBLE
        + """
cache = open_cache(Path(sys.argv[1]))
cache.put_many({key("parent"): b"before"})
stop, written = threading.Event(), 0

def write():
    global written
    while not stop.is_set():
        cache.put_many({key("thread", written, n): b"x" for n in range(50)})
        cache.get_many([key("thread", written, 0)])
        written += 1

thread = threading.Thread(target=write)
thread.start()
children = []
for me in range(8):
    child = os.fork()
    if not child:
        for n in range(5):
            cache.put_many({key("child", me, n): b"x"})
        mine = key("child", me, 4)
        fine = cache.get_many([key("parent"), mine]) == {key("parent"): b"before", mine: b"x"}
        fine = fine and open_cache(Path(sys.argv[1])) is cache
        os._exit(0 if fine else 1)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop.set()
thread.join()
print(codes, written)
"""
    )
    output, _ = start("import warnings; warnings.filterwarnings('ignore', '.*fork')" + script, directory).communicate()
    codes, _, written = output.strip().rpartition(" ")
    assert codes == str([0] * 8), output
    expected = [key("thread", batch, n) for batch in range(int(written)) for n in range(50)]
    expected += [key("child", me, n) for me in range(8) for n in range(5)]
    assert len(disk_cache.get_many(expected)) == len(expected)


@posix
def test_a_child_outlives_its_parent(start: Start, disk_cache: DiskCache, directory: Path) -> None:
    script = (
        PREAMBLE
        + """
cache = open_cache(Path(sys.argv[1]))
cache.put_many({key("parent"): b"x"})
parent_gone, keep = os.pipe()
if os.fork():
    os.close(parent_gone)
    cache.put_many({key("parent", 2): b"x"})
    cache.close()
    os._exit(0)
os.close(keep)
os.read(parent_gone, 1)
cache.put_many({key("child"): b"x"})
print(len(dict(cache.items())), flush=True)
"""
    )
    output, _ = start("import warnings; warnings.filterwarnings('ignore', '.*fork')" + script, directory).communicate()
    assert output == "3\n"
    assert len(disk_cache.get_many([key("parent"), key("parent", 2), key("child")])) == 3
