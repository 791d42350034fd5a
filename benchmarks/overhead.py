"""What users pay who ask nothing yet: an armed capture, and planning."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import TYPE_CHECKING

import polars as pl

import polar_llama as pll
from benchmarks.figures import Figure
from polar_llama import settings
from polar_llama.exec.run import start_run
from polar_llama.frame.inference_frame import InferenceFrame
from polar_llama.frame.running import planned
from polar_llama.frame.stages import RunStages
from polar_llama.planner.lower import lower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = 100_000
QUERIES = 100
VERBS = 50
CALLS = 10


def armed(pairs: int) -> Iterator[Figure]:
    """A query without `llm()`, while capture is armed and while it is not."""
    frame = pl.DataFrame({"a": range(ROWS), "b": [i % 97 for i in range(ROWS)]}).lazy()
    _queries(frame)
    pairs_of_times = [(_armed(frame), _disarmed(frame)) for _ in range(pairs + 1)][1:]
    both = [1e6 * median(side) / QUERIES for side in zip(*pairs_of_times, strict=True)]
    absolute = f"armed {both[0]:,.0f} µs a query of {ROWS:,} rows, disarmed {both[1]:,.0f} µs"
    value = median(a / b for a, b in pairs_of_times)
    yield Figure("a query without llm(), built and collected: armed/disarmed", value, "x", 1.05, absolute)


def _armed(frame: pl.LazyFrame) -> float:
    pll.llm("a")
    return _timed(lambda: _queries(frame))


def _disarmed(frame: pl.LazyFrame) -> float:
    pll.disarm()
    return _timed(lambda: _queries(frame))


def _queries(frame: pl.LazyFrame) -> None:
    for _ in range(QUERIES):
        (
            frame.with_columns(c=pl.col("a") * 2, d=pl.col("b") + 1)
            .filter(pl.col("c") > 10, pl.col("d") < 90)
            .with_columns(e=pl.col("c") / pl.col("d"))
            .select("a", "e")
            .collect()
        )


def planning(runs: int) -> Iterator[Figure]:
    """A plan of 50 verbs and 10 calls, from what was captured to the native query."""
    query = _plan()
    assert isinstance(query, InferenceFrame)
    taken = [_timed(lambda: _lowered(query)) for _ in range(5 * runs)]
    absolute = f"at best {1e3 * min(taken):.2f} ms"
    yield Figure("planning 50 verbs and 10 calls", 1e3 * median(taken), "ms", 5, absolute, below=True)


def _plan() -> pl.LazyFrame:
    frame = pl.LazyFrame({"q": ["?"], "n": [1], "k": ["a"]})
    for i in range(CALLS):
        frame = frame.with_columns(pll.llm("q", system=f"call {i}").alias(f"a{i}"))
        frame = frame.with_columns((pl.col("n") + i).alias(f"n{i}"))
        frame = frame.filter(pl.col(f"n{i}") > i)
        frame = frame.sort("n", f"n{i}")
        frame = frame.head(1_000 - i) if i % 2 else frame.rename({f"n{i}": f"m{i}"})
    return frame


def _lowered(query: InferenceFrame) -> None:
    now = settings.current()
    lower(planned(query._plan, now), RunStages(start_run(now, os.environ), "auto"))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
