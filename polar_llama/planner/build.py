"""From Polars verbs whose expressions hold calls to plan nodes.

An answer used as it is (`a=llm("q")`) gets its slot where the column will stand. An answer used
inside an expression gets a slot of its own below the verb, under its reserved name, which is
dropped right after; verbs of the user never see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from polar_llama.call import PREFIX, answers, written
from polar_llama.errors import PlanError
from polar_llama.planner.exprs import all_of, bare_column, conjuncts, reads, windowed
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
from polar_llama.planner.outputs import (
    Output,
    answered,
    calls_in,
    check_groups,
    computed,
    is_per_row,
    items_of,
    name_of,
    needed_below,
    output_of,
)
from polar_llama.template import roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polar_llama.planner.nodes import Plan


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
    check_groups(calls_in(w for e in exprs if calls_in([e]) for w in windowed(e)))
    below, hidden = rendered_below(plan, calls_in(exprs))
    return without(make(below), hidden)


def with_columns(plan: Plan, exprs: Sequence[pl.Expr]) -> Plan:
    """`with_columns`, whose expressions may hold calls."""
    outputs = [output_of(e, "rows") for e in exprs]
    below, hidden = rendered_below(plan, needed_below(outputs))
    return without(answered(WithColumns(below, items_of(outputs)), outputs), hidden)


def select(plan: Plan, exprs: Sequence[pl.Expr]) -> Plan:
    """`select`, whose expressions may hold calls."""
    outputs = [output_of(e, "select") for e in exprs]
    below, _ = rendered_below(plan, needed_below(outputs))
    return computed(answered(Select(below, items_of(outputs)), outputs), outputs)


def aggregated(
    plan: Plan,
    keys: Sequence[pl.Expr],
    exprs: Sequence[pl.Expr],
    having: Sequence[pl.Expr],
    *,
    maintain_order: bool,
) -> Plan:
    """`group_by(...).agg(...)`: a prompt over aggregates is asked once a group, any other once a row."""
    asked = [p for h in having for p in conjuncts(h) if not all(map(is_per_row, calls_in([p])))]
    free = [p for h in having for p in conjuncts(h) if all(map(is_per_row, calls_in([p])))] if asked else list(having)
    passes = {f"{PREFIX}having {i}": p for i, p in enumerate(asked)}
    outputs = [output_of(e, "groups") for e in (*exprs, *(p.alias(name) for name, p in passes.items()))]
    once_a_row = [*calls_in(free), *needed_below(outputs)]
    check_groups(once_a_row)
    below, _ = rendered_below(plan, dict.fromkeys([*calls_in(keys), *once_a_row]))
    # A key that is an answer is read from its hidden column, under the name users see.
    named = [e.alias(name_of(e, calls_in([e])[0])) if calls_in([e]) else e for e in keys]
    node = Aggregate(below, tuple(named), items_of(outputs), maintain_order, tuple(free))
    found = computed(answered(node, outputs), [*map(Output, named), *outputs])
    return without(Filter(found, all_of([pl.col(name) for name in passes])), list(passes)) if passes else found


def prompted_groups(exprs: Iterable[pl.Expr]) -> tuple[list[pl.Expr], list[Prompt]] | None:
    """Aggregations whose calls have one prompt a group: as Polars can run them, and the prompts on what they give.

    For groupings of which only Polars' own handle is there. None where that cannot be.
    """
    free: list[pl.Expr] = []
    prompts: list[Prompt] = []
    for expr in exprs:
        found = output_of(expr, "groups").item
        if not isinstance(found, Prompt):
            free.append(found)
        elif isinstance(found.source, pl.Expr) and bare_column(expr) is not None and not answers(roots(found.source)):
            free.append(found.source.alias(found.column))
            prompts.append(Prompt(found.column, found.call, pl.col(found.column)))
        else:
            return None
    return None if calls_in(free) else (free, prompts)


def prompted(plan: Plan, prompts: Sequence[Prompt]) -> Plan:
    """Ask what stands in columns, in place."""
    return answered(WithColumns(plan, tuple(prompts)), [Output(prompt) for prompt in prompts])


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
