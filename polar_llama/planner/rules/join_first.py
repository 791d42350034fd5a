"""Let a join run before a filter that reads answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from polar_llama.planner.exprs import reads, row_wise
from polar_llama.planner.nodes import Filter, Join, Native, schema_of
from polar_llama.planner.rules.order_filters import is_asked
from polar_llama.planner.safety import cannot_raise
from polar_llama.planner.schema import after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.planner.nodes import Plan

_HOW, _VALIDATE = 5, 7
"""Where they stand among the arguments of `PyLazyFrame.join` after `other`."""

_SIDES = {"inner": (0, 1), "left": (0,), "right": (1,), "semi": (0,), "anti": (0,)}
"""By join: the sides of which one row stands behind every row that comes out."""


def join_first(node: Plan) -> Plan:
    """`Join(Drop(h)(Filter(asked)(x)), y) -> Drop(h)(Filter(asked)(Join(x, y)))`: what the join leaves is asked.

    Safe for the sides of joins all of whose rows stem from one row of that side: an inner join's two, a left,
    semi or anti join's left one, a right join's right one. Then the filter, which must be row-wise, sees
    the same values in every copy of the row, under the same names, and a row without a partner, which it
    would have dropped before, it drops after. The join looks at more rows, so its keys must be of the kind
    that cannot raise (`safety`), and nothing may be validated.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.filter(llm("q", returns=bool)).join(lf, on="n", how="semi").llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    join_first: JOIN semi ON col("n") runs before FILTER llm("q")
    ...
    """
    if isinstance(node, Join):
        for side in sides_of(node):
            if (moved := _moved(node, side)) is not None:
                return moved
    return node


def sides_of(join: Join) -> tuple[int, ...]:
    """The sides of which one row stands behind every row that comes out; none where something is validated."""
    if join.verb != "join" or join.args[_VALIDATE] != "m:m":
        return ()
    return _SIDES.get(join.args[_HOW], ())


def rejoined(join: Join, sides: Sequence[Plan]) -> Join:
    """The same join of other inputs."""
    new = replace(join, left=sides[0], right=sides[1])
    return replace(new, schema=after(new, list(map(schema_of, sides))))


def _moved(node: Join, side: int) -> Plan | None:
    source = (node.left, node.right)[side]
    drop = source if isinstance(source, Native) and source.verb == "drop" else None
    below = source if drop is None else drop.input
    if not isinstance(below, Filter) or not is_asked(below) or not row_wise(below.predicate):
        return None
    sides = [node.left, node.right]
    sides[side] = below.input
    mine, other = schema_of(below.input), schema_of(sides[1 - side])
    hidden = set(mine) - set(schema_of(source))
    read = reads([below.predicate])
    if read is None or not hidden.isdisjoint(other) or not all(cannot_raise(k, mine) for k in node.args[side]):
        return None
    join = rejoined(node, sides)
    if side == 1 and (not read.isdisjoint(other) or not read <= set(schema_of(join))):
        return None
    filtered = replace(below, input=join, schema=join.schema)
    return filtered if drop is None else replace(drop, input=filtered, schema=node.schema)
