"""What is prepared once per call and used for its every row, such as the common parts of request bodies."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

MOST = 64
"""Entries of a table; one is prepared in less than a millisecond, so a full table is simply emptied."""


def remember(table: dict[_K, _V], key: _K, value: _V) -> _V:
    """Keep a value, and give it back."""
    if len(table) >= MOST:
        table.clear()
    table[key] = value
    return value
