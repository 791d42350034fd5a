"""Plans as an indented tree, their stages, and what the rules did, for a person to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polar_llama.planner.answers import unstack
from polar_llama.planner.flow import carried
from polar_llama.planner.nodes import Aggregate, Filter, Prompt, Scan, Select, Slice, WithColumns, inputs
from polar_llama.planner.rules.stop_early import piecewise
from polar_llama.planner.sieve import sieve
from polar_llama.planner.walk import each, fold
from polar_llama.planner.wording import asked, cut, holds_calls, is_hidden, line, mask, shown_step, text, where

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polar_llama.planner.nodes import Answer, Plan


def describe(plan: Plan) -> str:
    """A plan as a tree, its last step first. A step that several others read is told in full once."""
    lines: list[str] = []
    told: set[int] = set()
    todo = [(plan, 0)]
    while todo:
        node, depth = todo.pop()
        node = shown_step(node)
        again = id(node) in told and not isinstance(node, Scan)
        lines.append("  " * depth + line(node) + (" (the same as above)" if again else ""))
        if not again:
            told.add(id(node))
            todo += [(i, depth + 1) for i in reversed(inputs(node))]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Calls that are asked at the same time, or, if they are predicates in a row, in the order that turns out best.

    Attributes:
        number: In the order in which stages can begin, from 1.
        answers: The calls.
        after: The numbers of the stages whose answers this one needs first.
        rows: How many rows have to come out before it stops; None where it is asked for all.
        sifts: Whether they are predicates in a row.
    """

    number: int
    answers: Sequence[Answer]
    after: frozenset[int]
    rows: int | None
    sifts: bool


def staged(plan: Plan) -> list[Stage]:
    """The stages of a plan, in the order in which they can begin."""
    found: list[Stage] = []
    rows: dict[int, int] = {}
    for node in each(plan):
        if isinstance(node, Slice) and node.early and node.length is not None:
            rows |= dict.fromkeys(map(id, piecewise(node) or ()), node.offset + node.length)

    def nearest(node: Plan, below: tuple[frozenset[int], ...]) -> frozenset[int]:
        answers, _, sifts = _asking(node)
        after = frozenset[int]().union(*below)
        if not answers:
            return after
        found.append(Stage(len(found) + 1, answers, after, rows.get(id(node)), sifts))
        return frozenset({len(found)})

    fold(plan, nearest, lambda node: _asking(node)[1])
    return found


def _asking(node: Plan) -> tuple[Sequence[Answer], tuple[Plan, ...], bool]:
    """The answers that are asked for at a step, what lies below them, and whether they are predicates in a row."""
    if (chain := sieve(node)) is not None:
        predicates, base = chain
        return [a for predicate in predicates for a in predicate.answers], (base,), True
    answers, base = unstack(node)
    return answers, (base,) if answers else inputs(node), False


def stages(plan: Plan) -> str:
    """What is asked, and after what: calls of one stage run at the same time."""
    lines = [*map(_stage, staged(plan))]
    if any(isinstance(node, Scan) and holds_calls(node) for node in each(plan)):
        lines.append("calls inside a native query are planned and asked when it is read")
    return "\n".join(lines) or "nothing is asked"


def _stage(stage: Stage) -> str:
    after = f", after {' and '.join(map(str, sorted(stage.after)))}" if stage.after else ""
    until = "" if stage.rows is None else f", until {stage.rows:,} row{'s' * (stage.rows != 1)} came out"
    order = ", in the order that turns out cheapest" if stage.sifts else ""
    return f"{stage.number}. ask {', '.join(map(asked, stage.answers))}{order}{after}{until}"


def scans(plan: Plan) -> str:
    """What the scans of a plan read, where there is more to tell of them than a line."""
    told = {id(node): node.told() for node in each(plan) if isinstance(node, Scan) and node.told is not None}
    return "\n".join(f"{n}. {words}".replace("\n", "\n   ") for n, words in enumerate(told.values(), 1))


def changes(seen: Sequence[tuple[str, Plan, Plan]]) -> str:
    """What each rule did, in the order in which it happened: a line per change."""
    lines = [f"{rule}: {what}" for rule, before, after in seen for what in _change(before, after)]
    return "\n".join(lines) or "no rule applies"


def _change(before: Plan, after: Plan) -> Iterator[str]:
    """Read off two plans how the second came from the first, whatever the rule is called."""
    _, moved = unstack(after)
    if type(moved) is type(before) and any(_lowered(before, moved)):
        yield from _risen(before, moved)
        return
    before, after = shown_step(before), shown_step(after)
    if (masks := list(_masks(before, after))) or _is_alike(before, after):
        yield from masks
    elif isinstance(after, Slice) and after.early:
        yield f"{line(before)} stops asking when enough rows came out"
    elif isinstance(after, Filter) and isinstance(after.input, Filter) and type(before.input) is not type(after.input):  # type: ignore[union-attr]
        yield f"FILTER {_short(text(after.input.predicate))} first, then FILTER {_short(text(after.predicate))}"
    else:
        yield f"{_short(line(before))} runs before {_short(line(after))}"


def _lowered(before: Plan, after: Plan) -> Iterator[tuple[int, Answer]]:
    """The answers that a step had below it and has no more, with the side they were on."""
    for side, (old, new) in enumerate(zip(inputs(before), inputs(after), strict=False)):
        (answers, base), (left, same) = unstack(old), unstack(new)
        if base is same:
            stayed = {a.column for a in left}
            yield from ((side, a) for a in answers if a.column not in stayed)


def _risen(before: Plan, moved: Plan) -> Iterator[str]:
    for side, answer in _lowered(before, moved):
        if not carried(moved, side, [answer.column])[answer.column]:
            why = "nothing reads it" if is_hidden(moved) else f"{_short(line(moved))} drops it unread"
            yield f"{asked(answer)} is never asked: {why}"
        elif not is_hidden(moved):
            yield f"{asked(answer)} is asked after {_short(line(moved))}"


def _masks(before: Plan, after: Plan) -> Iterator[str]:
    known = {(p.column, str(p.expr)) for p in _prompts(before)}
    for prompt in _prompts(after):
        rows = mask(prompt)
        if rows is not None and (prompt.column, str(prompt.expr)) not in known:
            yield f"{cut(prompt.call.label)} is asked {_short(where(rows))}"


def _is_alike(before: Plan, after: Plan) -> bool:
    return type(before) is type(after) and line(before) == line(after)


def _prompts(plan: Plan) -> Iterator[Prompt]:
    for node in each(plan):
        if isinstance(node, Select | WithColumns | Aggregate):
            yield from (i for i in node.items if isinstance(i, Prompt))


def _short(words: str) -> str:
    return cut(words, 60)
