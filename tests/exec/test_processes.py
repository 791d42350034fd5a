"""The engine at the edges of a process: its end, its forks, its interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent

HEAD = """
import asyncio, os, sys, threading
from engine_kit import MemoryCache, Server, pairs, question
from polar_llama.exec.dispatch import dispatcher

def submit(server, count, **changes):
    items = pairs(count)
    return dispatcher().submit(question(server, **changes), [k for k, _ in items], [p for _, p in items])
"""


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", HEAD + textwrap.dedent(program)],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(program: str) -> str:
    process = start(program)
    out, err = process.communicate(timeout=30)
    assert (err, process.returncode) == ("", 0)
    return out


def test_a_process_ends_promptly_and_quietly_with_requests_in_flight() -> None:
    began = time.monotonic()
    run("""
        server = Server(latency=600.0)
        job = submit(server, 1000)
        job.wait(0.2)
    """)
    assert time.monotonic() - began < 8


def test_answers_that_came_back_before_the_end_are_stored() -> None:
    out = run("""
        import atexit
        cache = MemoryCache()
        atexit.register(lambda: print(len(cache.stored)))
        class Last(Server):
            async def complete(self, request):
                if request.prompt == "prompt 99":
                    came.set()
                    await asyncio.sleep(600)
                return await super().complete(request)
        came = threading.Event()
        submit(Last(latency=0.0, travel=0.0), 100, cache=cache)
        came.wait()
    """)
    assert out == "99\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own_engine() -> None:
    out = run("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        server = Server(latency=600.0, capacity=5)
        quick = Server(latency=0.0)
        assert submit(quick, 10).wait(10)
        submit(server, 20, scope="other")
        parents = dispatcher()
        child = os.fork()
        if child == 0:
            assert dispatcher() is not parents
            assert submit(quick, 20).wait(10)
            print("child", flush=True)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert dispatcher() is parents
        assert submit(quick, 30).wait(10)
        print("parent")
    """)
    assert out == "child\nparent\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_an_interrupt_gets_through_a_wait() -> None:
    process = start("""
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
        job = submit(Server(latency=600.0), 10)
        try:
            print("waiting", flush=True)
            job.wait()
        except KeyboardInterrupt:
            job.cancel()
            print("interrupted")
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
