"""From a plan to one native query: neighbouring answers become one stage, everything else is plain Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.answers import unstack
from polar_llama.planner.nodes import Answer, apply, inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.planner.nodes import Plan

    Stage = Callable[[pl.LazyFrame, Sequence[Answer], pl.Schema], pl.LazyFrame]


def lower(plan: Plan, stage: Stage) -> pl.LazyFrame:
    """Lower a resolved plan.

    Args:
        plan: A resolved plan.
        stage: Makes the native frame that answers: it is handed the frame with the slots, the answers
            to fill in (they run concurrently: `fuse_infer`), and the schema with the answers' dtypes.

    Returns:
        A native frame; nothing has run.
    """
    done: dict[int, pl.LazyFrame] = {}
    todo: list[tuple[Plan, bool]] = [(plan, False)]
    while todo:
        node, ready = todo.pop()
        if id(node) in done:
            continue
        answers, base = unstack(node)
        below = (base,) if answers else inputs(node)
        if not ready:
            todo.append((node, True))
            todo += [(i, False) for i in below]
            continue
        frames = tuple(done[id(i)] for i in below)
        done[id(node)] = _answered(frames[0], answers, stage) if answers else apply(node, frames)
    return done[id(plan)]


def _answered(frame: pl.LazyFrame, answers: Sequence[Answer], stage: Stage) -> pl.LazyFrame:
    schema = pl.Schema(frame.collect_schema())
    for answer in answers:
        schema[answer.column] = answer.call.dtype
    return stage(frame, answers, schema)
