"""Selectors beside a call: they mean the user's columns, not the hidden ones in which answers stand.

In `filter(pl.all_horizontal(cs.integer() > 0), llm("q", returns=int) > 5)` the frame has a hidden
Int64 column that Polars would count among the others. So every selector of such a step is replaced
by the names it stands for on the user's columns. An expression is taken apart as JSON: Polars shows
no other way to change one.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.call import answers, is_answer
from polar_llama.errors import PlanError
from polar_llama.planner.exprs import shown
from polar_llama.planner.nodes import Aggregate, Distinct, Filter, Join, Native, Plan, Select, Sort, WithColumns
from polar_llama.planner.schema import after, selected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.planner.nodes import Item

    Names = Callable[[pl.Expr], list[str]]


def visible(schema: pl.Schema) -> pl.Schema:
    """A schema without its hidden columns."""
    return pl.Schema({name: dtype for name, dtype in schema.items() if not is_answer(name)})


def pinned(node: Plan, schemas: Sequence[pl.Schema]) -> Plan:  # noqa: PLR0911 -- one line a node
    """Replace the selectors of a step by names, if hidden columns are among those it sees.

    Args:
        node: The step.
        schemas: The schemas of its inputs.

    Raises:
        PlanError: If an expression cannot be taken apart.
    """
    if not any(map(answers, schemas)):
        return node
    pin = partial(pinned_expr, names=lambda selector: selected(visible(schemas[0]), selector).names())
    match node:
        case Filter():
            return replace(node, predicate=pin(node.predicate))
        case Sort():
            return replace(node, by=tuple(map(pin, node.by)))
        case Distinct() if node.subset is not None:
            return replace(node, subset=tuple(map(pin, node.subset)))
        case Native() if "by" in node.kwargs:
            return replace(node, kwargs={**node.kwargs, "by": [pin(e) for e in node.kwargs["by"]]})
        case Select() | WithColumns():
            return replace(node, items=_items(node.items, pin))
        case Aggregate():
            return _aggregate(replace(node, keys=tuple(map(pin, node.keys))), visible(schemas[0]))
        case Join():
            for key in (*node.args[0], *node.args[1]):
                pinned_expr(key, _refused(key))
            return node
        case _:
            return node


def pinned_expr(expr: pl.Expr, names: Names) -> pl.Expr:
    """The same expression with names for selectors.

    Args:
        expr: Any expression.
        names: The columns that a selector stands for.

    Raises:
        PlanError: If it holds a selector and cannot be taken apart.
    """
    if not expr.meta.has_multiple_outputs():
        return expr
    try:
        parts = json.loads(expr.meta.serialize(format="json"))
    except Exception as error:  # a Python function inside
        raise _beside(expr) from error
    return _expr(_replaced(parts, names))


def _replaced(part: Any, names: Names) -> Any:
    if isinstance(part, list):
        return [_replaced(p, names) for p in part]
    if not isinstance(part, dict):
        return part
    if part.keys() == {"Selector"}:
        return {"Selector": {"ByName": {"names": names(_expr(part)), "strict": True}}}
    return {key: _replaced(p, names) for key, p in part.items()}


def _expr(parts: Any) -> pl.Expr:
    return pl.Expr.deserialize(io.StringIO(json.dumps(parts)), format="json")


def _items(items: Sequence[Item], pin: Callable[[pl.Expr], pl.Expr]) -> tuple[Item, ...]:
    return tuple(pin(item) if isinstance(item, pl.Expr) else item for item in items)


def _aggregate(node: Aggregate, schema: pl.Schema) -> Plan:
    """In an aggregation a selector leaves out the keys."""
    # A key that reads an answer is there for its name only.
    keys = [pl.lit(0).alias(k.meta.output_name()) if answers(k.meta.root_names()) else k for k in node.keys]
    count = len(after(replace(node, keys=tuple(keys), items=(), having=()), [schema]))

    def names(selector: pl.Expr) -> list[str]:
        return after(replace(node, keys=tuple(keys), items=(selector,), having=()), [schema]).names()[count:]

    pin = partial(pinned_expr, names=names)
    return replace(node, items=_items(node.items, pin), having=tuple(map(pin, node.having)))


def _refused(expr: pl.Expr) -> Names:
    def names(_: pl.Expr) -> list[str]:
        raise _beside(expr)

    return names


def _beside(expr: pl.Expr) -> PlanError:
    return PlanError(
        f"the expression {shown(expr)} expands to columns of the frame beside a call in the same verb. "
        'Hint: put the call in a verb of its own, with_columns(a=llm(...)), and use column "a" after'
    )
