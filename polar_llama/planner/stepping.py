"""What a step does to rows of which not everything is known: what holds whatever the answers are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.exprs import conjuncts, per_row, row_wise, touches
from polar_llama.planner.flow import reads_of
from polar_llama.planner.marks import of_columns, row_mark
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
    schema_of,
)
from polar_llama.planner.rows import Rows, carried_marks, computed, is_computed, opaque, select, with_columns
from polar_llama.planner.stepping_natives import kept_rows, limited, native_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.planner.nodes import Item, Plan


def stepped(node: Plan, below: Sequence[Rows | None]) -> Rows | None:  # noqa: C901, PLR0911, PLR0912 -- one line a node
    """The rows after a native step; None where nothing bounds them.

    Args:
        node: The step, resolved; no `Answer`.
        below: The rows of its inputs.
    """
    if any(rows is None for rows in below):
        return limited(node)
    known = [rows for rows in below if rows is not None]
    free = not any(
        touches(read, rows.unknown) if read is not None else bool(rows.unknown)
        for read, rows in zip(reads_of(node), known, strict=True)
    )
    if free and all(rows.sure for rows in known) and not isinstance(node, Scan | Union):
        return Rows(apply(node, tuple(rows.frame for rows in known)), carried_marks(node, known))
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
            return known[0].some(kept_rows(node))
        case Distinct():
            return known[0].some()
        case Aggregate():
            return _grouped(node, known[0])
        case Join():
            return _joined(node, known[0], known[1], free=free)
        case Union():
            return _union(node, known)
        case Native():
            return native_rows(node, known[0], free=free)
        case Answer():
            raise AssertionError(node)


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
        return opaque(pl.LazyFrame({"row": [0]}), node)
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
        return replace(opaque(left.frame, node), most=left.most)
    exact = left.exact and right.exact
    keys = [key for side in node.args[:2] if isinstance(side, list) for key in side]
    if not free or not (exact or all(map(row_wise, keys))):
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
        carried_marks(node, (left, right)),
        exact=exact,
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
