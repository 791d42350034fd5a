"""Real processes: killed, interrupted, forked, two at once. What came back is never asked again."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from fault_kit import Counting, ask, finished, right, start

import polar_llama as pll

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polar_llama.testing import Emulator

    Emulate = Callable[..., Emulator]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")

IN_FLIGHT = 32
WAYS = {
    "collect": "ask({count})",
    "eager": "prompts({count}).with_columns(a=pll.llm('q'))",
    "sink": "prompts({count}).lazy().with_columns(a=pll.llm('q')).sink_parquet(sys.argv[1])",
    "native": "d = prompts({count}).lazy().with_columns(a=pll.llm('q'))\npl.concat([d, d], how='diagonal').collect()",
    "batches": "list(prompts({count}).lazy().with_columns(a=pll.llm('q')).collect_batches())",
}


def test_kill_9_repeats_what_was_in_flight_and_one_commit(emulate: Emulate) -> None:
    counting = Counting(1_000)
    emulator = emulate(latency=0.04, answer=counting)
    process = start(f"pll.configure(max_concurrency={IN_FLIGHT})\nask(2_000)")
    assert counting.reached.wait(30)
    process.kill()
    assert finished(process)[2] == -signal.SIGKILL
    before = emulator.stats().requests
    assert before < 2_000
    emulator.reset()
    assert ask(2_000)["a"].to_list() == right(2_000)
    repeated = before + emulator.stats().requests - 2_000
    assert 0 <= repeated <= IN_FLIGHT + 200


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_ends_a_run_and_keeps_what_came_back(emulate: Emulate, tmp_path: Path, way: str) -> None:
    counting = Counting(300)
    emulator = emulate(latency=0.02, answer=counting)
    script = WAYS[way].format(count=20_000)
    process = start(f"pll.configure(max_concurrency={IN_FLIGHT})\n{script}", tmp_path / "file.parquet")
    assert counting.reached.wait(30)
    process.send_signal(signal.SIGINT)
    _, err, code = finished(process, within=10)  # the whole run would take longer than that
    assert code != 0
    assert "KeyboardInterrupt" in err
    answered = emulator.stats().answered
    assert answered < 10_000
    emulator.reset()
    with pll.session(cache="replay", on_error="null"):
        kept = 20_000 - ask(20_000)["a"].null_count()
    assert answered - IN_FLIGHT <= kept <= answered
    assert emulator.stats().requests == 0


def test_an_interrupt_gets_through_to_a_run_that_waits(emulate: Emulate) -> None:
    counting = Counting(1)  # of answers that come in ten minutes
    emulator = emulate(latency=600.0, answer=counting)
    process = start("""
try:
    ask(10)
except KeyboardInterrupt:
    print("interrupted")
""")
    assert counting.reached.wait(30)
    process.send_signal(signal.SIGINT)
    assert finished(process, within=15) == ("interrupted\n", "", 0)
    assert emulator.stats().answered == 0


def test_after_an_interrupt_the_process_goes_on(emulate: Emulate) -> None:
    counting = Counting(100)
    emulate(latency=0.01, answer=counting)
    process = start("""
pll.configure(max_concurrency=8)
try:
    ask(5_000)
except KeyboardInterrupt:
    assert ask(50)["a"].to_list() == right(50)
    print("went on")
""")
    assert counting.reached.wait(30)
    process.send_signal(signal.SIGINT)
    assert finished(process) == ("went on\n", "", 0)


LEFT = {
    "interrupted in a loop": "try: asyncio.run(awaited())\nexcept KeyboardInterrupt: pass",
    "a task left alone": "asyncio.run(left_alone())",
    "in the background": "kept = frame.collect(background=True)\nsys.stdin.readline()",
    "in a daemon": "threading.Thread(target=quietly, daemon=True).start()\nsys.stdin.readline()",
    "batches half read": "kept = iter(frame.collect_batches(chunk_size=1))\nnext(kept)\nsys.stdin.readline()",
    "native batches half read": """
kept = iter(pl.concat([frame, frame], how="diagonal").collect_batches(chunk_size=1))
next(kept)
sys.stdin.readline()
""",
}


@pytest.mark.parametrize("way", LEFT)
def test_a_process_ends_while_a_query_runs(emulate: Emulate, way: str) -> None:
    """Python kills threads that come back from Polars after its end, and then the process aborts."""
    counting = Counting(1_200)
    emulate(latency=0.01, answer=counting)
    process = start(f"""
import asyncio, contextlib, threading
frame = prompts(20_000).lazy().with_columns(a=pll.llm("q"))
def quietly():
    with contextlib.suppress(pll.AnswerError):
        frame.collect()
async def awaited():
    await frame.collect_async()
async def left_alone():
    task = asyncio.create_task(frame.collect_async())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
{LEFT[way]}
""")
    assert counting.reached.wait(30)
    if "interrupted" in way:
        process.send_signal(signal.SIGINT)
    assert finished(process, within=10, told="end\n") == ("", "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_asks_for_itself(emulator: Emulator) -> None:
    # Polars' streaming engine does not survive a fork; eager frames do.
    process = start("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # a process with threads is forked: that is the point
def answers(count):
    return prompts(count).with_columns(a=pll.llm("q"))["a"].to_list()
assert answers(20) == right(20)
child = os.fork()
if child == 0:
    assert answers(30) == right(30)
    assert pll.last_run().total.sent == 10
    print("child", flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert answers(40) == right(40)
print("parent")
""")
    assert finished(process) == ("child\nparent\n", "", 0)
    assert emulator.stats().requests == 40


def test_two_processes_on_one_cache(emulate: Emulate) -> None:
    emulator = emulate(latency=0.001)
    script = "assert ask(1_000)['a'].to_list() == right(1_000)\nprint(pll.last_run().total.sent)"
    both = [start(script), start(script)]
    sent = 0
    for process in both:
        out, err, code = finished(process)
        assert (err, code) == ("", 0)
        sent += int(out)
    assert emulator.stats().requests == sent
    assert 1_000 <= sent <= 2_000
    emulator.reset()
    assert ask(1_000)["a"].to_list() == right(1_000)
    assert emulator.stats().requests == 0


def test_a_process_ends_by_itself_after_a_failed_run(emulate: Emulate) -> None:
    emulate(key="another")
    process = start("ask(10)")
    _, err, code = finished(process)
    assert code == 1
    assert "ProviderError" in err
    assert err.count("Traceback") == 1 + err.count("direct cause")
