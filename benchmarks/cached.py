"""The second run: 100,000 distinct prompts answered from the cache, by a new process that cannot reach a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.contender import ROOT, Measured, contender
from benchmarks.figures import Figure, check
from benchmarks.server import server
from benchmarks.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPTS = 100_000


def cached(runs: int) -> Iterator[Figure]:
    """Start-up, and the CPU time of a prompt after it."""
    with tempfile.TemporaryDirectory() as directory:
        work = Work("cached", PROMPTS, PROMPTS, cache_dir=directory)
        with server() as url, contender("ours", url, 256) as ours:
            check(work, ours(work))
        taken = [_rerun(work, url) for _ in range(runs + 1)][1:]  # the first may find Python's byte code uncompiled
    start, wall, cpu = (median(column) for column in list(zip(*taken, strict=True))[:3])
    absolute = f"wall {wall:.2f} s, {wall / PROMPTS * 1e6:.1f} µs a prompt"
    a_prompt = cpu / PROMPTS * 1e6
    yield Figure("100,000 prompts from the cache, new process: CPU a prompt", a_prompt, "µs", 8, absolute)
    yield Figure("start-up: import to the first row, from the cache", start, "s", 1, "polars included", below=True)


def _rerun(work: Work, url: str) -> tuple[float, float, float]:
    environ = {**os.environ, "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "emulated-key"}
    command = [sys.executable, "-m", "benchmarks.rerun", json.dumps(work.to_dict())]
    done = subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True)
    start, wall, cpu, peak, digest = json.loads(done.stdout)
    check(work, Measured(wall, cpu, peak, digest))
    return start, wall, cpu
