"""From a plan to one native query: neighbouring answers become one stage, everything else is plain Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from polar_llama.planner.answers import unstack
from polar_llama.planner.nodes import Scan, Slice, apply, inputs, with_inputs
from polar_llama.planner.rules.stop_early import piecewise
from polar_llama.planner.schema import changed, schema_of_native
from polar_llama.planner.sieve import sieve
from polar_llama.planner.walk import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from polar_llama.planner.nodes import Answer, Plan
    from polar_llama.planner.sieve import Predicate


class Stages(Protocol):
    """Makes the native frames that answer; the planner knows no run."""

    def answer(self, frame: pl.LazyFrame, answers: Sequence[Answer], schema: pl.Schema) -> pl.LazyFrame:
        """The frame with its slots answered: all of them at the same time (`fuse_infer`).

        Args:
            frame: The frame with the slots.
            answers: The answers to fill in.
            schema: The schema with the answers' dtypes.
        """
        ...

    def sieve(self, frame: pl.LazyFrame, predicates: Sequence[Predicate], schema: pl.Schema) -> pl.LazyFrame:
        """The rows that pass all predicates, with their answers: the order of asking follows what has been seen.

        Args:
            frame: The frame with the slots of all of them.
            predicates: The predicates and the answers they read.
            schema: The schema with the answers' dtypes.
        """
        ...

    def until(
        self, frame: pl.LazyFrame, step: Callable[[pl.LazyFrame], pl.LazyFrame], rows: int, schema: pl.Schema
    ) -> pl.LazyFrame:
        """The frame put through a step piece by piece, until so many rows have come out.

        Args:
            frame: What is read in pieces.
            step: What a piece goes through.
            rows: When to stop.
            schema: The schema of what comes out.
        """
        ...


def lower(plan: Plan, stages: Stages) -> pl.LazyFrame:
    """Lower a resolved plan to a native frame; nothing runs yet."""
    return fold(plan, lambda node, frames: _lowered(node, frames, stages), _below)


def _below(node: Plan) -> tuple[Plan, ...]:
    """What has to be lowered before a node."""
    if isinstance(node, Slice) and node.early and (steps := piecewise(node)):
        return inputs(steps[-1])
    if (chain := sieve(node)) is not None:
        return (chain[1],)
    answers, base = unstack(node)
    return (base,) if answers else inputs(node)


def _lowered(node: Plan, frames: tuple[pl.LazyFrame, ...], stages: Stages) -> pl.LazyFrame:
    if isinstance(node, Slice) and node.early and (steps := piecewise(node)):
        assert node.length is not None  # noqa: S101 -- as `stop_early` demands

        def step(piece: pl.LazyFrame) -> pl.LazyFrame:
            plan: Plan = Scan(piece, inputs(steps[-1])[0].schema)
            for above in reversed(steps):
                plan = with_inputs(above, (plan,))
            return lower(plan, stages)

        schema = schema_of_native(step(frames[0].clear()))
        return apply(node, (stages.until(frames[0], step, node.offset + node.length, schema),))
    if (chain := sieve(node)) is not None:
        predicates = chain[0]
        return stages.sieve(frames[0], predicates, _schema(frames[0], [a for p in predicates for a in p.answers]))
    answers, _ = unstack(node)
    return stages.answer(frames[0], answers, _schema(frames[0], answers)) if answers else apply(node, frames)


def _schema(frame: pl.LazyFrame, answers: Sequence[Answer]) -> pl.Schema:
    return changed(schema_of_native(frame), {a.column: a.call.dtype for a in answers})
