"""Walks over plans, which may be deep, and whose nodes may be read by several others: no recursion, each node once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from polar_llama.planner.nodes import inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from polar_llama.planner.nodes import Plan

T = TypeVar("T")


def fold(
    plan: Plan,
    step: Callable[[Plan, tuple[T, ...]], T],
    below: Callable[[Plan], Sequence[Plan]] = inputs,
    known: Mapping[int, T] | None = None,
) -> T:
    """What a step makes of a plan, from the bottom.

    Args:
        plan: The plan.
        step: Gets a node and what it has made of those below.
        below: What lies below a node.
        known: What is known already, by the identity of the node.
    """
    done: dict[int, T] = dict(known or {})
    todo: list[tuple[Plan, Sequence[Plan] | None]] = [(plan, None)]
    while todo:
        node, under = todo.pop()
        if id(node) in done:
            continue
        if under is None:
            under = below(node)
            todo.append((node, under))
            todo += [(i, None) for i in reversed(under)]
        else:
            done[id(node)] = step(node, tuple([done[id(i)] for i in under]))
    return done[id(plan)]


def each(plan: Plan) -> Iterator[Plan]:
    """Every node of a plan, from the top."""
    seen: set[int] = set()
    todo = [plan]
    while todo:
        node = todo.pop()
        if id(node) not in seen:
            seen.add(id(node))
            todo += inputs(node)
            yield node
