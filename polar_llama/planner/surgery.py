"""Parts of expressions exchanged. Polars shows no other way to change an expression than its JSON."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable


MAX_BYTES = 100_000
"""Of an expression that is looked into: one with a million values inside would take seconds."""


def opened(expr: pl.Expr) -> Any:
    """An expression as JSON.

    Raises:
        Exception: Of many kinds: a Python function inside, a number that JSON lacks.
    """
    return json.loads(expr.meta.serialize(format="json"))


def closed(parts: Any) -> pl.Expr:
    """The expression of some JSON."""
    return pl.Expr.deserialize(io.StringIO(json.dumps(parts)), format="json")


def replaced(expr: pl.Expr, parts: Iterable[tuple[pl.Expr, pl.Expr]]) -> pl.Expr | None:
    """An expression with other parts in place of some; None where it does not survive the way to JSON and back."""
    try:
        if len(expr.meta.serialize()) > MAX_BYTES:
            return None
        whole = opened(expr)
        # In a struct the name of a part is the name of a field.
        is_named = "AsStruct" in json.dumps(whole)
        pairs = []
        for old, new in parts:
            named = new.alias(old.meta.output_name()) if is_named else new
            pairs.append((opened(old), opened(named)))
            # A part that JSON writes as a mere word, as it does `pl.len()`, cannot be told from a name.
            if not isinstance(pairs[-1][0], dict) or not closed(pairs[-1][1]).meta.eq(named):
                return None
        return closed(_replaced(whole, pairs)) if closed(whole).meta.eq(expr) else None
    except Exception:  # noqa: BLE001 -- Polars has no error of its own for what cannot be written
        return None


def _replaced(part: Any, pairs: list[tuple[Any, Any]]) -> Any:
    if isinstance(part, list):
        return [_replaced(p, pairs) for p in part]
    if not isinstance(part, dict):
        return part
    for old, new in pairs:
        if part == old:
            return new
    return {key: _replaced(p, pairs) for key, p in part.items()}
