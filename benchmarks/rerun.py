"""A new process that reads its answers from the cache: how long it takes to start, and then per prompt."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.contender import peak_memory
from benchmarks.work import MODEL, Work, digest


def main() -> None:
    """Read the work from the command line; print what it took."""
    work = Work(**json.loads(sys.argv[1]))
    column = work.column()
    began = time.perf_counter()
    import polars as pl

    import polar_llama as pll

    pll.configure(model=f"openai:{MODEL}", progress=False, cache_dir=work.cache_dir)
    pl.LazyFrame({"q": column[:1]}).with_columns(a=pll.llm("q")).collect()
    start = time.perf_counter() - began
    frame = pl.LazyFrame({"q": column})
    cpu, wall = time.process_time(), time.perf_counter()
    result = frame.with_columns(a=pll.llm("q")).collect()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    report = pll.last_run()
    assert report is not None
    assert report.total.sent == 0, "the cache did not hold every answer"
    print(json.dumps([start, wall, cpu, peak_memory(), digest(result["a"])]))


if __name__ == "__main__":
    main()
