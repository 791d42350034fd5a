"""Which columns' values the remaining verbs look at.

A verb listed here only moves, renames, repeats or drops the values of the other columns, so answers
may be filled in after it. A verb that is not listed may look at every value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polar_llama.planner.exprs import reads
from polar_llama.planner.nodes import MOVES
from polar_llama.planner.schema import selected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    Reader = Callable[[tuple[Any, ...], Mapping[str, Any], pl.Schema], frozenset[str] | None]


def _nothing(args: tuple[Any, ...], kwargs: Mapping[str, Any], before: pl.Schema) -> frozenset[str] | None:
    del args, kwargs, before
    return frozenset()


def _subset(args: tuple[Any, ...], kwargs: Mapping[str, Any], before: pl.Schema) -> frozenset[str] | None:
    selector = kwargs.get("subset", args[0] if args else None)
    return None if selector is None else frozenset(selected(before, selector.as_expr()))


def _by(args: tuple[Any, ...], kwargs: Mapping[str, Any], before: pl.Schema) -> frozenset[str] | None:
    del args, before
    return reads(kwargs["by"])


def _filler(args: tuple[Any, ...], kwargs: Mapping[str, Any], before: pl.Schema) -> frozenset[str] | None:
    """`shift` with a `fill_value` puts the value into columns of its dtype, which the slots' is not."""
    del args, before
    return frozenset() if kwargs.get("fill_value") is None else None


def _cast(args: tuple[Any, ...], kwargs: Mapping[str, Any], before: pl.Schema) -> frozenset[str] | None:
    del kwargs, before
    return frozenset(args[0])


READS: dict[str, Reader] = {
    "drop": _nothing,
    "rename": _nothing,
    "with_row_index": _nothing,
    "tail": _nothing,
    "cache": _nothing,
    **dict.fromkeys(MOVES, _nothing),
    "shift": _filler,
    "hint_sorted": _nothing,
    "cast": _cast,
    "explode": _subset,
    "unnest": _subset,
    "drop_nans": _subset,
    "top_k": _by,
    "bottom_k": _by,
}


def native_reads(
    verb: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], before: pl.Schema
) -> frozenset[str] | None:
    """The columns whose values a `PyLazyFrame` method looks at; None when it may be any."""
    reader = READS.get(verb)
    return None if reader is None else reader(args, kwargs, before)
