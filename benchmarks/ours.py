"""The product, by its front door: `lf.with_columns(a=llm("q")).collect()`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import polar_llama as pll
from benchmarks.contender import serve
from benchmarks.work import MODEL, Work

if TYPE_CHECKING:
    from collections.abc import Sequence


class Ours:
    """The process of a user.

    Args:
        url: The server's root.
        concurrency: The bare client's; runs set their own.
    """

    def __init__(self, url: str, concurrency: int) -> None:  # noqa: ARG002 -- the contenders are made alike
        os.environ |= {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "emulated-key"}
        pll.configure(model=f"openai:{MODEL}", progress=False)

    def prepare(self, work: Work) -> pl.LazyFrame:
        """What a run starts from."""
        return pl.LazyFrame({"q": work.column()})

    def run(self, work: Work, frame: pl.LazyFrame) -> pl.DataFrame:
        """The answered frame."""
        where: dict[str, Any] = {"cache_dir": Path(work.cache_dir)} if work.cache_dir else {}
        with pll.session(cache=work.cache, max_concurrency=work.concurrency, **where):
            return frame.with_columns(a=pll.llm("q")).collect()

    def answers(self, result: pl.DataFrame) -> Sequence[str | None]:
        """The answers, to be checked."""
        return result["a"].to_list()

    def close(self) -> None:
        """Nothing: the process ends."""


if __name__ == "__main__":
    serve(Ours)
