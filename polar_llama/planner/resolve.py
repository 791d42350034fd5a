"""The first pass over a plan: dtypes found, selectors expanded, prompts rendered, mistakes reported.

After it every node knows its logical schema (answers under their own dtypes), so that nothing that
Polars would refuse reaches a provider.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from polar_llama.call import PREFIX, is_answer
from polar_llama.errors import PlanError
from polar_llama.planner.nodes import (
    Aggregate,
    Answer,
    Native,
    Prompt,
    Scan,
    Select,
    WithColumns,
    schema_of,
    with_inputs,
)
from polar_llama.planner.prompts import render
from polar_llama.planner.schema import after, changed
from polar_llama.planner.selectors import expanded
from polar_llama.planner.verbs import native_reads
from polar_llama.planner.walk import fold
from polar_llama.planner.wording import in_words

if TYPE_CHECKING:
    from polar_llama.call import Call, OnError
    from polar_llama.planner.nodes import Item, Plan


@in_words()
def resolve(plan: Plan, on_error: OnError) -> Plan:
    """Resolve a whole plan.

    Args:
        plan: A plan as captured.
        on_error: For calls that do not say.

    Returns:
        An equal plan whose nodes all have a schema.

    Raises:
        PlanError: For a prompt that cannot be rendered, or a call where none can be planned.
        polars.exceptions.PolarsError: What Polars itself says of the query.
    """
    resolved = fold(plan, lambda node, below: _resolved(node, below, on_error))
    _check_names(schema_of(resolved))
    return resolved


def _resolved(node: Plan, below: tuple[Plan, ...], on_error: OnError) -> Plan:
    schemas = [schema_of(i) for i in below]
    node = expanded(node, schemas)
    match node:
        case Scan():
            return node if node.schema is not None else replace(node, schema=node.frame.collect_schema())
        case Answer():
            call = _prompted(below[0], node.column).call
            call = replace(call, on_error=call.on_error or on_error)
            return Answer(below[0], node.column, call, changed(schemas[0], {node.column: call.dtype}))
        case Select() | WithColumns() | Aggregate():
            node = replace(node, items=tuple(_rendered(i, schemas[0]) for i in node.items))
            schema = after(node, schemas)
            items = tuple(_listed(i, schema, in_groups=isinstance(node, Aggregate)) for i in node.items)
            return with_inputs(node, below, items=items, schema=schema)
        case Native():
            if node.verb == "drop":  # the selector must mean the same when dtypes are still the slots'
                gone = set(schemas[0]) - set(after(node, schemas))
                selector = cs.by_name(*gone) if gone else cs.empty()
                node = replace(node, args=(), kwargs={"columns": selector})
            node = replace(node, reads=native_reads(node.verb, node.args, node.kwargs, schemas[0]))
        case _:
            pass
    return with_inputs(node, below, schema=after(node, schemas))


def _prompted(node: Plan, column: str) -> Prompt:
    while isinstance(node, Answer):
        node = node.input
    assert isinstance(node, Select | WithColumns | Aggregate)  # noqa: S101 -- build.py puts answers on prompts only
    return next(i for i in node.items if isinstance(i, Prompt) and i.column == column)


def _rendered(item: Item, before: pl.Schema) -> Item:
    if isinstance(item, Prompt):
        expr, conversation = render(item.source, before, conversation=item.call.conversation)
        if conversation and item.call.embedding:
            msg = f"{item.call.label}: a list of messages has no embedding. Hint: embed a text, such as one content"
            raise PlanError(msg)
        call: Call = replace(item.call, conversation=True) if conversation else item.call
        return replace(item, call=call, expr=expr)
    return item


def _listed(item: Item, schema: pl.Schema, *, in_groups: bool) -> Item:
    """A prompt that is a list of texts has an answer for each. Of a prompt in a grouping only the schema tells."""
    if not isinstance(item, Prompt) or not isinstance(schema[item.column], pl.List):
        return item
    if item.call.embedding:
        msg = f"{item.call.label}: a list of texts has no embedding. Hint: explode() the list first"
        raise PlanError(msg)
    if in_groups and is_answer(item.column):
        msg = (
            f"{item.call.label} gives a list of answers for each group here, while the expression around it is for "
            'one answer. Hint: name the answers first, llm(...).alias("a"), and compute with them in a verb after'
        )
        raise PlanError(msg)
    return replace(item, call=replace(item.call, listed=True))


def _check_names(schema: pl.Schema) -> None:
    leaked = [n for n in schema if PREFIX in n] or [n for n, t in schema.items() if PREFIX in str(t)]
    if leaked:
        msg = (
            "an answer without a name of its own would show in the result. "
            'Hint: give it one, llm(...).alias("a"), before name.keep() or struct()'
        )
        raise PlanError(msg)
