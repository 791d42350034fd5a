"""How much a plan will ask, found without asking: the free parts run, unknown answers stay unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import polars as pl

from polar_llama.planner.answers import unstack
from polar_llama.planner.marks import mark, salted
from polar_llama.planner.nodes import Answer, Filter, Plan, Scan, Slice, Sort, inputs
from polar_llama.planner.rows import Rows, select, with_columns
from polar_llama.planner.schema import changed, schema_of_native
from polar_llama.planner.sieve import sieve
from polar_llama.planner.stepping import stepped
from polar_llama.planner.walk import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.call import Call


class Slots(NamedTuple):
    """The prompts of one stage.

    Attributes:
        frame: The columns of prompts, or of marks where those are not known.
        answers: Whose prompts they are.
        known: Which columns hold prompts.
        exact: Whether these are the rows that will be asked, all of them.
        most: How many of them will be asked at most, if that is known.
    """

    frame: pl.LazyFrame
    answers: tuple[Answer, ...]
    known: tuple[bool, ...]
    exact: bool
    most: int | None


class Reading(NamedTuple):
    """How a run reads the answers of a plan, as far as Polars decides it; each by its column and call.

    Attributes:
        unread: Those that nothing reads, and that are not asked for.
        limited: Those of which only the first rows are read.
    """

    unread: frozenset[tuple[str, Call]] = frozenset()
    limited: frozenset[tuple[str, Call]] = frozenset()


class Counter(Protocol):
    """Counts prompts and knows what is cached; the planner knows no cache."""

    def scanned(self, scan: Scan) -> Rows | None:
        """The rows of a native frame; None where they hang on answers that are unknown."""
        ...

    def counted(self, slots: Slots) -> Sequence[bool] | None:
        """Count a stage: per answer, whether all of it is cached. None: the rows could not be computed."""
        ...

    def unbounded(self, calls: Sequence[Call]) -> None:
        """Note calls of which nothing can be said."""
        ...

    def cached(self, frame: pl.LazyFrame, answers: Sequence[Answer], schema: pl.Schema) -> pl.LazyFrame:
        """The frame with slots answered from the cache, which holds all of them."""
        ...


def estimate(plan: Plan, counter: Counter, reading: Reading = Reading()) -> Rows | None:  # noqa: B008 -- immutable
    """Count what a plan asks, stage by stage.

    The input of the lowest stages is native and exact. A stage whose answers are all cached is answered,
    and the next is exact too. Otherwise its answers are unknown: filters that read them are taken to keep
    every row, prompts made of them differ where what they are made of differs, limits bound. So nothing
    is counted too low.

    Args:
        plan: A resolved and optimised plan.
        counter: Told of every stage.
        reading: What of its answers is read; all of them, unless known better.

    Returns:
        The rows of the result, as far as they are known.
    """
    return _Walk(counter, reading, _hurried(plan)).rows(plan)


class _Walk:
    def __init__(self, counter: Counter, reading: Reading, hurried: frozenset[int]) -> None:
        self._counter = counter
        self._reading = reading
        self._hurried = hurried

    def rows(self, plan: Plan) -> Rows | None:
        return fold(plan, self._step, _below)

    def _step(self, node: Plan, below: tuple[Rows | None, ...]) -> Rows | None:
        if isinstance(node, Scan):
            return self._counter.scanned(node)
        if (chain := sieve(node)) is not None:
            # Any of the predicates may run first, so each may be asked for every row.
            answers = [a for predicate in chain[0] for a in predicate.answers]
            rows = self._answered(answers, below[0], whole=False)
            for predicate in chain[0]:
                rows = stepped(Filter(node, predicate.expr, node.schema), [rows])
            return rows
        answers, _ = unstack(node)
        if not answers:
            return stepped(node, below)
        return self._answered(answers, below[0], whole=id(node) not in self._hurried)

    def _answered(self, answers: Sequence[Answer], rows: Rows | None, *, whole: bool) -> Rows | None:
        """The rows with answers for prompts, or marks.

        Args:
            answers: The calls of a stage.
            rows: What they are asked for.
            whole: Whether they are asked for every row.
        """
        found: Sequence[bool] | None = None
        every, answers = answers, [a for a in answers if (a.column, a.call) not in self._reading.unread]
        if rows is not None:
            whole = whole and not any((a.column, a.call) in self._reading.limited for a in answers)
            columns = [a.column for a in answers]
            slots = Slots(
                select(rows.frame, map(pl.col, columns)),
                tuple(answers),
                tuple(c not in rows.unknown for c in columns),
                rows.exact and whole,
                rows.most,
            )
            found = self._counter.counted(slots) if answers else ()
        if rows is None or found is None:
            self._counter.unbounded([a.call for a in answers])
            return None
        held = [a for a, is_cached in zip(answers, found, strict=True) if is_cached and a.column not in rows.unknown]
        open_ = [a for a in every if a not in held]
        frame = rows.frame
        if held:
            schema = changed(schema_of_native(frame), {a.column: a.call.dtype for a in held})
            frame = self._counter.cached(frame, held, schema)
        frame = with_columns(frame, _marks(open_, rows.unknown))
        unknown = rows.unknown.difference(a.column for a in held).union(a.column for a in open_)
        return replace(rows, frame=frame, unknown=unknown)


def _hurried(plan: Plan) -> frozenset[int]:
    """The identities of answers below a limit, which may have its rows before they are all asked."""
    found: set[int] = set()
    seen: set[tuple[int, bool]] = set()
    todo = [(plan, False)]
    while todo:
        node, hurried = todo.pop()
        if (id(node), hurried) in seen:
            continue
        seen.add((id(node), hurried))
        if isinstance(node, Answer) and hurried:
            found.add(id(node))
        below = (hurried or isinstance(node, Slice)) and not isinstance(node, Sort)
        todo += [(i, below) for i in inputs(node)]
    return frozenset(found)


def _marks(answers: Sequence[Answer], unknown: frozenset[str]) -> list[pl.Expr]:
    """Equal prompts of one call have equal answers; a null prompt has a null one."""
    salts: dict[tuple[Call, bool], pl.Expr] = {}
    marks = []
    for answer in answers:
        prompt = pl.col(answer.column)
        salt = salts.setdefault((answer.call, answer.column in unknown), salted())
        marks.append(pl.when(prompt.is_not_null()).then(mark([prompt], salt)).alias(answer.column))
    return marks


def _below(node: Plan) -> tuple[Plan, ...]:
    if (chain := sieve(node)) is not None:
        return (chain[1],)
    answers, base = unstack(node)
    return (base,) if answers else inputs(node)
