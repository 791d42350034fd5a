"""`lf.llm` and `df.llm`: what a frame that holds calls can tell before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polar_llama.frame import looking

if TYPE_CHECKING:
    from polar_llama.frame.looking import Format


@pl.api.register_lazyframe_namespace("llm")
class LazyFrameNamespace:
    """`lf.llm`."""

    def __init__(self, frame: pl.LazyFrame) -> None:
        """Look at a frame."""
        self._frame = frame

    def explain(self, *, optimized: bool = True, verbose: bool = False, format: Format = "text") -> str:  # noqa: A002 -- the name users expect
        """The plan, before and after optimising; sends nothing: see `polar_llama.explain`."""
        return looking.explain(self._frame, optimized=optimized, verbose=verbose, format=format)

    def estimate(self) -> pl.DataFrame:
        """How much will be asked, and about what that will cost; sends nothing: see `polar_llama.estimate`."""
        return looking.estimate(self._frame)
