"""Which answers of a plan are read at all: Polars is asked, with frames without rows.

A stage asks only for the columns that the native query above it wants (projection push-down is left
to Polars), so what nobody reads is never sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.frame.stages import RunStages
from polar_llama.planner.lower import lower
from polar_llama.planner.nodes import Answer, Scan, inputs, with_inputs
from polar_llama.planner.resolve import schema_of
from polar_llama.planner.schema import empty

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from polar_llama.call import Call
    from polar_llama.exec.run import Slot
    from polar_llama.planner.nodes import Plan


def unread(plan: Plan) -> frozenset[int]:
    """The identities of the answers that a run of this plan would never ask for.

    Args:
        plan: An optimised plan.
    """
    noting = _Noting()
    stages: Any = RunStages(noting, "in-memory")  # type: ignore[arg-type]  # stands where a run does
    try:
        lower(_emptied(plan), stages)._collect_eager()
    except Exception:  # noqa: BLE001 -- a step of the user's that needs rows: as far as is known all are read
        return frozenset()
    return frozenset(id(a) for a in _answers(plan) if (a.column, a.call) not in noting.read)


@dataclass(slots=True, eq=False)
class _Noting:
    """Stands for a run: notes which slots it is asked to answer."""

    read: set[tuple[str, Call]] = field(default_factory=set)
    window: int = 1

    def rate(self, _call: Call, _size: float) -> float:
        """What a prompt costs: it does not matter here."""
        return 1.0

    def answer(self, batches: Iterable[pl.DataFrame], slots: Sequence[Slot], **_: Any) -> Iterator[pl.DataFrame]:
        """Answer no rows."""
        self.read.update(slots)
        columns = [pl.Series(slot.column, [], slot.call.dtype) for slot in slots]
        for batch in batches:
            yield batch.with_columns(columns)


def _emptied(plan: Plan) -> Plan:
    """The same plan on frames without rows."""
    done: dict[int, Plan] = {}
    todo = [(plan, False)]
    while todo:
        node, ready = todo.pop()
        if id(node) in done:
            continue
        if not ready:
            todo.append((node, True))
            todo += [(i, False) for i in inputs(node)]
            continue
        if isinstance(node, Scan):
            done[id(node)] = Scan(empty(schema_of(node)), node.schema)
        else:
            done[id(node)] = with_inputs(node, tuple(done[id(i)] for i in inputs(node)))
    return done[id(plan)]


def _answers(plan: Plan) -> list[Answer]:
    found: dict[int, Answer] = {}
    seen: set[int] = set()
    todo = [plan]
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Answer):
            found[id(node)] = node
        todo += inputs(node)
    return list(found.values())
