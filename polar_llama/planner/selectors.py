"""Selectors: `cs.integer()`, `pl.all()`, `pl.col("^x")` and the like are replaced by the columns they stand for.

They mean the user's columns, under the dtypes that answers have: not the hidden columns in which
answers stand, and not the prompts that stand in for answers. And rules cannot look into them. Whether
the result means the same is left to Polars: it has to make the same plan of both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.call import answers, is_answer
from polar_llama.errors import PlanError
from polar_llama.planner.exprs import shown
from polar_llama.planner.nodes import Aggregate, Distinct, Filter, Join, Native, Plan, Select, Sort, WithColumns, apply
from polar_llama.planner.schema import after, empty, selected
from polar_llama.planner.surgery import closed, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from polar_llama.planner.nodes import Item

    Names = Callable[[pl.Expr], list[str]]
    Change = Callable[[pl.Expr, Names], list[pl.Expr]]

_WIDE = frozenset({"AllHorizontal", "AnyHorizontal", "Coalesce", "AsStruct", "ConcatHorizontal", "Format", "Concat"})
_WIDE |= frozenset({"MinHorizontal", "MaxHorizontal", "SumHorizontal", "MeanHorizontal"})
"""Functions in which a selector gives more arguments, not more results; as Polars' JSON names them."""


class _Unequal(Exception):  # noqa: N818 -- caught here
    """Selectors that stand for several columns each, and not for as many."""


def visible(schema: pl.Schema) -> pl.Schema:
    """A schema without its hidden columns."""
    return pl.Schema({name: dtype for name, dtype in schema.items() if not is_answer(name)})


def expanded(node: Plan, schemas: Sequence[pl.Schema]) -> Plan:
    """The same step with columns for selectors, or, where it cannot be written so, with names.

    Args:
        node: The step.
        schemas: The schemas of its inputs.

    Raises:
        PlanError: If an expression cannot be taken apart, and hidden columns are among those it sees.
    """
    opaque = next((e for e in _exprs(node) if e.meta.has_multiple_outputs()), None)
    if opaque is None:
        return node
    is_hiding = any(map(answers, schemas))
    if isinstance(node, Join):
        if is_hiding:
            raise _beside(opaque)
        return node
    try:
        named = _changed(node, schemas[0], _pinned)
    except PlanError:
        if is_hiding:
            raise
        return node
    try:
        spelled = _changed(node, schemas[0], _spelled)
        return spelled if _plan(spelled, schemas) == _plan(named, schemas) else named
    except (_Unequal, pl.exceptions.PolarsError):  # the latter is said again, for what was written
        return named


def pinned_expr(expr: pl.Expr, names: Names) -> pl.Expr:
    """The same expression with names in its selectors.

    Args:
        expr: Any expression.
        names: The columns that a selector stands for.

    Raises:
        PlanError: If it holds a selector and cannot be taken apart.
    """
    if not expr.meta.has_multiple_outputs():
        return expr
    try:
        return closed(_renamed(opened(expr), names))
    except Exception as error:  # a Python function inside, or a number that JSON lacks
        raise _beside(expr) from error


def _pinned(expr: pl.Expr, names: Names) -> list[pl.Expr]:
    return [pinned_expr(expr, names)]


def _spelled(expr: pl.Expr, names: Names) -> list[pl.Expr]:
    if expr.meta.is_column_selection():
        return list(map(pl.col, names(expr)))
    return list(map(closed, _copies(opened(expr), names)))


def _renamed(part: Any, names: Names) -> Any:
    if isinstance(part, list):
        return [_renamed(p, names) for p in part]
    if not isinstance(part, dict):
        return part
    if part.keys() == {"Selector"}:
        return {"Selector": {"ByName": {"names": names(closed(part)), "strict": True}}}
    return {key: _renamed(p, names) for key, p in part.items()}


def _copies(part: Any, names: Names) -> list[Any]:
    """A part of an expression once for every column that the selectors in it stand for."""
    if isinstance(part, list):
        return list(map(list, _side_by_side([_copies(p, names) for p in part])))
    if not isinstance(part, dict):
        return [part]
    if part.keys() == {"Selector"}:
        return [{"Column": name} for name in names(closed(part))]
    if part.keys() == {"Function"} and not _WIDE.isdisjoint(_words(part["Function"]["function"])):
        function = part["Function"]
        return [{"Function": {**function, "input": [c for p in function["input"] for c in _copies(p, names)]}}]
    return [dict(zip(part, copy, strict=True)) for copy in _side_by_side([_copies(p, names) for p in part.values()])]


def _side_by_side(parts: list[list[Any]]) -> list[tuple[Any, ...]]:
    """The first of each, the second of each, and so on; what there is but one of goes with all."""
    counts = {len(part) for part in parts} - {1} or {1}
    if len(counts) > 1:
        raise _Unequal
    return [tuple(part[0 if len(part) == 1 else i] for part in parts) for i in range(*counts)]


def _words(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from _words(value)
    elif isinstance(part, str):
        yield part


def _exprs(node: Plan) -> Sequence[pl.Expr]:  # noqa: PLR0911 -- one line a node
    """The expressions of a step that may hold selectors."""
    match node:
        case Filter():
            return (node.predicate,)
        case Sort():
            return node.by
        case Distinct():
            return node.subset or ()
        case Native():
            return list(node.kwargs.get("by", ()))
        case Select() | WithColumns():
            return _written(node.items)
        case Aggregate():
            return (*node.keys, *_written(node.items), *node.having)
        case Join():
            keys = (e for side in node.args[:2] for e in (side if isinstance(side, list) else [side]))
            return [key for key in keys if isinstance(key, pl.Expr)]
        case _:
            return ()


def _written(items: Iterable[Item]) -> list[pl.Expr]:
    return [item for item in items if isinstance(item, pl.Expr)]


def _changed(node: Plan, schema: pl.Schema, change: Change) -> Plan:  # noqa: PLR0911 -- one line a node
    """A step with other expressions in place of those that hold selectors."""
    shows = visible(schema)

    def names(selector: pl.Expr) -> list[str]:
        return selected(shows, selector).names()

    match node:
        case Filter():
            found = change(node.predicate, names)
            return replace(node, predicate=found[0]) if len(found) == 1 else node
        case Sort():
            by, descending, nulls_last = _each((node.by, *node.options[:2]), change, names)
            return replace(node, by=tuple(by), options=(descending, nulls_last, *node.options[2:]))
        case Distinct() if node.subset is not None:
            return replace(node, subset=tuple(_each((node.subset,), change, names)[0]))
        case Native():
            by, reverse = _each((node.kwargs["by"], node.kwargs["reverse"]), change, names)
            return replace(node, kwargs={**node.kwargs, "by": by, "reverse": reverse})
        case Select() | WithColumns():
            return replace(node, items=tuple(_each((node.items,), change, names)[0]))
        case Aggregate():
            return _aggregate(node, shows, change, names)
        case _:
            return node


def _each(columns: Sequence[Any], change: Change, names: Names) -> list[Any]:
    """Items, the first of `columns`, changed; what stands beside one in the others stands beside all it becomes."""
    items = columns[0]
    found = [change(i, names) if isinstance(i, pl.Expr) and i.meta.has_multiple_outputs() else [i] for i in items]
    counts = [len(one) for one in found]
    beside = [
        [v for v, n in zip(values, counts, strict=True) for _ in range(n)]
        if isinstance(values, list) and len(values) == len(counts) > 1
        else values
        for values in columns[1:]
    ]
    return [[i for one in found for i in one], *beside]


def _aggregate(node: Aggregate, shows: pl.Schema, change: Change, names: Names) -> Plan:
    """In an aggregation a selector leaves out the keys."""
    keys = tuple(_each((node.keys,), change, names)[0])
    # A key that reads an answer is there for its name only.
    named = tuple(pl.lit(0).alias(k.meta.output_name()) if answers(k.meta.root_names()) else k for k in keys)
    count = len(after(replace(node, keys=named, items=(), having=()), [shows]))

    def others(selector: pl.Expr) -> list[str]:
        return after(replace(node, keys=named, items=(selector,), having=()), [shows]).names()[count:]

    items, having = (tuple(_each((exprs,), change, others)[0]) for exprs in (node.items, node.having))
    return replace(node, keys=keys, items=items, having=having)


def _plan(node: Plan, schemas: Sequence[pl.Schema]) -> str:
    """What Polars makes of a step, as it shows it, but for prompts, which are not rendered yet."""
    if isinstance(node, Select | WithColumns | Aggregate):
        node = replace(node, items=tuple(_written(node.items)))
    return apply(node, tuple(map(empty, schemas)))._ldf.describe_plan()


def _beside(expr: pl.Expr) -> PlanError:
    return PlanError(
        f"the expression {shown(expr)} expands to columns of the frame beside a call in the same verb. "
        'Hint: put the call in a verb of its own, with_columns(a=llm(...)), and use column "a" after'
    )
