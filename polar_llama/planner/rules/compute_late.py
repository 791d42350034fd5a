"""Let a join run before what is computed from answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import polars as pl

from polar_llama.planner.exprs import bare_column, reads, touches
from polar_llama.planner.nodes import Answer, Join, Native, Select, WithColumns, expression, output_name, schema_of
from polar_llama.planner.origins import is_row_by_row
from polar_llama.planner.rules.join_first import rejoined, sides_of
from polar_llama.planner.rules.narrow_first import asks
from polar_llama.planner.schema import changed
from polar_llama.planner.walk import each

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Item, Plan


def compute_late(node: Plan) -> Plan:
    """`Join(WithColumns(f(asked))(x), y) -> Select(WithColumns(f(asked))(Join(x, y)))`, likewise past a select, a drop.

    What the join leaves is asked. Safe for the sides of joins all of whose rows stem from one row of that side
    (`join_first`), for columns that are row-wise: in every copy of the row they have the same values. The join must
    read nothing that is made, and no name that is made, or read and then dropped, must be one of the other side, so
    that all columns of the join keep the names they had.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> late = lf.with_columns(a=llm("q")).with_columns(b=pl.col("a") + "!")
    >>> print(late.join(lf.select("n"), on="n").llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    compute_late: JOIN inner ON col("n") runs before WITH COLUMNS [col("a") + "!"].alias("b")
    ...
    """
    if isinstance(node, Join):
        for side in sides_of(node):
            if (moved := _moved(node, side)) is not None:
                return moved
    return node


def _moved(node: Join, side: int) -> Plan | None:
    sides = [node.left, node.right]
    source = below = sides[side]
    steps: list[Select | WithColumns | Native] = []
    while _is_passed(below) and asks(below.input):
        steps.append(below)
        below = below.input
    items = [i for step in steps if not isinstance(step, Native) for i in step.items if not _is_kept(i)]
    made = {output_name(i) for i in items}
    answers = [n.column for n in each(below) if isinstance(n, Answer)]
    read = reads(map(expression, items))
    if not items or not touches(read, answers) or touches(reads(node.args[side]), made):
        return None
    other = schema_of(sides[1 - side])
    dropped = (set(schema_of(below)) - set(schema_of(source))) & set(other)  # would meet a column of their name
    if not made.isdisjoint(other) or touches(read, dropped):
        return None
    if dropped:
        kept = {name: dtype for name, dtype in schema_of(below).items() if name not in dropped}
        below = Select(below, tuple(map(pl.col, kept)), pl.Schema(kept, check_dtypes=False))
    sides[side], mine = below, schema_of(below)
    join = rejoined(node, sides)
    if not (made - set(mine)).isdisjoint(schema_of(join)):
        return None
    if side == 1 and (read is None or not read - made <= set(schema_of(join)) - set(other)):
        return None
    plan: Plan = join
    for step in reversed(steps):
        if not isinstance(step, Native):
            computed = tuple(i for i in step.items if not _is_kept(i))
            kinds = {name: schema_of(step)[name] for name in map(output_name, computed)}
            plan = WithColumns(plan, computed, changed(schema_of(plan), kinds))
    names = schema_of(node).names()
    return plan if schema_of(plan).names() == names else Select(plan, tuple(map(pl.col, names)), node.schema)


def _is_passed(step: Plan) -> TypeGuard[Select | WithColumns | Native]:
    """Whether a step makes one row of each, and a join after it can run before it."""
    if isinstance(step, Native):
        return step.verb == "drop"
    return isinstance(step, Select | WithColumns) and is_row_by_row(step)


def _is_kept(item: Item) -> bool:
    """Whether an item is a column under its own name."""
    return isinstance(item, pl.Expr) and bare_column(item) == output_name(item)
