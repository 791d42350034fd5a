"""Polars' verbs notice answer columns among their arguments, once `patch` is armed.

The expressions a verb is handed are looked at, about a microsecond each; if none holds a call, Polars'
own function goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.errors import PlanError
from polar_llama.frame import inference_frame as ours
from polar_llama.frame import patch
from polar_llama.frame.arguments import holds_call, keep
from polar_llama.frame.patch import COLLECTS, ORIGINALS, REFUSING, RUNS
from polar_llama.frame.scope import claimed_here, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from polars.lazyframe.group_by import LazyGroupBy


def noticed(verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a function of Polars, captured if its arguments hold a call or a frame that does."""
    if verb in RUNS:
        return _run(verb, args, kwargs)
    if not args:  # a function's first argument by its name
        return ORIGINALS[verb](**kwargs)
    capture: Callable[..., Any] = _CAPTURES.get(verb, _verb)
    return capture(verb, args[0], tuple(map(keep, args[1:])), {k: keep(v) for k, v in kwargs.items()})


def _run(verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a query as one run, if it holds calls; it gives way to an interrupt at once."""
    original = ORIGINALS[verb]
    if not args or kwargs.get("lazy") or kwargs.get("background"):
        return original(*args, **kwargs)
    single = isinstance(args[0], pl.LazyFrame)
    frames = [ours.native(f) for f in ([args[0]] if single else args[0])]
    found = tokens(frames)
    args = (frames[0] if single else frames, *args[1:])
    if not found or claimed_here(found):
        return original(*args, **kwargs)
    if verb in COLLECTS:
        return getattr(ours.captured_scan(frames[0]), verb)(*args[1:], **kwargs)
    return ours.run_as_one(lambda: original(*args, **kwargs), found)


def _verb(verb: str, self: pl.LazyFrame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> pl.LazyFrame:
    given = (*args, *kwargs.values())
    if any(map(holds_call, given)) or any(map(_is_captured, given)):
        return ours.captured(self, verb, args, kwargs)
    return ORIGINALS[verb](self, *args, **kwargs)  # type: ignore[no-any-return]


def _is_captured(value: Any) -> bool:
    return isinstance(value, ours.InferenceFrame)


def _group_by(_: str, self: pl.LazyFrame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LazyGroupBy:
    if holds_call((args, kwargs)):
        return ours.grouped(self, args, kwargs)
    result: LazyGroupBy = ORIGINALS["group_by"](self, *args, **kwargs)
    # An aggregation that holds a call must know its frame, which Polars' object does not keep.
    result._polar_llama = (self, args, kwargs), ()  # type: ignore[attr-defined]
    return result


def _agg(_: str, self: LazyGroupBy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> pl.LazyFrame:
    if holds_call((args, kwargs)):
        if not hasattr(self, "_polar_llama"):
            result = ours.aggregated(self, args, kwargs)
            if result is not None:
                return result
        grouping, having = _grouping(self)
        return ours.grouped(*grouping).having(*having).agg(*args, **kwargs)
    return ORIGINALS["agg"](self, *args, **kwargs)  # type: ignore[no-any-return]


def _having(_: str, self: LazyGroupBy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LazyGroupBy:
    if holds_call((args, kwargs)):
        grouping, having = _grouping(self)
        return ours.grouped(*grouping).having(*having, *args)
    result: LazyGroupBy = ORIGINALS["having"](self, *args, **kwargs)
    if hasattr(self, "_polar_llama"):
        grouping, having = _grouping(self)
        result._polar_llama = grouping, (*having, *args)  # type: ignore[attr-defined]
    return result


def _grouping(groups: LazyGroupBy) -> Any:
    """What a `group_by` was told, and the `having` after it."""
    known = getattr(groups, "_polar_llama", None)
    if known is None:
        msg = (
            "llm() can be asked once a group here, llm(pl.col(...).str.join()), but not once a row: this grouping is a "
            "group_by_dynamic or a rolling, or was made before the first llm() of this process. Hint: put it in a "
            "column first, with_columns(a=llm(...)), and aggregate that column"
        )
        raise PlanError(msg)
    return known


def _concat(_: str, items: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    items = list(items)
    plain = not args and kwargs.get("how", "vertical") == "vertical" and len(items) > 1
    if plain and any(map(_is_captured, items)) and all(isinstance(i, pl.LazyFrame) for i in items):
        return ours.concatenated(items)
    return ORIGINALS["concat"](items, *args, **kwargs)


def _align_frames(verb: str, first: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Polars takes frames of one class only."""
    frames = [first, *args] if isinstance(first, pl.LazyFrame | pl.DataFrame) else [*first]
    if any(map(_is_captured, frames)):
        frames = [ours.captured_scan(f) if isinstance(f, pl.LazyFrame) and not _is_captured(f) else f for f in frames]
    return ORIGINALS[verb](*frames, **kwargs)


def _map_elements(verb: str, self: pl.Series, args: tuple[Any, ...], kwargs: dict[str, Any]) -> pl.Series:
    """A function of values that gives calls: expressions, which nobody would ever evaluate."""
    result: pl.Series = ORIGINALS[verb](self, *args, **kwargs)
    if result.dtype == pl.Object and any(map(holds_call, result.drop_nulls().head(1))):
        msg = (
            "llm() cannot be used inside map_elements(): it is an expression of columns, not a function of values. "
            'Hint: name a column, df.with_columns(a=llm("question")), or of a Series, s.to_frame().select(llm(s.name))'
        )
        raise PlanError(msg)
    return result


def _refused(verb: str, self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if holds_call((args, kwargs)):
        msg = (
            f"llm() cannot be used inside {verb}(). Hint: put it in a column first, with_columns(a=llm(...)), "
            f"and use that column in {verb}()"
        )
        raise PlanError(msg)
    return ORIGINALS[verb](self, *args, **kwargs)


_CAPTURES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(REFUSING, _refused),
    "group_by": _group_by,
    "agg": _agg,
    "having": _having,
    "concat": _concat,
    "align_frames": _align_frames,
    "map_elements": _map_elements,
}


patch.listen(noticed)
