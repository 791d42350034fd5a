"""CPU time and memory against the bare client: 100,000 distinct prompts, answered at once."""

from __future__ import annotations

import tempfile
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.contender import contender
from benchmarks.figures import Figure, both, paired, ratio
from benchmarks.server import server
from benchmarks.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.contender import Measured

PROMPTS = 100_000
CONCURRENCY = 256

peak = attrgetter("peak")


def uncached(pairs: int) -> Iterator[Figure]:
    """With the cache off."""
    yield from _figures("cache off", pairs, "off", 1.0)


def writing(pairs: int) -> Iterator[Figure]:
    """Writing the cache: as users run it."""
    yield from _figures("writing the cache", pairs, "use", 1.4)


def _figures(how: str, pairs: int, cache: str, target: float) -> Iterator[Figure]:
    with (
        tempfile.TemporaryDirectory() as directory,
        server() as url,
        contender("ours", url, CONCURRENCY) as ours,
        contender("bare", url, CONCURRENCY) as bare,
    ):
        measured = paired(pairs, lambda salt: Work(salt, PROMPTS, PROMPTS, CONCURRENCY, cache, directory), ours, bare)
    absolute = f"{both(measured, a_prompt, 'µs a prompt')}; wall {both(measured, attrgetter('wall'), 's')}"
    yield Figure(f"100,000 distinct prompts at 0 ms, {how}: CPU", ratio(measured, a_prompt), "x", target, absolute)
    more = median(pair.ours.peak - pair.bare.peak for pair in measured)
    yield Figure("the same: peak memory above the bare client's", more, "MiB", 200, both(measured, peak, "MiB"))


def a_prompt(measured: Measured) -> float:
    """Microseconds of CPU time a prompt."""
    return measured.cpu / PROMPTS * 1e6
