"""The one patch: Polars' lazy verbs notice answer columns among their arguments.

Nothing is changed by importing this package. The first `llm()` arms the capture: the verbs below are
wrapped; a wrapper looks at the expressions it is handed (about a microsecond each) and, if none holds
a call, goes on to Polars' own function. `disarm()` puts Polars' functions back.
"""

from __future__ import annotations

import functools
import inspect
import threading
from types import FunctionType
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.lazyframe.group_by import LazyGroupBy

from polar_llama.errors import PlanError
from polar_llama.frame.arguments import holds_call, keep

if TYPE_CHECKING:
    from collections.abc import Callable

VERBS = (
    "with_columns",
    "with_columns_seq",
    "select",
    "select_seq",
    "filter",
    "remove",
    "sort",
    "top_k",
    "bottom_k",
    "unique",
    "join",
    "join_asof",
    "join_where",
)
"""The verbs of `pl.LazyFrame` whose expressions may hold calls; eager frames go through them too."""

COLLECTS = ("collect", "collect_async", "collect_batches")
REFUSING = ("rolling", "group_by_dynamic", "match_to_schema")
"""Verbs that cannot hold a call, which say so."""

FILES = ("sink_parquet", "sink_ipc", "sink_csv", "sink_ndjson")
TERMINALS = (*COLLECTS, *FILES, "sink_batches", "sink_delta", "sink_iceberg")
"""The verbs that run a query: everything asked for meanwhile is one run."""

_PATCHED: dict[str, FunctionType] = {
    v: inspect.unwrap(getattr(pl.LazyFrame, v)) for v in (*VERBS, "group_by", *TERMINALS)
}
_PATCHED |= {v: inspect.unwrap(getattr(LazyGroupBy, v)) for v in ("agg", "having")}
_PATCHED |= {v: inspect.unwrap(getattr(pl.LazyFrame, v)) for v in REFUSING}
_PATCHED["collect_all"] = inspect.unwrap(pl.collect_all)
_PATCHED |= {f.__name__: inspect.unwrap(f) for f in (pl.concat, pl.align_frames)}
_PATCHED["map_elements"] = inspect.unwrap(pl.Series.map_elements)


def _copy(function: FunctionType) -> FunctionType:
    same = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    same.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(same, function)
    return same


ORIGINALS: dict[str, Callable[..., Any]] = {name: _copy(f) for name, f in _PATCHED.items()}
"""Polars' own functions."""

_lock = threading.Lock()
_armed = False


def arm() -> None:
    """Wrap the verbs, once.

    The code of Polars' functions is exchanged, not the attributes of its classes: in
    `lf.with_columns(a=llm("q"))` Python looks `lf.with_columns` up before it calls `llm`.
    """
    global _armed  # noqa: PLW0603 -- the patch is process-wide by nature
    with _lock:
        if _armed:
            return
        for name, function in _PATCHED.items():
            function.__globals__["_polar_llama_noticed"] = noticed
            function.__dict__["__signature__"] = inspect.signature(ORIGINALS[name])
            consts = tuple(name if c == _NAME else c for c in _trampoline.__code__.co_consts)
            function.__code__ = _trampoline.__code__.replace(co_consts=consts, co_name=name)
            function.__defaults__ = function.__kwdefaults__ = None
        _armed = True
    _check_not_inside_a_verb()


def _check_not_inside_a_verb() -> None:
    """Refuse the one place where the first call comes too late: a generator that a verb is already reading."""
    verbs = {ORIGINALS[name].__code__: name for name in _PATCHED if name not in {*_RUNS, "map_elements"}}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code in verbs:
            msg = (
                "the first llm() of this process stands in a generator, which Polars was already reading when it was "
                f"made. Hint: write a list, {verbs[frame.f_code]}([llm(...) for ... in ...])"
            )
            raise PlanError(msg)
        frame = frame.f_back


def disarm() -> None:
    """Put Polars' own code back; the next `llm()` arms again."""
    global _armed  # noqa: PLW0603
    with _lock:
        for name, function in _PATCHED.items():
            original = ORIGINALS[name]
            # The defaults first: another thread may call in between.
            function.__defaults__, function.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
            function.__code__ = original.__code__
            function.__dict__.pop("__signature__", None)
        _armed = False


_NAME = "polar_llama: the verb's name"


def _trampoline(*args: Any, **kwargs: Any) -> Any:
    return _polar_llama_noticed("polar_llama: the verb's name", args, kwargs)  # type: ignore[name-defined]  # noqa: F821


def noticed(verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a function of Polars, captured if its arguments hold a call or a frame that does."""
    if verb in _RUNS:
        return _run(verb, args, kwargs)
    if not args:  # a function's first argument by its name
        return ORIGINALS[verb](**kwargs)
    capture: Callable[..., Any] = _CAPTURES.get(verb, _verb)
    return capture(verb, args[0], tuple(map(keep, args[1:])), {k: keep(v) for k, v in kwargs.items()})


def _run(verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a query as one run, if it holds calls; it gives way to an interrupt at once."""
    from polar_llama.frame import inference_frame as ours
    from polar_llama.frame.scope import claimed_here, tokens

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
        from polar_llama.frame.inference_frame import captured

        return captured(self, verb, args, kwargs)
    return ORIGINALS[verb](self, *args, **kwargs)  # type: ignore[no-any-return]


def _is_captured(value: Any) -> bool:
    return isinstance(value, pl.LazyFrame) and hasattr(value, "_plan")


def _group_by(_: str, self: pl.LazyFrame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LazyGroupBy:
    if holds_call((args, kwargs)):
        return _grouped((self, args, kwargs))
    result: LazyGroupBy = ORIGINALS["group_by"](self, *args, **kwargs)
    # An aggregation that holds a call must know its frame, which Polars' object does not keep.
    result._polar_llama = (self, args, kwargs), ()  # type: ignore[attr-defined]
    return result


def _agg(_: str, self: LazyGroupBy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> pl.LazyFrame:
    if holds_call((args, kwargs)):
        if not hasattr(self, "_polar_llama"):
            from polar_llama.frame.inference_frame import aggregated

            result = aggregated(self, args, kwargs)
            if result is not None:
                return result
        grouping, having = _grouping(self)
        return _grouped(grouping).having(*having).agg(*args, **kwargs)
    return ORIGINALS["agg"](self, *args, **kwargs)  # type: ignore[no-any-return]


def _having(_: str, self: LazyGroupBy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LazyGroupBy:
    if holds_call((args, kwargs)):
        grouping, having = _grouping(self)
        return _grouped(grouping).having(*having, *args)
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
        from polar_llama.frame.inference_frame import concatenated

        return concatenated(items)
    return ORIGINALS["concat"](items, *args, **kwargs)


def _align_frames(verb: str, first: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Polars takes frames of one class only."""
    frames = [first, *args] if isinstance(first, pl.LazyFrame | pl.DataFrame) else [*first]
    if any(map(_is_captured, frames)):
        from polar_llama.frame.inference_frame import captured_scan

        frames = [captured_scan(f) if isinstance(f, pl.LazyFrame) and not _is_captured(f) else f for f in frames]
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


def _grouped(grouping: tuple[pl.LazyFrame, tuple[Any, ...], dict[str, Any]]) -> LazyGroupBy:
    from polar_llama.frame.inference_frame import grouped

    return grouped(*grouping)


_RUNS = frozenset({*TERMINALS, "collect_all"})


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
