"""Looking through trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Iterator


def walk(node: exp.Expr, *, nested: bool = False, but: exp.Expr | None = None) -> Iterator[exp.Expr]:
    """A node and all below it; not what is below a query inside it, unless asked for, and nothing of `but`."""
    kind, todo = exp.Expr, [node]
    while todo:
        found = todo.pop()
        if found is but:
            continue
        yield found
        if found.is_primitive or not (nested or found is node or not isinstance(found, exp.Query)):
            continue
        for value in reversed(found.args.values()):  # by hand: a query is looked through many times
            if value is None or value.__class__ is str:
                continue
            if value.__class__ is list:
                todo += [v for v in reversed(value) if isinstance(v, kind)]
            elif isinstance(value, kind):
                todo.append(value)
