"""Let what drops or orders rows run before what is computed from answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from polar_llama.planner.exprs import row_wise
from polar_llama.planner.nodes import Answer, Distinct, Filter, Native, Slice, Sort
from polar_llama.planner.origins import STEPS, is_row_by_row
from polar_llama.planner.rewriting import below as below_step
from polar_llama.planner.walk import each

if TYPE_CHECKING:
    from collections.abc import Collection

    from polar_llama.planner.nodes import Plan
    from polar_llama.planner.origins import Step

_KEEPERS = frozenset({"tail", "top_k", "bottom_k", "drop_nans"})
"""Native verbs that keep some rows, and change no column."""

_Rows = Filter | Sort | Slice | Distinct | Native


def narrow_first(node: Plan) -> Plan:
    """`Rows(WithColumns(x)) -> WithColumns(Rows(x))`, likewise past a select, a drop, a rename, an unnest, a cast.

    `Rows` keeps or orders rows: Filter, Sort, Slice, Distinct, tail, top_k. Safe when every column of the
    step is row-wise: computed on the rows that are left, it has the same values. What `Rows` reads of
    the step is written in the columns below it (`origins`): `k < 10` on `k = i + 1` is `i + 1 < 10`, under the
    dtype that `k` has, so it sees the same values on the same rows; it can raise nothing that the step
    would not. A filter on other columns also passes an explode: a row and all that comes of it go together.
    Done only above answers that `Rows` does not wait for, since Polars does it for the rest of the query.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.with_columns(a=llm("q")).with_columns(b=pl.col("a") + "!").head(3).llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    narrow_first: KEEP 3 rows runs before WITH COLUMNS [col("a") + "!"].alias("b")
    ...
    """
    if not isinstance(node, _Rows) or (isinstance(node, Native) and node.verb not in _KEEPERS):
        return node
    passed: list[Step] = []
    moved, below = node, node.input
    while isinstance(below, STEPS) and asks(below):
        lower = _below(moved, below)
        if lower is None:
            break
        passed.append(below)
        moved, below = lower, below.input
    if not passed:
        return node
    plan: Plan = replace(moved, input=below, schema=below.schema)
    for step in reversed(passed):
        plan = replace(step, input=plan)
    return plan


def _below(rows: _Rows, step: Step) -> _Rows | None:
    if is_row_by_row(step) or (_repeats(step) and isinstance(rows, Filter) and row_wise(rows.predicate)):
        return below_step(rows, step, lambda waits: asks(step.input, waits))
    return None


def _repeats(step: Step) -> bool:
    return isinstance(step, Native) and step.verb == "explode"


def asks(node: Plan, besides: Collection[str] = ()) -> bool:
    """Whether an answer other than some is filled in below."""
    return any(isinstance(below, Answer) and below.column not in besides for below in each(node))
