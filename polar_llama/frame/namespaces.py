"""`lf.llm` and `df.llm`: what a frame that holds calls can tell before it runs."""

from __future__ import annotations

import polars as pl

from polar_llama.frame import looking


@pl.api.register_lazyframe_namespace("llm")
class LazyFrameNamespace:
    """`lf.llm`."""

    def __init__(self, frame: pl.LazyFrame) -> None:
        """Look at a frame."""
        self._frame = frame

    def explain(self, *, optimized: bool = True, verbose: bool = False) -> str:
        """The plan, before and after optimising; sends nothing: see `polar_llama.explain`."""
        return looking.explain(self._frame, optimized=optimized, verbose=verbose)
