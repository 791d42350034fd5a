"""Ask as late as possible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from polar_llama.planner.answers import stack, unstack
from polar_llama.planner.flow import carried, reads_of
from polar_llama.planner.nodes import Answer, Union, inputs, with_inputs

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Plan


def defer_infer(node: Plan) -> Plan:
    """`Step(Answer(x)) -> Answer(Step(x))` for every answer the step does not read.

    Safe because the slot stands under the answer's own name and position: a step that looks at no
    value of a column does the same to prompts as it would to answers, be it to filter, order, repeat,
    rename, drop or pad them with nulls, and the answer to a null prompt is null. A step never makes
    new prompts, so none is asked that would not have been asked below. An answer that leaves the step
    under no name at all is never asked (`drop_infer` falls out of this rule); one that leaves under
    two names is two slots with equal prompts, asked once.

    >>> import polars as pl
    >>> from polar_llama import llm
    >>> lf = pl.LazyFrame({"q": ["?"], "n": [1]})
    >>> print(lf.with_columns(a=llm("q")).filter(pl.col("n") > 1).llm.explain(verbose=True))
    LOGICAL PLAN
    ...
    defer_infer: 'a' = llm("q") is asked after FILTER col("n") > 1
    ...
    """
    if isinstance(node, Answer) or not any(isinstance(source, Answer) for source in inputs(node)):
        return node
    if isinstance(node, Union):
        return _shared(node)
    below: list[Plan] = []
    risen: list[Answer] = []
    for side, (source, read) in enumerate(zip(inputs(node), reads_of(node), strict=True)):
        answers, plan = unstack(source)
        free = [] if read is None else [a for a in answers if a.column not in read]
        below.append(stack(plan, [a for a in answers if a not in free]) if free else source)
        names = carried(node, side, [a.column for a in free]) if free else {}
        risen += [a if name == a.column else replace(a, column=name) for a in free for name in names[a.column]]
    moved = with_inputs(node, tuple(below))
    return stack(moved, risen)


def _shared(node: Union) -> Plan:
    """Past a concatenation rise the answers that every frame has; others would fill rows that are not theirs."""
    stacks = [unstack(frame) for frame in node.frames]
    first, *others = [{a.column: a for a in answers} for answers, _ in stacks]
    common = [a for c, a in first.items() if all(c in o and o[c].call == a.call for o in others)]
    if not common:
        return node
    columns = {a.column for a in common}
    below = [stack(plan, [a for a in answers if a.column not in columns]) for answers, plan in stacks]
    return stack(replace(node, frames=tuple(below)), common)
