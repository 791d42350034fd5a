"""Wall time against the bare client, at 50 ms."""

from __future__ import annotations

import tempfile
from operator import attrgetter
from typing import TYPE_CHECKING

from benchmarks.contender import contender
from benchmarks.figures import Figure, both, paired, ratio
from benchmarks.server import server
from benchmarks.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

LATENCY = 0.05
CONCURRENCY = 256

wall = attrgetter("wall")


def distinct(pairs: int) -> Iterator[Figure]:
    """2,000 distinct prompts."""
    yield _figure("2,000 distinct prompts at 50 ms: wall", pairs, 2_000, 2_000, 1.2)


def repeated(pairs: int) -> Iterator[Figure]:
    """20,000 rows of 1,000 distinct prompts."""
    yield _figure("20,000 rows of 1,000 distinct prompts at 50 ms: wall", pairs, 20_000, 1_000, 1.3)


def _figure(what: str, pairs: int, rows: int, prompts: int, target: float) -> Figure:
    with (
        tempfile.TemporaryDirectory() as directory,
        server(latency=LATENCY) as url,
        contender("ours", url, CONCURRENCY) as ours,
        contender("bare", url, CONCURRENCY) as bare,
    ):
        measured = paired(pairs, lambda salt: Work(salt, rows, prompts, CONCURRENCY, cache_dir=directory), ours, bare)
    return Figure(what, ratio(measured, wall), "x", target, both(measured, wall, "s"))
