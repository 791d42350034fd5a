"""Looking before running: what a frame will ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama import settings
from polar_llama.frame.inference_frame import plan_of
from polar_llama.planner.explain import changes, describe, stages
from polar_llama.planner.optimizer import optimize
from polar_llama.planner.resolve import resolve

if TYPE_CHECKING:
    import polars as pl

    from polar_llama.planner.nodes import Plan


def explain(frame: pl.LazyFrame, *, optimized: bool = True, verbose: bool = False) -> str:
    """Show how a frame will be run; sends nothing.

    Args:
        frame: Any lazy frame; one without calls is a single scan.
        optimized: Also show the optimised plan and its stages.
        verbose: Also show what each rule did.

    Returns:
        The logical plan, the optimised plan and the stages, as indented trees, the last step first.

    Raises:
        PlanError: If the query cannot be planned.
        polars.exceptions.PolarsError: What Polars says of the query.
    """
    logical = resolve(plan_of(frame), settings.current().on_error)
    parts = [("LOGICAL PLAN", describe(logical))]
    if optimized:
        seen: list[tuple[str, Plan, Plan]] = []
        best = optimize(logical, observe=lambda rule, before, after: seen.append((rule, before, after)))
        if verbose:
            parts.append(("RULES", changes(seen)))
        parts += [("OPTIMIZED PLAN", describe(best)), ("STAGES", stages(best))]
    return "\n\n".join(f"{title}\n{text}" for title, text in parts)
