"""Looking before running: what a frame will ask."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from polar_llama import settings
from polar_llama.errors import ConfigurationError, PlanError
from polar_llama.exec.pool import environment
from polar_llama.frame.estimating import estimated
from polar_llama.frame.inference_frame import plan_of
from polar_llama.frame.leaf import below
from polar_llama.planner.explain import changes, describe, scans, stages
from polar_llama.planner.mermaid import mermaid
from polar_llama.planner.optimizer import optimize
from polar_llama.planner.resolve import resolve

if TYPE_CHECKING:
    import polars as pl

    from polar_llama.planner.nodes import Plan

Format = Literal["text", "mermaid"]


def explain(frame: pl.LazyFrame, *, optimized: bool = True, verbose: bool = False, format: Format = "text") -> str:  # noqa: A002 -- the name users expect
    """Show how a frame will be run; sends nothing, and runs nothing of the query but for the counts of `verbose`.

    Args:
        frame: Any lazy frame; one without calls is a single scan.
        optimized: Also show the optimised plan and its stages.
        verbose: Also show what each rule did, a line per change, and, where a model is set, how many requests
            planning, dedupe and the cache leave of those the query as written would be: the figures of `estimate`,
            for which the free parts of the query run.
        format: `"text"`, or `"mermaid"` for a picture of the plan (the optimised one, if `optimized`)
            in the language of Mermaid.

    Returns:
        The logical plan, the optimised plan and the stages, as indented trees, the last step first.
        A stage is what is asked at the same time; it names the stages whose answers it needs. Then the same of
        frames with calls that a scan reads, as what DuckDB runs in a SQL query does.

    Raises:
        ConfigurationError: If `format` is unknown.
        PlanError: If the query cannot be planned.
        polars.exceptions.PolarsError: What Polars says of the query.
    """
    if format not in ("text", "mermaid"):
        msg = f'explain() writes format="text" or format="mermaid", not {format!r}'
        raise ConfigurationError(msg)
    if format == "mermaid":
        logical = resolve(plan_of(frame), settings.current().on_error)
        return mermaid(optimize(logical) if optimized else logical)
    parts = _parts(plan_of(frame), optimized=optimized, verbose=verbose)
    if optimized and verbose:
        with suppress(ConfigurationError, PlanError):  # no model is set, or a part of the query cannot be counted
            parts.append(("REQUESTS", _requests(estimate(frame))))
    return "\n\n".join(f"{title}\n{text}" for title, text in parts if text)


def _parts(plan: Plan, *, optimized: bool, verbose: bool) -> list[tuple[str, str]]:
    """Titles and texts for a plan, then for the plans of frames with calls that it begins with."""
    logical = resolve(plan, settings.current().on_error)
    seen: list[tuple[str, Plan, Plan]] = []
    best = optimize(logical, observe=lambda *change: seen.append(change)) if optimized else logical
    parts = [("LOGICAL PLAN", describe(logical))]
    if optimized and verbose:
        parts.append(("RULES", changes(seen)))
    if optimized:
        parts += [("OPTIMIZED PLAN", describe(best)), ("STAGES", stages(best)), ("SCANS", scans(best))]
    for read in below(plan):
        read_parts = _parts(read, optimized=optimized, verbose=verbose)
        parts += [(f"READ BY A SCAN ABOVE: {title}", text) for title, text in read_parts]
    return parts


def _requests(figures: pl.DataFrame) -> str:
    """A line per call: what planning, dedupe and the cache leave of its requests."""
    steps = {"requests_as_written": "as written", "rows": "planned", "prompts": "distinct", "requests": "not cached"}
    lines = []
    for row in figures.iter_rows(named=True):
        counts = [f"{'?' if row[name] is None else format(row[name], ',')} {step}" for name, step in steps.items()]
        lines.append(f"{row['call']}: {' -> '.join(counts)}{'' if row['exact'] else ', at most'}")
    return "\n".join(lines)


def estimate(frame: pl.LazyFrame) -> pl.DataFrame:
    """Say how much a frame will ask and about what that will cost; sends nothing and writes nothing.

    The free parts of the query run, as often as it has stages, and prompts are looked up in the cache. Where
    an answer is not there, nothing is assumed of it: a filter that reads it is taken to keep every row, prompts
    made from it to differ wherever they can. So a run sends `requests` or fewer, and exactly `requests` where
    `exact` is true; retries, and second askings after an answer that does not validate, come on top.

    Tokens are guessed from bytes (four a token), corrected by what the model has counted in this process; an
    answer is taken to have `max_tokens` tokens, else as many as the call's answers had so far, else 256 (16
    for a single Boolean, number, date or one of some words). Prices are the list prices of `genai-prices`,
    with the discount for the share of input that the provider has cached itself so far.

    Args:
        frame: Any lazy frame. For one that holds calls inside a native query the figures are upper bounds.

    Returns:
        A row per call, none if nothing is asked: `call` and `model` (String); `rows` that reach the call,
        `prompts` that differ, those `cached`, `requests`, `input_tokens`, `output_tokens` (Int64); `cost_usd`
        (Float64; null where the price is not known; 0.0 for what is local or not sent); `exact` (Boolean; else
        upper bounds); `requests_as_written` (Int64): what asking for each row where the call is written would
        send, without planning, dedupe and cache. Figures that nothing bounds before others are answered are null.

    Raises:
        ConfigurationError: If no model is set, or a model, provider or cache cannot be used.
        PlanError: If the query cannot be planned, or calls inside a native query cannot be looked at.
        polars.exceptions.PolarsError: What Polars says of the query.
    """
    return estimated(frame, settings.current(), environment())
