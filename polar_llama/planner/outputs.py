"""One expression of a verb, cut where its answer is filled in: what stands in the verb, and what is computed after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from polar_llama.call import answers, written
from polar_llama.errors import PlanError
from polar_llama.planner.exprs import bare_column, per_row, row_wise, shown, windowed
from polar_llama.planner.nodes import Answer, Prompt, Select
from polar_llama.template import Template, Told, roots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from polar_llama.planner.nodes import Item, Plan


def calls_in(exprs: Iterable[pl.Expr]) -> list[str]:
    """The answer columns expressions refer to, each once, in order."""
    return answers(name for e in exprs for name in e.meta.root_names())


def check_groups(names: Sequence[str]) -> None:
    """Refuse prompts that are rendered a row, below a grouping or window, but look at other rows of their group."""
    for name in names:
        source = written(name).source
        if isinstance(source, pl.Expr) and not row_wise(source):
            msg = (
                f"the prompt of {written(name).call.label} is one for each row of a group and looks at other rows too. "
                "Hint: name that part first, with_columns(x=...over(keys)), and use column x in the prompt"
            )
            raise PlanError(msg)
        check_groups(answers(written(name).roots))


@dataclass(frozen=True, slots=True)
class Output:
    """One expression of a verb: `item` stands in the verb; `after` is computed once its answer is there."""

    item: Item
    after: pl.Expr | None = None


def output_of(expr: pl.Expr, height: Literal["rows", "select", "groups"]) -> Output:
    """Cut an expression where its answer is filled in.

    In `select` and `agg` a prompt may have another height than the frame (a literal, an aggregate):
    then the slot is rendered in the verb itself, and what is computed from the answer comes after.
    """
    names = calls_in([expr])
    if not names:
        return Output(expr)
    check_groups(calls_in(windowed(expr)))
    answer = None if expr.meta.has_multiple_outputs() else bare_column(expr)
    scalars = [] if height == "rows" else [n for n in names if not is_per_row(n)]
    if answer is not None and (scalars or height != "groups"):
        return Output(_prompt(name_of(expr, answer), answer))
    if not scalars:
        return Output(expr if expr.meta.has_multiple_outputs() else expr.alias(name_of(expr, names[0])))
    name = scalars[0]
    if expr.meta.root_names() != [name] * len(expr.meta.root_names()) or not row_wise(expr):
        msg = (
            f"{written(name).call.label} gives one answer here, while the expression around it reads other columns. "
            'Hint: name the answer first, llm(...).alias("a"), and combine it in a with_columns() after'
        )
        raise PlanError(msg)
    return Output(_prompt(name, name), expr.alias(name_of(expr, name)))


def _prompt(column: str, answer: str) -> Prompt:
    return Prompt(column, written(answer).call, written(answer).source)


def is_per_row(name: str) -> bool:
    """Whether a call has a prompt for every row, whatever the frame."""
    return _varies(written(name).source)


def _varies(source: pl.Expr | Template | Told) -> bool:
    if isinstance(source, Told):
        return any(map(_varies, source.beside)) or _varies(source.prompt)
    return bool(source.fields) if isinstance(source, Template) else per_row(source)


def name_of(expr: pl.Expr, answer: str) -> str:
    """An expression's output name, with `llm` for the reserved name where that would show."""
    name = expr.meta.output_name(raise_if_undetermined=False)
    return "llm" if name is None else name.replace(answer, "llm")


def items_of(outputs: Sequence[Output]) -> tuple[Item, ...]:
    """What stands in the verb; a slot that several expressions are computed from stands there once."""
    seen: set[str] = set()
    items = []
    for output in outputs:
        if output.after is not None and isinstance(output.item, Prompt):
            if output.item.column in seen:
                continue
            seen.add(output.item.column)
        items.append(output.item)
    return tuple(items)


def needed_below(outputs: Iterable[Output]) -> list[str]:
    """The answers that must be there before the verb: those its expressions and prompts read."""
    found: list[str] = []
    for output in outputs:
        item = output.item
        if isinstance(item, Prompt):
            found += answers(roots(item.source))
        else:
            found += calls_in([item])
    return list(dict.fromkeys(found))


def answered(node: Plan, outputs: Sequence[Output]) -> Plan:
    """The answers of the prompts that stand in a verb."""
    for item in items_of(outputs):
        if isinstance(item, Prompt):
            node = Answer(node, item.column, item.call)
    return node


def computed(node: Plan, outputs: Sequence[Output]) -> Plan:
    """Compute what stands on answers filled in above the verb, in the order of the expressions."""
    if all(o.after is None for o in outputs):
        return node
    final: list[pl.Expr] = []
    for output in outputs:
        if output.after is not None:
            final.append(output.after)
        elif isinstance(output.item, Prompt):
            final.append(pl.col(output.item.column))
        else:
            name = output.item.meta.output_name(raise_if_undetermined=False)
            if name is None:
                msg = (
                    f"{shown(output.item)} stands beside an expression on an answer. Hint: name the answer first, "
                    'llm(...).alias("a"), and compute with it in a with_columns() after'
                )
                raise PlanError(msg)
            final.append(pl.col(name))
    return Select(node, tuple(final))
