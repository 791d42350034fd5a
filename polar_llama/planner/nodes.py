"""The logical plan: a closed union of frozen nodes, and what each does to native frames.

A call is two things. Its *prompt* stands among the expressions of a `Select`, `WithColumns` or
`Aggregate`, where it was written, and renders the slot: a column under the answer's own name and
position. Its *answer* is an `Answer` node above, which fills the slot and is what moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import is_
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors
from polars._utils.wrap import wrap_expr, wrap_ldf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polar_llama.call import Call
    from polar_llama.template import Template, Told


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A prompt among a verb's expressions: renders the slot `column` of `call`.

    `source` is what was written; `expr` (String) is known once the input's dtypes are; `masked` says
    that `mask_infer` has looked at it.
    """

    column: str
    call: Call
    source: pl.Expr | Template | Told
    expr: pl.Expr | None = None
    masked: bool = False


Item = pl.Expr | Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Anything native: where a plan begins. `told` tells people more of it than Polars can."""

    frame: pl.LazyFrame
    schema: pl.Schema | None = None
    told: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """Keeps the rows whose predicate is true."""

    input: Plan
    predicate: pl.Expr
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """Gives exactly these expressions."""

    input: Plan
    items: tuple[Item, ...]
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WithColumns:
    """Adds or replaces columns; every expression reads the frame as it was before."""

    input: Plan
    items: tuple[Item, ...]
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sort:
    """Orders rows. `options` are `PyLazyFrame.sort_by_exprs`' arguments after `by`."""

    input: Plan
    by: tuple[pl.Expr, ...]
    options: tuple[Any, ...]
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Keeps `length` rows (None: all) from `offset`, which may count from the end.

    `early`: what is below is read piece by piece, until enough rows have come out (`stop_early`).
    """

    input: Plan
    offset: int
    length: int | None
    schema: pl.Schema | None = None
    early: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """Keeps one row (or none) of equal rows; `subset` None compares every column."""

    input: Plan
    subset: tuple[pl.Expr, ...] | None
    keep: str
    maintain_order: bool
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """Groups by `keys` and aggregates."""

    input: Plan
    keys: tuple[pl.Expr, ...]
    items: tuple[Item, ...]
    maintain_order: bool
    having: tuple[pl.Expr, ...] = ()
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """Any join of two plans: the `PyLazyFrame` method, its arguments after `other`, and what they read."""

    left: Plan
    right: Plan
    verb: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    left_reads: frozenset[str] | None
    right_reads: frozenset[str] | None
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """Frames of one schema, one under the other."""

    frames: tuple[Plan, ...]
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Replaces the prompts in `column` by their answers, in place; a null prompt gives null."""

    input: Plan
    column: str
    call: Call
    schema: pl.Schema | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Native:
    """Any other verb of one frame: the method of `PyLazyFrame` (or, in `MOVES`, of `LazyFrame`) and its arguments.

    `reads` names the columns whose values it looks at, when it only moves, renames, repeats or drops
    the others; None means that it may look at every value, and every answer comes first.
    """

    input: Plan
    verb: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    reads: frozenset[str] | None = None
    schema: pl.Schema | None = None


Plan = Scan | Filter | Select | WithColumns | Sort | Slice | Distinct | Aggregate | Join | Union | Answer | Native

MOVES = frozenset({"reverse", "gather_every", "shift"})
"""Verbs that move whole rows, which Polars writes as a select over every column."""


def inputs(node: Plan) -> tuple[Plan, ...]:
    """The plans a node stands on."""
    match node:
        case Scan():
            return ()
        case Join():
            return node.left, node.right
        case Union():
            return node.frames
        case _:
            return (node.input,)


def with_inputs(node: Plan, new: tuple[Plan, ...], **changes: Any) -> Plan:
    """The same node on other inputs, and with other changes; the same object when nothing changed."""
    if not changes and all(map(is_, inputs(node), new)):
        return node
    match node:
        case Scan():
            return replace(node, **changes)
        case Join():
            return replace(node, left=new[0], right=new[1], **changes)
        case Union():
            return replace(node, frames=new, **changes)
        case _:
            return replace(node, input=new[0], **changes)


def schema_of(node: Plan) -> pl.Schema:
    """The logical schema of a resolved node."""
    assert node.schema is not None, "resolve() gives every node a schema"  # noqa: S101
    return node.schema


def expression(item: Item) -> pl.Expr:
    """The Polars expression of an item, with its output name."""
    if isinstance(item, Prompt):
        assert item.expr is not None, "prompts are resolved before a plan runs"  # noqa: S101
        return item.expr.alias(item.column)
    return item


def output_name(item: Item) -> str:
    """The name of the column an item gives."""
    if isinstance(item, Prompt):
        return item.column
    return item.meta.output_name(raise_if_undetermined=False) or ""


def apply(node: Plan, frames: tuple[pl.LazyFrame, ...]) -> pl.LazyFrame:  # noqa: C901, PLR0911, PLR0912 -- one case a node
    """What a node does to native frames; an `Answer` is not native and is left to the caller.

    Polars' low-level methods are called, not the verbs, which notice answer columns and would record.
    """
    match node:
        case Scan():
            return node.frame
        case Filter():
            return _play(frames[0], "filter", node.predicate)
        case Select():
            return _play(frames[0], "select", [expression(i) for i in node.items])
        case WithColumns():
            return _play(frames[0], "with_columns", [expression(i) for i in node.items])
        case Sort():
            return _play(frames[0], "sort_by_exprs", list(node.by), *node.options)
        case Slice():
            return _play(frames[0], "slice", node.offset, node.length)
        case Distinct():
            subset = None if node.subset is None else list(node.subset)
            return _play(frames[0], "unique", node.maintain_order, subset, node.keep)
        case Aggregate():
            return _aggregated(node, frames[0])
        case Join():
            return _play(frames[0], node.verb, frames[1]._ldf, *node.args, **node.kwargs)
        case Union():
            return pl.concat(frames)
        case Native():
            if node.verb in MOVES:
                return getattr(frames[0], node.verb)(*node.args, **node.kwargs)  # type: ignore[no-any-return]
            return _play(frames[0], node.verb, *node.args, **node.kwargs)
        case Answer():
            return frames[0]


def _aggregated(node: Aggregate, frame: pl.LazyFrame) -> pl.LazyFrame:
    grouped = frame._ldf.group_by(_unwrapped(list(node.keys)), node.maintain_order)
    if node.having:
        grouped = grouped.having(_unwrapped(list(node.having)))
    return wrap_ldf(grouped.agg(_unwrapped([expression(i) for i in node.items])))


def _play(frame: pl.LazyFrame, verb: str, *args: Any, **kwargs: Any) -> pl.LazyFrame:
    method = getattr(frame._ldf, verb)
    return wrap_ldf(method(*map(_unwrapped, args), **{k: _unwrapped(v) for k, v in kwargs.items()}))


def _unwrapped(value: Any) -> Any:
    """Expressions as the handles Polars' methods take."""
    if isinstance(value, pl.selectors.Selector):
        return value._pyselector
    if isinstance(value, pl.Expr):
        return value._pyexpr
    return [_unwrapped(v) for v in value] if isinstance(value, list) else value


def wrapped(value: Any) -> Any:
    """Polars' handles as expressions, which can be read, compared and pickled."""
    match type(value).__name__:
        case "PyExpr":
            return wrap_expr(value)
        case "PySelector":
            return pl.selectors.Selector._from_pyselector(value)
        case "list":
            return [wrapped(v) for v in value]
        case _:
            return value
