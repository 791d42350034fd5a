"""The one patch: when it is there, what it leaves alone, and where a call cannot be captured."""

from __future__ import annotations

import inspect
import pickle
import threading
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from frame_kit import naive, python, same, small
from polars.lazyframe.group_by import LazyGroupBy
from polars.testing import assert_frame_equal

import polar_llama as pll
from polar_llama import call
from polar_llama.frame.inference_frame import InferenceFrame
from polar_llama.frame.patch import ORIGINALS, arm

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.testing import Emulator

pytestmark = pytest.mark.usefixtures("emulator")

FIRST: dict[str, Callable[[Any, Any], Any]] = {
    "with_columns": lambda lf, llm: lf.with_columns(a=llm("q")),
    "select": lambda lf, llm: lf.select("i", llm("q")),
    "filter": lambda lf, llm: lf.filter(llm("q", returns=bool)),
    "remove": lambda lf, llm: lf.remove(llm("q", returns=bool)),
    "sort": lambda lf, llm: lf.sort(llm("q"), nulls_last=True, maintain_order=True),
    "unique": lambda lf, llm: lf.unique(llm("q"), maintain_order=True, keep="first"),
    "a list": lambda lf, llm: lf.with_columns([llm(c).alias(c) for c in ("q", "g")]),
}


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("eager", [False, True])
def test_the_first_call_is_captured_where_it_stands(name: str, eager: bool) -> None:  # noqa: FBT001
    pll.disarm()
    same(lambda lf, llm: FIRST[name](lf.collect() if eager else lf, llm).lazy().collect())


def test_the_first_call_of_a_process() -> None:
    out = python("""
import polars as pl
before = {n: f.__code__ for n, f in vars(pl.LazyFrame).items() if hasattr(f, "__code__")}
import polar_llama as pll
assert before == {n: f.__code__ for n, f in vars(pl.LazyFrame).items() if hasattr(f, "__code__")}
pll.configure(model="openai:gpt-6-luna")
print(pl.LazyFrame({"q": ["p"]}).with_columns(a=pll.llm("q")).collect().to_dicts())
""")
    assert out == f"{small().head(1).select('q').with_columns(a=naive('q')).to_dicts()}\n"


def test_a_grouping_made_before_the_first_call_asks_once_a_group() -> None:
    def query(lf: Any, llm: Any) -> Any:
        return lf.group_by("g", maintain_order=True).agg(n=pl.len(), a=llm(pl.col("q").str.join(","))).collect()

    pll.disarm()
    same(query)
    pll.disarm()
    groups = small().lazy().group_by("g")
    with pytest.raises(pll.PlanError, match="column first"):
        groups.agg(pll.llm("q"))
    same(lambda lf, llm: lf.group_by("g", maintain_order=True).agg(llm("q")).collect())


@pytest.mark.parametrize("eager", [False, True])
def test_a_generator_that_makes_the_first_call_is_refused_clearly(eager: bool) -> None:  # noqa: FBT001
    def query(lf: Any, llm: Any) -> Any:
        frame = lf.collect() if eager else lf
        return frame.with_columns(llm(c).alias(c) for c in ("q", "g")).lazy().collect()

    pll.disarm()
    with pytest.raises(pll.PlanError, match=r"Hint: write a list, with_columns\(\[llm"):
        query(small().lazy(), pll.llm)
    same(query)


def test_disarming_puts_the_functions_of_polars_back() -> None:
    arm()
    armed = pl.LazyFrame.filter.__code__
    pll.disarm()
    for name, original in ORIGINALS.items():
        owner: Any = next(o for o in (pl.LazyFrame, LazyGroupBy, pl.Series, pl) if hasattr(o, name))
        function = inspect.unwrap(getattr(owner, name))
        assert function.__code__ is original.__code__, name
        assert function.__defaults__ == original.__defaults__, name
        assert function.__kwdefaults__ == original.__kwdefaults__, name
    assert small().lazy().filter(pl.col("v") == 3).collect().height == 2
    pll.llm("q")
    assert pl.LazyFrame.filter.__code__.co_code == armed.co_code


def test_an_expression_made_before_disarming_is_refused_loudly(emulator: Emulator) -> None:
    expr = pll.llm("q")
    pll.disarm()
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match=r"llm\(\) cannot be used here: write it in select"):
        small().lazy().select(expr).collect()
    assert emulator.stats().requests == 0


def test_armed_functions_look_as_before() -> None:
    def looks() -> dict[str, Any]:
        return {n: (inspect.signature(f), f.__doc__) for n, f in vars(pl.LazyFrame).items() if inspect.isfunction(f)}

    pll.disarm()
    before = looks()
    arm()
    assert looks() == before


def test_queries_without_calls_stay_what_they_are() -> None:
    arm()
    lf = small().lazy()
    plain = lf.with_columns(a=pl.col("q")).filter(pl.col("v") == 3).sort("i").join(lf, on="i").group_by("g").agg("i")
    assert type(plain) is pl.LazyFrame
    with pytest.raises(TypeError, match="sort"):
        lf.sort()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword"):
        lf.top_k(1, by="i", nonsense=1)  # type: ignore[call-arg]


def test_a_mask_is_not_looked_through() -> None:
    arm()
    mask = [True, False, True, False, False, True]
    assert small().lazy().filter(mask).collect()["i"].to_list() == [0, 2, 5]
    assert small().filter(pl.Series(mask))["i"].to_list() == [0, 2, 5]


def test_an_expression_of_another_process_is_refused_clearly(emulator: Emulator) -> None:
    made = python("""
import pickle, sys
import polar_llama as pll
print(pickle.dumps(pll.llm("another {q}")).hex())
""")
    foreign = pickle.loads(bytes.fromhex(made))
    with pytest.raises(pll.PlanError, match=r"made in another process.*Hint: build the expression with llm"):
        small().lazy().select(foreign).collect()
    assert emulator.stats().requests == 0


def test_the_table_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "MAX_INTERNED", 100)
    monkeypatch.setattr(call, "_table", type(call._table)())
    first = pll.llm("the first {q}")
    frame = small().lazy().select(kept=first)
    for i in range(150):
        pll.llm(f"{i} {{q}}")
    assert len(call._table) == 100
    with pytest.raises(pll.PlanError, match="100 other calls were written since"):
        small().lazy().select(first)
    assert_frame_equal(frame.collect(), small().select(kept=naive("the first {q}")))


def test_functions_that_cannot_be_pickled_are_never_taken_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "MAX_INTERNED", 1)
    monkeypatch.setattr(call, "_table", type(call._table)())

    def named() -> str:
        lock = threading.Lock()
        prompt = pl.col("q").map_batches(lambda s: (lock, s)[1], return_dtype=pl.String)
        return pll.llm(prompt).meta.root_names()[0]

    assert len({named() for _ in range(50)}) == 50


UNCAPTURABLE: dict[str, tuple[str, Callable[[pl.LazyFrame], Any]]] = {
    "join_where": ("put it in a column first", lambda lf: lf.join_where(lf, pll.llm("q") == pl.col("g_right"))),
    "join_asof": ("put it in a column first", lambda lf: lf.join_asof(lf, on=pll.llm("q"))),
    "group_by_dynamic": ("put it in a column", lambda lf: lf.group_by_dynamic("i", every="1i").agg(pll.llm("q"))),
    "rolling": ("put it in a column first", lambda lf: lf.rolling("i", period="1i").agg(pll.llm("q"))),
    "rolling, eager": ("put it in a column", lambda lf: lf.collect().rolling("i", period="1i").agg(pll.llm("q"))),
    "head of groups": ("put it in a column first", lambda lf: lf.group_by(pll.llm("q")).head(1)),
    "map_groups": (
        "put it in a column first",
        lambda lf: lf.group_by(pll.llm("q")).map_groups(lambda d: d, schema=None),
    ),
    "list.eval": ("explode the list", lambda lf: lf.select(pl.col("l").list.eval(pll.llm(pl.element())))),
    "list.agg": ("explode the list", lambda lf: lf.select(pl.col("l").list.agg(pll.llm(pl.element().first())))),
    "explode": ("write it in select", lambda lf: lf.explode(pll.llm("q"))),  # type: ignore[arg-type]
    "drop": ("write it in select", lambda lf: lf.drop(pll.llm("q"))),  # type: ignore[arg-type]
    "unpivot": ("write it in select", lambda lf: lf.unpivot(on=pll.llm("q"))),  # type: ignore[arg-type]
    "match_to_schema": (
        "put it in a column first",
        lambda lf: lf.match_to_schema({**small().schema, "z": pl.String}, missing_columns={"z": pll.llm("q")}),
    ),
    "no frame": ("not in the frame", lambda lf: pl.select(pll.llm("q"))),
    "a truth value": ("truth value", lambda lf: lf.filter(pll.llm("q") and True)),
    "an aggregated prompt and rows": (
        r'Hint: name the answer first, llm\(...\).alias\("a"\)',
        lambda lf: lf.select((pll.llm(pl.col("q").str.join(",")) + pl.col("g")).shift()),
    ),
}


@pytest.mark.parametrize("name", UNCAPTURABLE)
def test_where_a_call_cannot_stand_the_error_says_what_to_write(emulator: Emulator, name: str) -> None:
    advice, query = UNCAPTURABLE[name]
    with pytest.raises((pll.PlanError, pl.exceptions.PolarsError, TypeError), match=advice):
        query(small().lazy()).collect()
    assert emulator.stats().requests == 0


def test_answers_are_frames_of_ours() -> None:
    assert type(small().lazy().with_columns(a=pll.llm("q"))) is InferenceFrame


WINDOWS: dict[str, Callable[[Any], Any]] = {
    "group_by_dynamic": lambda lf: lf.group_by_dynamic("i", every="2i"),
    "rolling": lambda lf: lf.rolling("i", period="2i", group_by="g"),
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("eager", [False, True])
def test_a_window_of_rows_asks_once(name: str, eager: bool) -> None:  # noqa: FBT001
    def query(lf: Any, llm: Any) -> Any:
        frame = lf.sort("g", "i", nulls_last=True) if name == "rolling" else lf.sort("i")
        windows = WINDOWS[name](frame.collect() if eager else frame)
        return windows.agg(llm(pl.col("q").str.join(",")), n=pl.len()).lazy().collect()

    same(query)
