"""The rest of `stepping`: verbs that are `Native` nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.marks import of_columns, row_mark
from polar_llama.planner.nodes import Native, Slice, apply, schema_of
from polar_llama.planner.rows import Rows, carried_marks, opaque, select

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.planner.nodes import Plan

LARGEST = 1_000_000
"""Rows: a limit above it bounds nothing by itself."""

_LOCAL = frozenset({"drop", "rename", "explode", "unnest", "drop_nans", "cache", "hint_sorted"})
"""What they do to a row does not hang on other rows."""

_AS_MANY = frozenset({"shift", "cast", "interpolate", "fill_nan"})
"""They give as many rows as they get."""

_FEWER = frozenset({"drop_nans", "gather_every"})
"""They keep rows or drop them."""

_SINGLE = frozenset({"max", "min", "sum", "mean", "median", "std", "var", "quantile", "null_count", "count"})
"""They give one row."""


def native_rows(node: Native, rows: Rows, *, free: bool) -> Rows | None:
    """The rows after a verb that cannot just be run; None where nothing bounds them.

    Args:
        node: The verb.
        rows: The rows before it.
        free: Whether it reads known columns only.
    """
    verb: str = node.verb
    if node.reads is not None and free and verb in _LOCAL:
        most = None if verb == "explode" else rows.most
        return replace(rows, frame=apply(node, (rows.frame,)), unknown=carried_marks(node, [rows]), most=most)
    if verb in _FEWER or kept_rows(node) is not None:
        return rows.some(kept_rows(node))
    if verb in _KEEPING:
        return _KEEPING[verb](node, rows)
    if verb in _AS_MANY:
        return replace(opaque(rows.frame, node), exact=rows.exact, most=rows.most)
    return opaque(pl.LazyFrame({"row": [0]}), node) if verb in _SINGLE else None


def _reversed(node: Native, rows: Rows) -> Rows:
    del node
    return replace(rows, ordered=False)


def _indexed(node: Native, rows: Rows) -> Rows:
    """A row's number is unknown where the rows are."""
    new = set(schema_of(node).names()) - set(schema_of(node.input).names())
    return _marked(node, rows, dict.fromkeys(new, row_mark()))


def _unnested(node: Native, rows: Rows) -> Rows:
    """The fields of an answer are unknown as it is, and null where it is."""
    before = schema_of(node.input)
    marks: dict[str, pl.Expr] = {}
    for column in node.reads or ():
        found = pl.when(pl.col(column).is_not_null()).then(of_columns([column], before))
        dtype = before[column]
        marks |= {field.name: found for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}
    return _marked(node, rows, marks)


def _marked(node: Native, rows: Rows, marks: Mapping[str, pl.Expr]) -> Rows:
    """The rows with new columns of marks, in the order a step gives them."""
    names = schema_of(node).names()
    exprs = [marks[name].alias(name) if name in marks else pl.col(name) for name in names]
    unknown = rows.unknown.intersection(names).union(marks)
    return replace(rows, frame=select(rows.frame, exprs), unknown=unknown)


_KEEPING = {"reverse": _reversed, "with_row_index": _indexed, "unnest": _unnested}
"""Verbs that keep every row, and what is known of them after."""


def kept_rows(node: Plan) -> int | None:
    """How many rows a step keeps at most, if it says so."""
    match node:
        case Slice(offset=offset, length=length):
            return -offset if length is None and offset < 0 else length
        case Native(verb="top_k" | "bottom_k" | "tail", args=(int(most), *_)):
            return most
        case Native(verb="tail", kwargs={"n": int(most)}):
            return most
        case _:
            return None


def limited(node: Plan) -> Rows | None:
    """Rows of which only their greatest number is known."""
    most = kept_rows(node)
    if most is None or most > LARGEST:
        return None
    return opaque(pl.LazyFrame({"row": pl.int_range(most, eager=True)}), node)
