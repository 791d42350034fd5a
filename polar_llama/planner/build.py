"""From Polars verbs whose expressions hold calls to plan nodes.

An answer used as it is (`a=llm("q")`) gets its slot where the column will stand. An answer used
inside an expression gets a slot of its own below the verb, under its reserved name, which is
dropped right after; verbs of the user never see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import polars.selectors as cs

from polar_llama.call import PREFIX, answers, written
from polar_llama.errors import PlanError
from polar_llama.planner.exprs import all_of, bare_column, conjuncts, per_row, reads, row_wise, shown, windowed
from polar_llama.planner.nodes import (
    Aggregate,
    Answer,
    Distinct,
    Filter,
    Join,
    Native,
    Prompt,
    Select,
    Sort,
    WithColumns,
)
from polar_llama.template import Template, Told, roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polar_llama.planner.nodes import Item, Plan


def calls_in(exprs: Iterable[pl.Expr]) -> list[str]:
    """The answer columns expressions refer to, each once, in order."""
    return answers(name for e in exprs for name in e.meta.root_names())


def rendered_below(plan: Plan, names: Iterable[str]) -> tuple[Plan, list[str]]:
    """Slots and answers for calls used inside expressions, and for calls their prompts are made of.

    Returns:
        The plan, and the hidden columns it has gained.
    """
    done: list[str] = []
    for name in names:
        found = written(name)
        inner = [n for n in answers(found.roots) if n not in done]
        plan, gained = rendered_below(plan, inner)
        done += gained
        if name not in done:
            plan = Answer(WithColumns(plan, (Prompt(name, found.call, found.source),)), name, found.call)
            done.append(name)
    return plan, done


def without(plan: Plan, hidden: Sequence[str]) -> Plan:
    """Drop hidden columns."""
    if not hidden:
        return plan
    return Native(plan, "drop", (), {"columns": cs.by_name(*hidden)})


def filtered(plan: Plan, predicate: pl.Expr) -> Plan:
    """`filter`, whose predicate may hold calls."""
    return _around(plan, [predicate], lambda p: Filter(p, predicate))


def ordered(plan: Plan, by: Sequence[pl.Expr], options: Sequence[Any]) -> Plan:
    """`sort`, whose keys may hold calls."""
    return _around(plan, by, lambda p: Sort(p, tuple(by), tuple(options)))


def distinct(plan: Plan, subset: Sequence[pl.Expr] | None, keep: str, *, maintain_order: bool) -> Plan:
    """`unique`, whose subset may hold calls."""
    exprs = None if subset is None else tuple(subset)
    return _around(plan, exprs or (), lambda p: Distinct(p, exprs, keep, maintain_order))


def top(plan: Plan, verb: str, k: int, by: Sequence[pl.Expr], reverse: Any) -> Plan:
    """`top_k` and `bottom_k`, whose keys may hold calls."""
    kwargs = {"by": list(by), "reverse": reverse}
    return _around(plan, by, lambda p: Native(p, verb, (k,), kwargs))


def joined(
    left: Plan,
    right: Plan,
    verb: str,
    left_on: Sequence[pl.Expr],
    right_on: Sequence[pl.Expr],
    *args: Any,
    **kwargs: Any,
) -> Plan:
    """`join`, whose keys may hold calls."""
    left, left_keys = _keyed(left, left_on)
    right, right_keys = _keyed(right, right_on)
    node = Join(left, right, verb, (left_keys, right_keys, *args), kwargs, reads(left_keys), reads(right_keys))
    if not calls_in([*left_on, *right_on]):
        return node
    # A join may have dropped hidden columns, or given them a suffix.
    return Native(node, "drop", (), {"columns": cs.starts_with(PREFIX)})


def _keyed(plan: Plan, keys: Sequence[pl.Expr]) -> tuple[Plan, list[pl.Expr]]:
    """One side of a join. A key that holds a call is a hidden column: Polars takes no aliases there."""
    plan, _ = rendered_below(plan, calls_in(keys))
    made = {i: f"{PREFIX}key {i}" for i, key in enumerate(keys) if calls_in([key])}
    if made:
        plan = WithColumns(plan, tuple(keys[i].alias(name) for i, name in made.items()))
    # A call is an expression, and the column of such a key is not coalesced.
    return plan, [pl.coalesce(pl.col(made[i])) if i in made else key for i, key in enumerate(keys)]


def _around(plan: Plan, exprs: Sequence[pl.Expr], make: Callable[[Plan], Plan]) -> Plan:
    _check_groups(calls_in(w for e in exprs if calls_in([e]) for w in windowed(e)))
    below, hidden = rendered_below(plan, calls_in(exprs))
    return without(make(below), hidden)


def with_columns(plan: Plan, exprs: Sequence[pl.Expr]) -> Plan:
    """`with_columns`, whose expressions may hold calls."""
    outputs = [_output(e, "rows") for e in exprs]
    below, hidden = rendered_below(plan, _hidden(outputs))
    return without(_answered(WithColumns(below, _items(outputs)), outputs), hidden)


def select(plan: Plan, exprs: Sequence[pl.Expr]) -> Plan:
    """`select`, whose expressions may hold calls."""
    outputs = [_output(e, "select") for e in exprs]
    below, _ = rendered_below(plan, _hidden(outputs))
    return _computed(_answered(Select(below, _items(outputs)), outputs), outputs)


def aggregated(
    plan: Plan,
    keys: Sequence[pl.Expr],
    exprs: Sequence[pl.Expr],
    having: Sequence[pl.Expr],
    *,
    maintain_order: bool,
) -> Plan:
    """`group_by(...).agg(...)`: a prompt over aggregates is asked once a group, any other once a row."""
    asked = [p for h in having for p in conjuncts(h) if not all(map(_per_row, calls_in([p])))]
    free = [p for h in having for p in conjuncts(h) if all(map(_per_row, calls_in([p])))] if asked else list(having)
    passes = {f"{PREFIX}having {i}": p for i, p in enumerate(asked)}
    outputs = [_output(e, "groups") for e in (*exprs, *(p.alias(name) for name, p in passes.items()))]
    once_a_row = [*calls_in(free), *_hidden(outputs)]
    _check_groups(once_a_row)
    below, _ = rendered_below(plan, dict.fromkeys([*calls_in(keys), *once_a_row]))
    # A key that is an answer is read from its hidden column, under the name users see.
    named = [e.alias(_name(e, calls_in([e])[0])) if calls_in([e]) else e for e in keys]
    node = Aggregate(below, tuple(named), _items(outputs), maintain_order, tuple(free))
    found = _computed(_answered(node, outputs), [*map(_Output, named), *outputs])
    return without(Filter(found, all_of([pl.col(name) for name in passes])), list(passes)) if passes else found


def _check_groups(names: Sequence[str]) -> None:
    """Refuse prompts that are rendered a row, below a grouping or window, but look at other rows of their group."""
    for name in names:
        source = written(name).source
        if isinstance(source, pl.Expr) and not row_wise(source):
            msg = (
                f"the prompt of {written(name).call.label} is one for each row of a group and looks at other rows too. "
                "Hint: name that part first, with_columns(x=...over(keys)), and use column x in the prompt"
            )
            raise PlanError(msg)
        _check_groups(answers(written(name).roots))


@dataclass(frozen=True, slots=True)
class _Output:
    """One expression of a verb: `item` stands in the verb; `after` is computed once its answer is there."""

    item: Item
    after: pl.Expr | None = None


def _output(expr: pl.Expr, height: Literal["rows", "select", "groups"]) -> _Output:
    """Cut an expression where its answer is filled in.

    In `select` and `agg` a prompt may have another height than the frame (a literal, an aggregate):
    then the slot is rendered in the verb itself, and what is computed from the answer comes after.
    """
    names = calls_in([expr])
    if not names:
        return _Output(expr)
    _check_groups(calls_in(windowed(expr)))
    answer = None if expr.meta.has_multiple_outputs() else bare_column(expr)
    scalars = [] if height == "rows" else [n for n in names if not _per_row(n)]
    if answer is not None and (scalars or height != "groups"):
        return _Output(_prompt(_name(expr, answer), answer))
    if not scalars:
        return _Output(expr if expr.meta.has_multiple_outputs() else expr.alias(_name(expr, names[0])))
    name = scalars[0]
    if expr.meta.root_names() != [name] * len(expr.meta.root_names()) or not row_wise(expr):
        msg = (
            f"{written(name).call.label} gives one answer here, while the expression around it reads other columns. "
            'Hint: name the answer first, llm(...).alias("a"), and combine it in a with_columns() after'
        )
        raise PlanError(msg)
    return _Output(_prompt(name, name), expr.alias(_name(expr, name)))


def _prompt(column: str, answer: str) -> Prompt:
    return Prompt(column, written(answer).call, written(answer).source)


def _per_row(name: str) -> bool:
    return _varies(written(name).source)


def _varies(source: pl.Expr | Template | Told) -> bool:
    if isinstance(source, Told):
        return any(map(_varies, source.beside)) or _varies(source.prompt)
    return bool(source.fields) if isinstance(source, Template) else per_row(source)


def _name(expr: pl.Expr, answer: str) -> str:
    """An expression's output name, with `llm` for the reserved name where that would show."""
    name = expr.meta.output_name(raise_if_undetermined=False)
    return "llm" if name is None else name.replace(answer, "llm")


def _items(outputs: Sequence[_Output]) -> tuple[Item, ...]:
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


def _hidden(outputs: Iterable[_Output]) -> list[str]:
    """The answers that must be there before the verb: those its expressions and prompts read."""
    found: list[str] = []
    for output in outputs:
        item = output.item
        if isinstance(item, Prompt):
            found += answers(roots(item.source))
        else:
            found += calls_in([item])
    return list(dict.fromkeys(found))


def _answered(node: Plan, outputs: Iterable[_Output]) -> Plan:
    for item in _items(list(outputs)):
        if isinstance(item, Prompt):
            node = Answer(node, item.column, item.call)
    return node


def _computed(node: Plan, outputs: Sequence[_Output]) -> Plan:
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


def check_free(exprs: Iterable[pl.Expr], verb: str) -> None:
    """Refuse calls in a verb that cannot hold them.

    Raises:
        PlanError: Naming the verb and what to write instead.
    """
    for name in calls_in(exprs):
        msg = (
            f"{written(name).call.label} cannot be used inside {verb}(). Hint: put it in a column first, "
            f"with_columns(a=llm(...)), and use that column in {verb}()"
        )
        raise PlanError(msg)
