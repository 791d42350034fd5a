"""Plans as an indented tree that a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polar_llama.call import PREFIX
from polar_llama.planner.answers import unstack
from polar_llama.planner.exprs import shown
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
    WithColumns,
    inputs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.planner.nodes import Item, Plan

_WIDTH = 100


def describe(plan: Plan) -> str:
    """A plan as a tree, its last step first."""
    lines: list[str] = []
    todo = [(plan, 0)]
    while todo:
        node, depth = todo.pop()
        lines.append("  " * depth + _label(node))
        todo += [(i, depth + 1) for i in reversed(inputs(node))]
    return "\n".join(lines)


def stages(plan: Plan) -> str:
    """What is asked, and after what: calls of one stage run at the same time."""
    lines: list[str] = []
    done: set[int] = set()
    todo: list[tuple[Plan, bool]] = [(plan, False)]
    while todo:
        node, ready = todo.pop()
        answers, base = unstack(node)
        if id(node) in done:
            continue
        if not ready:
            todo.append((node, True))
            todo += [(i, False) for i in reversed((base,) if answers else inputs(node))]
            continue
        done.add(id(node))
        if answers:
            asked = ", ".join(f"{_named(a.column)} = {a.call.label}" for a in answers)
            lines.append(f"{len(lines) + 1}. ask {asked}")
    return "\n".join(lines) or "nothing is asked"


def changes(seen: Sequence[tuple[str, Plan, Plan]]) -> str:
    """What each rule did, in the order in which it happened."""
    return (
        "\n".join(f"{rule}: {_heads(before)} -> {_heads(after)}" for rule, before, after in seen) or "no rule applies"
    )


def _heads(plan: Plan) -> str:
    """The first steps of a plan: as far as a rule looks."""
    names = []
    for _ in range(3):
        names.append(_label(plan).split(" ", 1)[0])
        if len(inputs(plan)) != 1:
            break
        plan = inputs(plan)[0]
    return " < ".join(names)


def _label(node: Plan) -> str:  # noqa: PLR0911, C901 -- one line a node
    match node:
        case Scan():
            return f"SCAN {_scan(node)}"
        case Filter():
            return _line("FILTER", shown(node.predicate, _WIDTH))
        case Select():
            return _line("SELECT", _items(node.items))
        case WithColumns():
            return _line("WITH COLUMNS", _items(node.items))
        case Sort():
            return _line("SORT BY", _list(node.by))
        case Slice():
            return _slice(node)
        case Distinct():
            subset = "all columns" if node.subset is None else _list(node.subset)
            return _line("UNIQUE BY", f"{subset} keep {node.keep}")
        case Aggregate():
            return _line("GROUP BY", f"{_list(node.keys)} AGGREGATE {_items(node.items)}")
        case Join():
            how = next((a for a in node.args if isinstance(a, str)), "")
            return _line(node.verb.upper().replace("_", " "), how)
        case Answer():
            return _line("ANSWER", f"{_named(node.column)} = {node.call.label} as {node.call.returns.dtype}")
        case Native():
            return _line(node.verb.upper().replace("_", " "), _arguments(node))


def _slice(node: Slice) -> str:
    rows = "all rows" if node.length is None else f"{node.length:,} rows"
    offset = f" from {node.offset:,}" if node.offset else ""
    return f"KEEP {rows}{offset}" + (", reading no more than it takes" if node.early else "")


def _arguments(node: Native) -> str:
    values = (*node.args, *node.kwargs.values())
    return ", ".join(shown(v) if isinstance(v, pl.Expr) else str(v) for v in values if v is not None)


def _list(exprs: Sequence[pl.Expr]) -> str:
    return ", ".join(map(shown, exprs))


def _scan(node: Scan) -> str:
    lines = node.frame.explain(optimized=False).splitlines() or [""]
    return lines[-1].strip()[:_WIDTH]


def _items(items: tuple[Item, ...]) -> str:
    return ", ".join(f"prompt of {_named(i.column)}" if isinstance(i, Prompt) else shown(i) for i in items)


def _named(column: str) -> str:
    return "llm" if column.startswith(PREFIX) else repr(column)


def _line(word: str, text: str) -> str:
    text = " ".join(text.split())
    return f"{word} {text if len(text) <= _WIDTH else text[: _WIDTH - 1] + '…'}".rstrip()
