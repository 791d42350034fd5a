"""Several model predicates on the same rows: which of them runs first is decided while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from polar_llama.planner.answers import unstack
from polar_llama.planner.exprs import reads, row_wise, touches
from polar_llama.planner.nodes import Filter
from polar_llama.planner.safety import cannot_raise

if TYPE_CHECKING:
    import polars as pl

    from polar_llama.planner.nodes import Answer, Plan


class Predicate(NamedTuple):
    """A predicate and the answers it reads, which are filled in just before."""

    expr: pl.Expr
    answers: tuple[Answer, ...]


def sieve(node: Plan) -> tuple[list[Predicate], Plan] | None:
    """`Filter(p2)(Answer(Filter(p1)(Answer(x))))`, and so on: the predicates as written, and x.

    All their slots are rendered in x, so as written they are all asked for every row of x: whatever
    order they run in, nothing is asked that would not have been. Each predicate is row-wise, cannot
    raise, and reads no answer of another one, so the same rows pass in every order.

    Returns:
        Two predicates or more, lowest first, and what they stand on; None where there are fewer.
    """
    found: list[Predicate] = []
    while isinstance(node, Filter):
        answers, below = unstack(node.input)
        read = reads([node.predicate])
        alone = bool(answers) and all(touches(read, [a.column]) and not a.call.listed for a in answers)
        shared = any(touches(reads([p.expr]), [a.column]) for p in found for a in answers)
        if not alone or shared or not row_wise(node.predicate) or not cannot_raise(node.predicate, node.schema):
            break
        found.append(Predicate(node.predicate, tuple(answers)))
        node = below
    return (found[::-1], node) if len(found) > 1 else None
