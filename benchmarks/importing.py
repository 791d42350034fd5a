"""What importing the package adds to importing Polars, in a new process."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.contender import ROOT
from benchmarks.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import time
began = time.perf_counter()
import polars
between = time.perf_counter()
import polar_llama
print(between - began, time.perf_counter() - between)
"""


def imported(runs: int) -> Iterator[Figure]:
    """The time after Polars is there."""
    taken = [_times() for _ in range(runs + 1)][1:]  # the first may find Python's byte code uncompiled
    polars, ours = (median(column) for column in zip(*taken, strict=True))
    yield Figure("import polar_llama, after polars", ours, "s", 0.3, f"polars itself {polars:.2f} s", below=True)


def _times() -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True)
    polars, ours = map(float, done.stdout.split())
    return polars, ours
