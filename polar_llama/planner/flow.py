"""What a step reads, and under which names the columns it does not read leave it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.planner.exprs import bare_column, reads
from polar_llama.planner.nodes import (
    Aggregate,
    Answer,
    Distinct,
    Filter,
    Join,
    Native,
    Prompt,
    Scan,
    Select,
    Slice,
    Sort,
    Union,
    WithColumns,
    apply,
    expression,
    inputs,
    output_name,
    schema_of,
)
from polar_llama.planner.schema import changed, empty, schema_of_native

if TYPE_CHECKING:
    from collections.abc import Collection

    from polar_llama.planner.nodes import Item, Plan


def reads_of(node: Plan) -> tuple[frozenset[str] | None, ...]:  # noqa: C901, PLR0911 -- one case a node
    """Per input: the columns whose values a resolved step looks at; None when it may be any."""
    match node:
        case Scan() | Slice():
            return (frozenset(),)
        case Union():
            return (frozenset(),) * len(node.frames)
        case Filter():
            return (reads([node.predicate]),)
        case Select() | WithColumns():
            return (reads([expression(i) for i in node.items if _bare(i) is None]),)
        case Sort():
            return (reads(node.by),)
        case Distinct():
            return (None if node.subset is None else reads(node.subset),)
        case Aggregate():
            return (reads([*node.keys, *node.having, *map(expression, node.items)]),)
        case Join():
            return node.left_reads, node.right_reads
        case Native():
            return (node.reads,)
        case Answer():
            return (frozenset({node.column}),)


def _bare(item: Item) -> str | None:
    if isinstance(item, Prompt) or item.meta.has_multiple_outputs():
        return None
    return bare_column(item)


def carried(node: Plan, side: int, columns: Collection[str]) -> dict[str, list[str]]:  # noqa: PLR0911 -- one case a node
    """Under which names columns of one input leave a step that does not read them: none, one or several."""
    match node:
        case Filter() | Sort() | Slice() | Distinct() | Union():
            return {c: [c] for c in columns}
        case Select():
            copies = _copies(node.items)
            return {c: copies.get(c, []) for c in columns}
        case WithColumns():
            outputs, copies = {output_name(i) for i in node.items}, _copies(node.items)
            return {c: ([] if c in outputs else [c]) + copies.get(c, []) for c in columns}
        case Aggregate() | Scan() | Answer():
            return {c: [] for c in columns}
        case Native(verb="rename"):
            new = dict(zip(*node.args[:2], strict=True))
            return {c: [new.get(c, c)] for c in columns}
        case Native(verb="drop"):
            return {c: [c] if c in schema_of(node) else [] for c in columns}
        case Join() | Native():
            return _traced(node, side, columns)


def _copies(items: tuple[Item, ...]) -> dict[str, list[str]]:
    """Under which names items repeat columns as they are."""
    found: dict[str, list[str]] = {}
    for item in items:
        column = _bare(item)
        if column is not None:
            found.setdefault(column, []).append(output_name(item))
    return found


def _traced(node: Join | Native, side: int, columns: Collection[str]) -> dict[str, list[str]]:
    """Follow columns through any verb: each gets a dtype no other has, and is looked for behind the step."""
    marks = {c: _mark(i) for i, c in enumerate(columns)}
    frames = []
    for i, source in enumerate(inputs(node)):
        schema = schema_of(source)
        frames.append(empty(changed(schema, marks) if i == side else schema))
    found = schema_of_native(apply(node, tuple(frames)))
    column_of = {mark: c for c, mark in marks.items()}
    names: dict[str, list[str]] = {c: [] for c in columns}
    for name, dtype in found.items():
        if dtype in column_of:
            names[column_of[dtype]].append(name)
    return names


@cache
def _mark(number: int) -> pl.DataType:
    return pl.Struct({f"polar_llama {number}": pl.Boolean})
