"""One expression of a verb, cut where its answer is filled in: what stands in the verb, and what is computed after."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import polars as pl

from polar_llama.call import PREFIX, answers, written
from polar_llama.errors import PlanError
from polar_llama.planner.exprs import bare_column, per_row, row_wise, shown, windowed
from polar_llama.planner.nodes import Answer, Prompt, Select, output_name
from polar_llama.planner.safety import cannot_raise
from polar_llama.planner.surgery import replaced
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
    """One expression of a verb: `item` stands in the verb; `after` is computed once its answer is there.

    `beside` are the other parts that `after` is computed from: they stand in the verb as well.
    """

    item: Item
    after: pl.Expr | None = None
    beside: tuple[Item, ...] = ()


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
    first, *others = [_prompt(name, name) for name in scalars]
    found = _parted(expr, scalars)
    if found is None or not row_wise(found[0]) or not all(_fits(p, expr, height) for p in found[1].values()):
        msg = (
            f"{first.call.label} gives one answer here, while the expression around it reads other rows. "
            'Hint: name the answer first, llm(...).alias("a"), and combine it in a with_columns() after'
        )
        raise PlanError(msg)
    beside: tuple[Item, ...] = (*others, *(part.alias(name) for name, part in found[1].items()))
    return Output(first, found[0].alias(name_of(expr, names[0])), beside)


def _fits(part: pl.Expr, whole: pl.Expr, height: Literal["rows", "select", "groups"]) -> bool:
    """Whether a part of an expression may be a column of its own, from which the rest is computed.

    In a grouping it is one value for each group. Elsewhere it is then evaluated in all rows, also in those
    where a condition around it would save it.
    """
    try:
        if height == "groups":
            return part.meta.is_scalar()
    except pl.exceptions.PolarsError:  # a Python function: Polars does not tell
        return False
    return ".when(" not in str(whole) or not row_wise(part) or cannot_raise(part)


def _parted(expr: pl.Expr, calls: Sequence[str]) -> tuple[pl.Expr, dict[str, pl.Expr]] | None:
    """An expression over answers and columns of its other parts, and these parts by the names of their columns."""
    parts: dict[str, pl.Expr] = {}
    todo = [expr]
    while todo:
        part = todo.pop()
        if part.meta.has_multiple_outputs():
            return None
        if not set(calls).isdisjoint(part.meta.root_names()):
            todo += [] if part.meta.is_column() else part.meta.pop()
        elif not part.meta.is_literal():
            name = f"{PREFIX}part {blake2b(part.meta.serialize(), digest_size=12).hexdigest()}"
            parts[name] = part
    over = replaced(expr, [(part, pl.col(name)) for name, part in parts.items()])
    return None if over is None else (over, parts)


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
        for item in (output.item, *output.beside):
            if output.after is not None:
                if output_name(item) in seen:
                    continue
                seen.add(output_name(item))
            items.append(item)
    return tuple(items)


def needed_below(outputs: Iterable[Output]) -> list[str]:
    """The answers that must be there before the verb: those its expressions and prompts read."""
    found: list[str] = []
    for output in outputs:
        for item in (output.item, *output.beside):
            found += answers(roots(item.source)) if isinstance(item, Prompt) else calls_in([item])
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
