"""Looking before running: what a frame will ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from polar_llama import settings
from polar_llama.errors import ConfigurationError
from polar_llama.frame.inference_frame import plan_of
from polar_llama.planner.explain import changes, describe, stages
from polar_llama.planner.mermaid import mermaid
from polar_llama.planner.optimizer import optimize
from polar_llama.planner.resolve import resolve

if TYPE_CHECKING:
    import polars as pl

    from polar_llama.planner.nodes import Plan

Format = Literal["text", "mermaid"]


def explain(frame: pl.LazyFrame, *, optimized: bool = True, verbose: bool = False, format: Format = "text") -> str:  # noqa: A002 -- the name users expect
    """Show how a frame will be run; sends nothing, and runs nothing of the query.

    Args:
        frame: Any lazy frame; one without calls is a single scan.
        optimized: Also show the optimised plan and its stages.
        verbose: Also show what each rule did, a line per change.
        format: `"text"`, or `"mermaid"` for a picture of the plan (the optimised one, if `optimized`)
            in the language of Mermaid.

    Returns:
        The logical plan, the optimised plan and the stages, as indented trees, the last step first.
        A stage is what is asked at the same time; it names the stages whose answers it needs.

    Raises:
        ConfigurationError: If `format` is unknown.
        PlanError: If the query cannot be planned.
        polars.exceptions.PolarsError: What Polars says of the query.
    """
    if format not in ("text", "mermaid"):
        msg = f'explain() writes format="text" or format="mermaid", not {format!r}'
        raise ConfigurationError(msg)
    logical = resolve(plan_of(frame), settings.current().on_error)
    seen: list[tuple[str, Plan, Plan]] = []
    best = optimize(logical, observe=lambda *change: seen.append(change)) if optimized else logical
    if format == "mermaid":
        return mermaid(best)
    parts = [("LOGICAL PLAN", describe(logical))]
    if optimized and verbose:
        parts.append(("RULES", changes(seen)))
    if optimized:
        parts += [("OPTIMIZED PLAN", describe(best)), ("STAGES", stages(best))]
    return "\n\n".join(f"{title}\n{text}" for title, text in parts)
