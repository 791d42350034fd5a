"""The rows a plan step gives while some answers are unknown: what holds whatever they are.

A column that is unknown holds *marks*: strings that are equal where the values must be equal, null
where they must be null. So the distinct marks of a prompt bound its distinct texts. Rows are the
real ones, or hold the real ones among others; a bound on their number may be known besides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.exprs import conjuncts, per_row, touches
from polar_llama.planner.flow import carried, reads_of
from polar_llama.planner.marks import computed, is_computed, of_columns, row_mark
from polar_llama.planner.nodes import (
    Aggregate,
    Answer,
    Distinct,
    Filter,
    Join,
    Native,
    Scan,
    Select,
    Slice,
    Sort,
    Union,
    WithColumns,
    apply,
    expression,
    inputs,
)
from polar_llama.planner.resolve import schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from polar_llama.planner.nodes import Item, Plan


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What is known of the rows at a step.

    Attributes:
        frame: The rows.
        unknown: The columns that hold marks.
        exact: Whether these are the real rows; else the real ones are among them.
        ordered: Whether they are in their real order.
        most: How many the real ones are at most, if less than all of these.
    """

    frame: pl.LazyFrame
    unknown: frozenset[str] = frozenset()
    exact: bool = True
    ordered: bool = True
    most: int | None = None

    @property
    def sure(self) -> bool:
        """Whether every step that reads only known columns can just be run."""
        return self.exact and self.ordered

    def some(self, most: int | None = None) -> Rows:
        """The same rows when only some of them are real."""
        bounds = [bound for bound in (self.most, most) if bound is not None]
        return replace(self, exact=False, most=min(bounds, default=None))


def stepped(node: Plan, below: Sequence[Rows | None]) -> Rows | None:  # noqa: C901, PLR0911, PLR0912 -- one line a node
    """The rows after a native step; None where nothing bounds them.

    Args:
        node: The step, resolved; no `Answer`.
        below: The rows of its inputs.
    """
    if any(rows is None for rows in below):
        return _limited(node)
    known = [rows for rows in below if rows is not None]
    free = not any(
        touches(read, rows.unknown) if read is not None else bool(rows.unknown)
        for read, rows in zip(reads_of(node), known, strict=True)
    )
    if free and all(rows.sure for rows in known) and not isinstance(node, Scan | Union):
        return Rows(apply(node, tuple(rows.frame for rows in known)), _carried(node, known))
    match node:
        case Scan():
            return Rows(node.frame)
        case Filter():
            return _filtered(node, known[0])
        case Select() | WithColumns():
            return _computed(node, known[0])
        case Sort():
            return replace(known[0], ordered=False)
        case Slice():
            return known[0].some(_kept(node))
        case Distinct():
            return known[0].some()
        case Aggregate():
            return _grouped(node, known[0])
        case Join():
            return _joined(node, known[0], known[1], free=free)
        case Union():
            return _union(node, known)
        case Native():
            return _native(node, known[0], free=free)
        case Answer():
            raise AssertionError(node)


def _carried(node: Plan, below: Sequence[Rows]) -> frozenset[str]:
    """Under which names unknown columns leave a step that does not read them."""
    return frozenset(
        name
        for side, rows in enumerate(below)
        for names in carried(node, side, rows.unknown).values()
        for name in names
    )


def with_columns(frame: pl.LazyFrame, exprs: Iterable[pl.Expr]) -> pl.LazyFrame:
    """`with_columns`, past the capture."""
    return apply(WithColumns(Scan(frame), tuple(exprs)), (frame,))


def select(frame: pl.LazyFrame, exprs: Iterable[pl.Expr]) -> pl.LazyFrame:
    """`select`, past the capture."""
    return apply(Select(Scan(frame), tuple(exprs)), (frame,))


def _limited(node: Plan) -> Rows | None:
    """Rows of which only their greatest number is known."""
    most = _kept(node)
    if most is None:
        return None
    return _opaque(pl.LazyFrame({"row": pl.int_range(most, eager=True)}), node)


def _kept(node: Plan) -> int | None:
    match node:
        case Slice(offset=offset, length=length):
            return -offset if length is None and offset < 0 else length
        case Native(verb="top_k" | "bottom_k" | "tail", args=(int(most), *_)):
            return most
        case Native(verb="tail", kwargs={"n": int(most)}):
            return most
        case _:
            return None


def _opaque(frame: pl.LazyFrame, node: Plan) -> Rows:
    """At most the rows of a frame, with nothing known of them."""
    names = schema_of(node).names()
    marked = select(frame, [row_mark().alias(name) for name in names]) if names else frame
    return Rows(marked, frozenset(names), exact=False, ordered=False)


def _filtered(node: Filter, rows: Rows) -> Rows:
    parts = conjuncts(node.predicate)
    known = [part for part in parts if is_computed(part, rows)]
    frame = rows.frame
    for part in known:
        frame = apply(Filter(Scan(frame), part), (frame,))
    kept = replace(rows, frame=frame)
    return kept if len(known) == len(parts) else kept.some()


def _computed(node: Select | WithColumns, rows: Rows) -> Rows | None:
    """Known columns are computed, the others are marked by what they are made of."""
    before = schema_of(node.input)
    outputs = [computed(item, rows, before) for item in node.items]
    exprs = [expr for _, made, _ in outputs for expr in made]
    unknown = frozenset(name for names, _, known in outputs if not known for name in names)
    if isinstance(node, WithColumns):
        kept = rows.unknown.difference(*(names for names, _, _ in outputs))
        return replace(rows, frame=with_columns(rows.frame, exprs), unknown=kept | unknown)
    heights = [_height(item) for item in node.items]
    if None in heights:
        return None
    if not any(heights):
        return _opaque(pl.LazyFrame({"row": [0]}), node)
    return replace(rows, frame=select(rows.frame, exprs), unknown=unknown)


def _height(item: Item) -> bool | None:
    """Whether an expression has the height of its frame; False: one row; None: any number."""
    expr = expression(item)
    if not expr.meta.has_multiple_outputs() and expr.meta.is_scalar():
        return False
    return True if per_row(expr) else None


def _grouped(node: Aggregate, rows: Rows) -> Rows:
    """No more groups than rows with different keys; what is aggregated is unknown."""
    before = schema_of(node.input)
    outputs = [computed(key, rows, before) for key in node.keys]
    exact = rows.exact and all(known for *_, known in outputs) and not node.having
    keys = select(rows.frame, [expr for _, made, _ in outputs for expr in made])
    groups = apply(Distinct(Scan(keys), None, "any", maintain_order=False), (keys,))
    known = {name for names, _, is_known in outputs if is_known for name in names}
    others = [name for name in schema_of(node).names() if not any(name in names for names, _, _ in outputs)]
    frame = with_columns(groups, [row_mark().alias(name) for name in others])
    names = schema_of(node).names()
    return Rows(select(frame, map(pl.col, names)), frozenset(names) - known, exact=exact, ordered=False, most=rows.most)


def _joined(node: Join, left: Rows, right: Rows, *, free: bool) -> Rows | None:
    """The pairs of all rows are among them the pairs of some; rows without a partner may be any."""
    how = next((a for a in node.args if isinstance(a, str)), "")
    if how in {"semi", "anti"} and not (free and (how == "semi" or right.exact)):
        return left.some()
    if node.verb == "join_asof":
        return replace(_opaque(left.frame, node), most=left.most)
    if not free:
        return None
    nothing = replace(right, frame=right.frame.clear())
    pairs = [(left, right)]
    if how in {"left", "full"} and not right.exact:
        pairs.append((left, nothing))
    if how in {"right", "full"} and not left.exact:
        pairs.append((replace(left, frame=left.frame.clear()), right))
    frames = [apply(node, (one.frame, other.frame)) for one, other in pairs]
    return Rows(
        frames[0] if len(frames) == 1 else pl.concat(frames),
        _carried(node, (left, right)),
        exact=left.exact and right.exact,
        ordered=left.ordered and right.ordered,
        most=left.most if how in {"semi", "anti"} else None,
    )


def _union(node: Union, parts: Sequence[Rows]) -> Rows:
    """What is unknown in one frame is marked in all."""
    unknown = frozenset().union(*(rows.unknown for rows in parts))
    frames = []
    for rows, plan in zip(parts, inputs(node), strict=True):
        made = [of_columns([name], schema_of(plan)).alias(name) for name in unknown - rows.unknown]
        frames.append(with_columns(rows.frame, made) if made else rows.frame)
    bounds = [rows.most for rows in parts]
    return Rows(
        pl.concat(frames),
        unknown,
        exact=all(rows.exact for rows in parts),
        ordered=all(rows.ordered for rows in parts),
        most=None if None in bounds else sum(bound or 0 for bound in bounds),
    )


_LOCAL = frozenset({"drop", "rename", "unnest", "drop_nulls", "drop_nans", "cache", "hint_sorted"})
_AS_MANY = frozenset({"shift", "cast", "with_row_index", "interpolate", "fill_nan", "unnest"})
_FEWER = frozenset({"drop_nulls", "drop_nans", "gather_every"})
_SINGLE = frozenset({"max", "min", "sum", "mean", "median", "std", "var", "quantile", "null_count", "count"})


def _native(node: Native, rows: Rows, *, free: bool) -> Rows | None:
    verb: str = node.verb
    if node.reads is not None and free and verb in _LOCAL | {"explode"}:
        most = None if verb == "explode" else rows.most
        return replace(rows, frame=apply(node, (rows.frame,)), unknown=_carried(node, [rows]), most=most)
    if verb in _FEWER or _kept(node) is not None:
        return rows.some(_kept(node))
    if verb in {"reverse", "with_row_index"}:
        return replace(rows, ordered=False) if verb == "reverse" else _indexed(node, rows)
    if verb in _AS_MANY:
        return replace(_opaque(rows.frame, node), exact=rows.exact, most=rows.most)
    return _opaque(pl.LazyFrame({"row": [0]}), node) if verb in _SINGLE else None


def _indexed(node: Native, rows: Rows) -> Rows:
    """A row's number is unknown where the rows are."""
    names = schema_of(node).names()
    new = set(names) - set(schema_of(node.input).names())
    frame = with_columns(rows.frame, [row_mark().alias(name) for name in new])
    return replace(rows, frame=select(frame, map(pl.col, names)), unknown=rows.unknown | new)
