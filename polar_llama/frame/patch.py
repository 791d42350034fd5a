"""Polars' own functions, and the one patch: while it is armed, `capture` is told of each of their calls.

Nothing is changed by importing this package. The first `llm()` arms the patch; `disarm()` puts Polars' functions back.
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

RUNS = frozenset({*TERMINALS, "collect_all"})
"""They, and the function that runs several queries."""

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
_listener: Callable[[str, tuple[Any, ...], dict[str, Any]], Any]


def listen(noticed: Callable[[str, tuple[Any, ...], dict[str, Any]], Any]) -> None:
    """Say who runs Polars' functions while the patch is armed: what gets their names and arguments."""
    global _listener  # noqa: PLW0603 -- the patch is process-wide by nature
    _listener = noticed


def arm() -> None:
    """Wrap the verbs, once.

    The code of Polars' functions is exchanged, not the attributes of its classes: in
    `lf.with_columns(a=llm("q"))` Python looks `lf.with_columns` up before it calls `llm`.
    """
    global _armed  # noqa: PLW0603
    with _lock:
        if _armed:
            return
        for name, function in _PATCHED.items():
            function.__globals__["_polar_llama_noticed"] = _listener
            function.__dict__["__signature__"] = inspect.signature(ORIGINALS[name])
            consts = tuple(name if c == _NAME else c for c in _trampoline.__code__.co_consts)
            function.__code__ = _trampoline.__code__.replace(co_consts=consts, co_name=name)
            function.__defaults__ = function.__kwdefaults__ = None
        _armed = True
    _check_not_inside_a_verb()


def _check_not_inside_a_verb() -> None:
    """Refuse the one place where the first call comes too late: a generator that a verb is already reading."""
    verbs = {ORIGINALS[name].__code__: name for name in _PATCHED if name not in {*RUNS, "map_elements"}}
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
