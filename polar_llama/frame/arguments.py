"""The arguments of a verb: whether an answer column is among them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, KeysView, Mapping, ValuesView
from itertools import islice
from typing import Any

import polars as pl

from polar_llama.call import is_answer

_INERT = (pl.Expr, str, int, float, type(None), list, tuple, dict, pl.LazyFrame)
_USED_UP = (Iterator, KeysView, ValuesView, deque)


def keep(value: Any) -> Any:
    """An iterator's items as a list, since looking at it would use it up; and those of views."""
    if isinstance(value, _INERT):  # most arguments: asking for an abstract class costs ten times as much
        return value
    return [*value] if isinstance(value, _USED_UP) else value


_SINGLE = (str, int, float, type(None), bytes, pl.Series, pl.DataFrame, pl.LazyFrame)
_SEVERAL = (tuple, list, set, frozenset)
_NUMBERS = (bool, int, float)
_LOOK = 100


def holds_call(value: Any) -> bool:
    """Whether an answer column is anywhere among arguments."""
    if isinstance(value, pl.Expr):
        return any(map(is_answer, value.meta.root_names()))
    if isinstance(value, _SINGLE):
        return False
    if isinstance(value, _SEVERAL):
        # A mask of a million booleans is not looked through: its first items tell.
        first = next(iter(value), None)
        return any(map(holds_call, islice(value, _LOOK) if isinstance(first, _NUMBERS) else value))
    return isinstance(value, Mapping) and any(map(holds_call, value.values()))
