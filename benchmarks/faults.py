"""A server that fails, and one that is asked too much."""

from __future__ import annotations

import tempfile
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.contender import contender
from benchmarks.figures import Figure, both, check, paired, ratio
from benchmarks.server import server, stats
from benchmarks.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

LATENCY = 0.05
CONCURRENCY = 256
FAULTS = {"rate_limited": 0.02, "server_error": 0.01, "reset": 0.005, "truncated": 0.005, "retry_after": 1.0}
ROOM = 32
PROMPTS = 2_000

wall = attrgetter("wall")


def faulty(pairs: int) -> Iterator[Figure]:
    """5,000 prompts; each side has a server of its own, with the same seed: the same requests are hit."""
    with (
        tempfile.TemporaryDirectory() as directory,
        server(latency=LATENCY, seed=1, **FAULTS) as one,
        server(latency=LATENCY, seed=1, **FAULTS) as other,
        contender("ours", one, CONCURRENCY) as ours,
        contender("bare", other, CONCURRENCY) as bare,
    ):

        def work(salt: str) -> Work:
            return Work(salt, 5_000, 5_000, CONCURRENCY, cache_dir=directory, retry=True)

        measured = paired(pairs, work, ours, bare)
    what = "5,000 prompts; 2 % 429, 1 % 500, 0.5 % reset, 0.5 % cut: wall"
    yield Figure(what, ratio(measured, wall), "x", 1.3, both(measured, wall, "s"))


def crowded(runs: int) -> Iterator[Figure]:
    """2,000 prompts, no cap given, at a server that answers 429 (Retry-After 1) above 32 in flight.

    A new process every time: what was learned of a server is kept within one.
    """
    walls, refused = zip(*(_crowded(f"r{i}") for i in range(runs)), strict=True)
    best = PROMPTS / ROOM * LATENCY
    absolute = f"{median(walls):.2f} s, at best {best:.3f} s"
    yield Figure("2,000 prompts, 429 above 32 in flight, no cap: wall", median(walls) / best, "x", 1.4, absolute)
    share = 100 * median(refused)
    yield Figure("the same: refused requests", share, "%", 5, f"most of a run {100 * max(refused):.1f} %", below=True)


def _crowded(salt: str) -> tuple[float, float]:
    with (
        tempfile.TemporaryDirectory() as directory,
        server(latency=LATENCY, max_in_flight=ROOM, retry_after=1.0) as url,
        contender("ours", url, CONCURRENCY) as ours,
    ):
        work = Work(salt, PROMPTS, PROMPTS, None, cache_dir=directory)
        measured = ours(work)
        check(work, measured)
        seen = stats(url)
        return measured.wall, seen["refused"] / seen["requests"]
