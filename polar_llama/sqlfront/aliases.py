"""What an alias or a position in a SELECT stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.syntax import closed, outermost
from polar_llama.sqlfront.walking import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Test = Callable[[exp.Expr], bool]


def substituted(node: exp.Expr, aliases: Mapping[str, exp.Expr], *, but: Test | None = None) -> exp.Expr:
    """An expression whose references to aliases are replaced; not those below a node for which `but` holds."""
    if not aliases:
        return node
    kept = {id(n) for k in outermost(node, but) for n in walk(k)} if but is not None else set()
    found = [
        n
        for n in walk(node)
        if id(n) not in kept
        and isinstance(n, exp.Column)
        and not n.table
        and n.name.lower() in aliases
        and not isinstance(n.this, exp.Star)
    ]
    for column in found:
        value = closed(aliases[column.name.lower()].copy())
        if column is node:
            node = value
        else:
            column.replace(value)
    return node


def position(node: exp.Expr, items: Sequence[exp.Expr]) -> exp.Expr | None:
    """The column of SELECT that a number stands for; None where a node is none."""
    if isinstance(node, exp.Literal) and node.is_int and 0 < int(node.name) <= len(items):
        return items[int(node.name) - 1].copy()
    return None
