"""What is relied on that Polars does not promise: its private names and signatures."""

from __future__ import annotations

import inspect
import io
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from polars._utils.parse import parse_into_list_of_expressions
from polars._utils.wrap import wrap_expr, wrap_ldf
from polars.lazyframe.group_by import LazyGroupBy
from polars.lazyframe.opt_flags import DEFAULT_QUERY_OPT_FLAGS

from polar_llama.frame import patch
from polar_llama.frame.inference_frame import RECORDED, InferenceFrame
from polar_llama.frame.recorder import Recorder

LF = pl.LazyFrame({"a": [1]})


class Spy:
    """Stands for a `PyLazyFrame` and writes down how it is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any, **kwargs: Any) -> Spy:
            self.calls.append((name, args, kwargs))
            return self

        return method


class Played(pl.LazyFrame):
    """A frame over a spy."""

    _ldf: Any

    @classmethod
    def _from_pyldf(cls, ldf: Any) -> Played:
        self = cls.__new__(cls)
        self._ldf = ldf
        return self


def played(verb: str, *args: Any, **kwargs: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    spy = Spy()
    getattr(Played._from_pyldf(spy), verb)(*args, **kwargs)
    return spy.calls[-1]


@pytest.mark.parametrize(
    ("verb", "args", "kwargs", "name", "positional", "keywords"),
    [
        ("with_columns", ("a",), {}, "with_columns", 1, set()),
        ("with_columns_seq", ("a",), {}, "with_columns_seq", 1, set()),
        ("select", ("a",), {}, "select", 1, set()),
        ("select_seq", ("a",), {}, "select_seq", 1, set()),
        ("filter", (pl.col("a") == 1,), {}, "filter", 1, set()),
        ("remove", (pl.col("a") == 1,), {}, "remove", 1, set()),
        ("sort", ("a",), {}, "sort", 5, set()),
        ("sort", ("a", "b"), {}, "sort_by_exprs", 5, set()),
        ("top_k", (1,), {"by": "a"}, "top_k", 1, {"by", "reverse"}),
        ("bottom_k", (1,), {"by": "a"}, "bottom_k", 1, {"by", "reverse"}),
        ("slice", (1, 2), {}, "slice", 2, set()),
        ("head", (2,), {}, "slice", 2, set()),
        ("unique", ("a",), {}, "unique", 3, set()),
        ("drop", ("a",), {}, "drop", 0, {"columns"}),
        ("explode", ("a",), {}, "explode", 0, {"subset", "empty_as_null", "keep_nulls"}),
        ("tail", (2,), {}, "tail", 1, set()),
        ("with_row_index", (), {}, "with_row_index", 2, set()),
    ],
)
def test_how_verbs_call_the_handle(
    verb: str, args: Any, kwargs: Any, name: str, positional: int, keywords: set[str]
) -> None:
    called, got, named = played(verb, *args, **kwargs)
    assert (called, len(got), set(named)) == (name, positional, keywords)


def test_the_handle_has_every_method_that_is_played() -> None:
    native = LF._ldf
    for name in ("with_columns", "select", "filter", "sort_by_exprs", "slice", "unique", "group_by", "join", "drop"):
        assert callable(getattr(native, name))
    own = {n for n in vars(Recorder) if not n.startswith("_")} - {"plan"}
    assert {n for n in own if not hasattr(native, n)} == set()


def test_the_order_of_a_join_s_arguments() -> None:
    spy = Spy()
    frame = Played._from_pyldf(spy)
    frame.join(frame, on="a", how="left", suffix="_s")
    name, args, kwargs = spy.calls[-1]
    assert (name, len(args), kwargs) == ("join", 12, {})
    assert [type(e).__name__ for e in (*args[1], *args[2])] == ["PyExpr", "PyExpr"]


def test_every_recorded_and_patched_verb_exists() -> None:
    assert [v for v in RECORDED if not hasattr(pl.LazyFrame, v)] == []
    assert [v for v in (*patch.VERBS, *patch.TERMINALS) if not hasattr(pl.LazyFrame, v)] == []
    assert [v for v in ("agg", "having") if not hasattr(LazyGroupBy, v)] == []


def test_every_sink_and_terminal_is_known() -> None:
    """A new one of Polars' must be looked at: does it go through `collect`, a known sink, or `_ldf`?"""
    known = {"collect", "collect_async", "collect_batches", "collect_schema", "_collect_eager"}
    known |= {f"sink_{kind}" for kind in ("batches", "csv", "delta", "iceberg", "ipc", "ndjson", "parquet")}
    found = {n for n in dir(pl.LazyFrame) if n.startswith(("collect", "sink_", "_collect"))}
    assert found == known
    assert {n for n in dir(pl) if n.startswith("collect")} == {"collect_all", "collect_all_async"}


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (pl.LazyFrame.collect, {"engine", "background", "optimizations"}),
        (pl.LazyFrame._collect_eager, {"optimizations"}),
        (pl.LazyFrame.collect_async, {"gevent", "engine", "optimizations"}),
        (pl.LazyFrame.collect_batches, {"chunk_size", "maintain_order", "lazy", "engine", "optimizations"}),
        (pl.io.plugins.register_io_source, {"io_source", "schema", "validate_schema", "is_pure", "explain_name"}),
        (parse_into_list_of_expressions, {"inputs", "named_inputs"}),
    ],
)
def test_signatures(function: Any, names: set[str]) -> None:
    patch.disarm()
    assert names <= set(inspect.signature(function).parameters)


def test_overridden_methods_take_what_polars_takes() -> None:
    patch.disarm()
    for name in ("collect", "_collect_eager", "collect_async", "collect_batches", "group_by"):
        ours = inspect.signature(getattr(InferenceFrame, name)).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in ours.values())
        theirs = set(inspect.signature(getattr(pl.LazyFrame, name)).parameters)
        assert open_ended or theirs <= set(ours), name


def test_handles_are_wrapped_and_unwrapped() -> None:
    assert wrap_expr(pl.col("a")._pyexpr).meta.eq(pl.col("a"))
    assert wrap_ldf(LF._ldf).collect().equals(LF.collect())
    assert cs.Selector._from_pyselector(cs.integer()._pyselector).meta.eq(cs.integer())
    assert type(pl.col("a")._pyexpr).__name__ == "PyExpr"
    assert type(cs.integer()._pyselector).__name__ == "PySelector"
    assert isinstance(DEFAULT_QUERY_OPT_FLAGS, pl.QueryOptFlags)


def test_code_can_be_exchanged_and_back() -> None:
    function = inspect.unwrap(pl.LazyFrame.filter)
    patch.disarm()
    code = function.__code__
    patch.arm()
    assert function.__code__ is not code
    patch.disarm()
    assert function.__code__ is code
    assert code.co_freevars == ()


def test_selectors_are_found_and_replaced_in_json() -> None:
    for expr in (pl.all() * 2, pl.nth(-1), pl.col("^a.*$"), pl.sum_horizontal(cs.integer()), pl.exclude("b")):
        assert expr.meta.has_multiple_outputs()
        assert '"Selector"' in expr.meta.serialize(format="json")
    named = '{"Selector":{"ByName":{"names":["a"],"strict":true}}}'
    assert LF.select(pl.Expr.deserialize(io.StringIO(named), format="json")).collect_schema().names() == ["a"]


def test_a_native_frame_is_made_by_from_pyldf() -> None:
    """Verbs that are not recorded wrap their result through the class of the frame."""
    assert type(Played._from_pyldf(LF._ldf).head(1)) in {Played, pl.LazyFrame}
    assert "_from_pyldf" in vars(pl.LazyFrame)
