"""Every way to run a frame that holds calls, and every verb around it, gives what plain Polars gives."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from frame_kit import Person, naive, questions, same, small
from polars.testing import assert_frame_equal

import polar_llama as pll

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polar_llama.testing import Emulator

    Query = Callable[[Any, Any], Any]

pytestmark = pytest.mark.usefixtures("emulator")

other = pl.LazyFrame({"v": [3, 1, 9], "z": ["a", "b", "c"], "q": ["p", "x", "y"], "a": ["A", "B", "C"]})


def asked(lf: Any, llm: Any) -> Any:
    """The frame most queries begin with."""
    return lf.with_columns(a=llm("q"))


async def _collected_all(frames: list[pl.LazyFrame]) -> Any:
    return await pl.collect_all_async(frames)


async def _awaited(frame: pl.LazyFrame) -> Any:
    return await frame.collect_async()


RUNS: dict[str, Query] = {
    "collect": lambda lf, llm: asked(lf, llm).collect(),
    "streaming": lambda lf, llm: asked(lf, llm).collect(engine="streaming"),
    "in-memory": lambda lf, llm: asked(lf, llm).collect(engine="in-memory"),
    "without optimizations": lambda lf, llm: asked(lf, llm).collect(optimizations=pl.QueryOptFlags.none()),
    "in the background": lambda lf, llm: asked(lf, llm).collect(background=True).fetch_blocking(),
    "collect_async": lambda lf, llm: asyncio.run(_awaited(asked(lf, llm))),
    "collect_batches": lambda lf, llm: pl.concat(asked(lf, llm).collect_batches(maintain_order=True)),
    "collect_batches in twos": lambda lf, llm: pl.concat(asked(lf, llm).collect_batches(chunk_size=2)),
    "collect_batches, lazy": lambda lf, llm: pl.concat(asked(lf, llm).collect_batches(lazy=True)),
    "collect_all": lambda lf, llm: pl.concat(pl.collect_all([asked(lf, llm), asked(lf, llm).filter(i=1)])),
    "collect_all_async": lambda lf, llm: pl.concat(asyncio.run(_collected_all([asked(lf, llm), asked(lf, llm)]))),
    "eager": lambda lf, llm: asked(lf.collect(), llm),
    "eager and lazy": lambda lf, llm: asked(lf.collect(), llm).lazy().filter(pl.col("a").is_not_null()).collect(),
    "describe": lambda lf, llm: asked(lf, llm).describe(),
    "sql": lambda lf, llm: asked(lf, llm).sql("SELECT i, a FROM self WHERE v = 3").collect(),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_way_to_run_a_frame(name: str) -> None:
    same(RUNS[name])


VERBS: dict[str, Query] = {
    "concat": lambda lf, llm: pl.concat([asked(lf, llm), asked(lf, llm)]),
    "concat diagonal": lambda lf, llm: pl.concat([asked(lf, llm), lf], how="diagonal"),
    "concat horizontal": lambda lf, llm: pl.concat([asked(lf, llm).select("a"), lf], how="horizontal"),
    "concat padded": lambda lf, llm: pl.concat([lf, other.select(b=llm("z"))], how="horizontal_extend"),
    "concat aligned": lambda lf, llm: pl.concat([asked(lf, llm).select("i", "a"), lf.select("i", "g")], how="align"),
    "left of a join": lambda lf, llm: asked(lf, llm).join(other, on="v", how="left", maintain_order="left"),
    "right of a join": lambda lf, llm: other.join(asked(lf, llm), on="v", how="left", maintain_order="left"),
    "full join": lambda lf, llm: asked(lf, llm).join(other, on="v", how="full", maintain_order="left_right"),
    "both sides": lambda lf, llm: asked(lf, llm).join(asked(other, llm), on="v", maintain_order="left_right"),
    "itself": lambda lf, llm: asked(lf, llm).pipe(lambda d: d.join(d, on="i", maintain_order="left_right")),
    "joined on an answer": lambda lf, llm: asked(lf, llm).join(
        asked(lf, llm).select("a", b="i"), on="a", maintain_order="left_right"
    ),
    "cross join": lambda lf, llm: asked(lf, llm).join(other, how="cross"),
    "anti join": lambda lf, llm: asked(lf, llm).join(other, on="v", how="anti", maintain_order="left"),
    "join_asof": lambda lf, llm: asked(lf, llm).join_asof(
        pl.LazyFrame({"i": [1, 4], "w": ["one", "four"]}).set_sorted("i"), on="i"
    ),
    "join_where": lambda lf, llm: (
        asked(lf, llm).join_where(other.select(w="v"), pl.col("v") < pl.col("w")).sort("i", "w")
    ),
    "merge_sorted": lambda lf, llm: asked(lf, llm).merge_sorted(asked(lf, llm), key="i"),
    "update": lambda lf, llm: asked(lf, llm).update(other.select("v", "a"), on="v"),
    "updates": lambda lf, llm: lf.with_columns(a=pl.lit("z")).update(asked(lf, llm).select("i", "a"), on="i"),
    "group_by": lambda lf, llm: asked(lf, llm).group_by("g", maintain_order=True).agg("a", pl.len().alias("n")),
    "group_by an answer": lambda lf, llm: asked(lf, llm).group_by("a", maintain_order=True).len(),
    "group_by, all": lambda lf, llm: asked(lf, llm).select("g", "a").group_by("g", maintain_order=True).all(),
    "group_by, head": lambda lf, llm: asked(lf, llm).group_by("g", maintain_order=True).head(1),
    "group_by_dynamic": lambda lf, llm: asked(lf, llm).group_by_dynamic("i", every="2i").agg(pl.col("a")),
    "rolling": lambda lf, llm: asked(lf, llm).rolling("i", period="2i").agg(pl.col("a")),
    "unpivot": lambda lf, llm: asked(lf, llm).unpivot(index="i", on=["a", "g"]),
    "pivot": lambda lf, llm: (
        asked(lf, llm).pivot("g", on_columns=["x", "y"], index="i", values="a", aggregate_function="first").sort("i")
    ),
    "unnest": lambda lf, llm: lf.with_columns(a=llm("q", returns=Person)).unnest("a"),
    "explode": lambda lf, llm: asked(lf, llm).explode("l"),
    "pipe": lambda lf, llm: lf.pipe(asked, llm).pipe(lambda d: d.drop("q")),
    "clear": lambda lf, llm: asked(lf, llm).clear(),
    "clone": lambda lf, llm: asked(lf, llm).clone(),
    "cache": lambda lf, llm: asked(lf, llm).cache(),
    "cast": lambda lf, llm: asked(lf, llm).cast({"a": pl.Categorical}).cast({"a": pl.String}),
    "fill_null": lambda lf, llm: asked(lf, llm).fill_null("none"),
    "drop_nulls": lambda lf, llm: asked(lf, llm).drop_nulls(),
    "drop_nulls of it": lambda lf, llm: asked(lf, llm).drop_nulls("a"),
    "null_count": lambda lf, llm: asked(lf, llm).null_count(),
    "count": lambda lf, llm: asked(lf, llm).count(),
    "max": lambda lf, llm: asked(lf, llm).select("i", "a").max(),
    "first": lambda lf, llm: asked(lf, llm).first(),
    "gather_every": lambda lf, llm: asked(lf, llm).gather_every(2),
    "reverse": lambda lf, llm: asked(lf, llm).reverse(),
    "shift": lambda lf, llm: asked(lf, llm).shift(1),
    "shift with a value": lambda lf, llm: asked(lf, llm).select("a").shift(1, fill_value="none"),
    "with_row_index": lambda lf, llm: asked(lf, llm).with_row_index().filter(pl.col("index") < 2),
    "map_batches": lambda lf, llm: asked(lf, llm).map_batches(lambda d: d.head(3)),
    "match_to_schema": lambda lf, llm: asked(lf, llm).match_to_schema({**small().schema, "a": pl.String}),
    "rename": lambda lf, llm: asked(lf, llm).rename({"a": "b"}),
    "rename by function": lambda lf, llm: asked(lf, llm).rename(str.upper),
    "unique": lambda lf, llm: asked(lf, llm).select("a").unique(maintain_order=True),
    "set_sorted": lambda lf, llm: asked(lf, llm).set_sorted("i"),
    "interpolate": lambda lf, llm: asked(lf, llm).select("v", "a").interpolate(),
}


@pytest.mark.usefixtures("one_cache")
@pytest.mark.parametrize("name", VERBS)
def test_every_verb_around_an_answer(name: str) -> None:
    same(lambda lf, llm: VERBS[name](lf, llm).collect())


HOLDERS: dict[str, Query] = {
    "with_columns": lambda lf, llm: lf.with_columns(llm("q")),
    "with_columns_seq": lambda lf, llm: lf.with_columns_seq(a=llm("q")),
    "select": lambda lf, llm: lf.select("i", llm("q")),
    "select_seq": lambda lf, llm: lf.select_seq("i", llm("q")),
    "filter": lambda lf, llm: lf.filter(llm("q", returns=bool)),
    "remove": lambda lf, llm: lf.remove(llm("q", returns=bool)),
    "sort": lambda lf, llm: lf.sort("g", llm("q"), descending=[True, False], maintain_order=True),
    "top_k": lambda lf, llm: lf.unique("q", keep="first").top_k(2, by=llm("q")).sort("i"),
    "bottom_k": lambda lf, llm: lf.unique("q", keep="first").bottom_k(2, by=llm("q")).sort("i"),
    "unique": lambda lf, llm: lf.unique(llm("q"), maintain_order=True, keep="first"),
    "group_by": lambda lf, llm: lf.group_by(llm("q"), maintain_order=True).agg(pl.len()),
    "group_by, named": lambda lf, llm: lf.group_by(c=llm("q"), maintain_order=True).agg(pl.col("i").sum()),
    "agg": lambda lf, llm: lf.group_by("g", maintain_order=True).agg(llm("q"), n=pl.len()),
    "agg of an aggregate": lambda lf, llm: lf.group_by("g", maintain_order=True).agg(
        a=llm(pl.col("q").str.join(",")), n=pl.len()
    ),
    "having": lambda lf, llm: lf.group_by("g", maintain_order=True).having(llm("q").count() > 1).agg(pl.col("i").sum()),
}
EAGER = [name for name in HOLDERS if not name.endswith("_seq") and name != "having"]


@pytest.mark.usefixtures("one_cache")
@pytest.mark.parametrize("name", HOLDERS)
def test_every_verb_that_holds_a_call(name: str) -> None:
    same(lambda lf, llm: HOLDERS[name](lf, llm).collect())


@pytest.mark.usefixtures("one_cache")
@pytest.mark.parametrize("name", EAGER)
def test_every_verb_of_an_eager_frame(name: str) -> None:
    same(lambda lf, llm: HOLDERS[name](lf.collect(), llm))


JOINS: dict[str, dict[str, Any]] = {
    "left": {"how": "left", "maintain_order": "left"},
    "inner": {"how": "inner", "maintain_order": "left_right"},
    "full": {"how": "full", "maintain_order": "left_right"},
    "semi": {"how": "semi", "maintain_order": "left"},
    "anti": {"how": "anti", "maintain_order": "left"},
}


@pytest.mark.usefixtures("one_cache")
@pytest.mark.parametrize("options", JOINS.values(), ids=JOINS)
@pytest.mark.parametrize(("left", "right"), [(True, True), (True, False), (False, True)])
def test_answers_as_join_keys(left: bool, right: bool, options: dict[str, Any]) -> None:  # noqa: FBT001
    def query(lf: Any, llm: Any) -> Any:
        # Polars takes no alias in a key, and an expression's key column is not coalesced.
        def key(prompt: str) -> pl.Expr:
            return llm(prompt) if llm is pll.llm else pl.coalesce(llm(prompt).meta.undo_aliases())

        sides = {"left_on": key("q") if left else "q", "right_on": key("q") if right else "q"}
        return lf.join(other, **sides, **options).collect()

    same(query)


WRITERS: dict[str, tuple[Callable[..., Any], Callable[..., pl.DataFrame]]] = {
    "parquet": (pl.LazyFrame.sink_parquet, pl.read_parquet),
    "ipc": (pl.LazyFrame.sink_ipc, pl.read_ipc),
    "csv": (pl.LazyFrame.sink_csv, pl.read_csv),
    "ndjson": (pl.LazyFrame.sink_ndjson, pl.read_ndjson),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("lazy", [False, True])
def test_every_sink(emulator: Emulator, tmp_path: Path, name: str, lazy: bool) -> None:  # noqa: FBT001
    sink, read = WRITERS[name]
    frame = asked(questions().lazy().filter(pl.col("cat") == 3), pll.llm)
    if lazy:
        pl.collect_all([sink(frame, tmp_path / "file", lazy=True), sink(frame, tmp_path / "second", lazy=True)])
        assert_frame_equal(read(tmp_path / "file"), read(tmp_path / "second"))
    else:
        sink(frame, tmp_path / "file")
    assert_frame_equal(read(tmp_path / "file"), asked(questions().filter(pl.col("cat") == 3), naive))
    assert emulator.stats().requests == 10


def test_sink_batches(emulator: Emulator) -> None:
    batches: list[pl.DataFrame] = []
    asked(questions().lazy(), pll.llm).sink_batches(batches.append, maintain_order=True)
    assert_frame_equal(pl.concat(batches), asked(questions(), naive))
    assert emulator.stats().requests == 100


@pytest.mark.parametrize("native", [False, True])
def test_sink_delta(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, native: bool) -> None:  # noqa: FBT001
    """The package `deltalake` reads an Arrow stream, as this stand-in for it does: it is not installed here."""
    written: list[pl.DataFrame] = []
    deltalake = ModuleType("deltalake")
    deltalake.DeltaTable = type("DeltaTable", (), {})  # type: ignore[attr-defined]

    def write_deltalake(*, data: Any, **_: Any) -> None:
        assert hasattr(data, "__arrow_c_stream__")
        written.append(pl.DataFrame(data))

    deltalake.write_deltalake = write_deltalake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deltalake", deltalake)
    monkeypatch.setattr("polars.io.delta._utils._DELTALAKE_AVAILABLE", True)
    frame = asked(questions().lazy(), pll.llm)
    frame = pl.concat([frame, frame], how="diagonal") if native else frame
    frame.sink_delta("table")
    wanted = pl.concat([asked(questions(), naive)] * (1 + native))
    assert_frame_equal(pl.concat(written).sort("i"), wanted.sort("i", maintain_order=True))
    assert emulator.stats().requests == 100
    run = pll.last_run()
    assert run is not None
    assert run.total.distinct == 100


def test_a_write_of_an_eager_frame(tmp_path: Path) -> None:
    asked(small(), pll.llm).write_parquet(tmp_path / "file")
    assert_frame_equal(pl.read_parquet(tmp_path / "file"), asked(small(), naive))


def test_collect_all_is_one_run(emulator: Emulator) -> None:
    frames = [asked(questions().lazy(), pll.llm), asked(questions().lazy(), pll.llm).filter(pl.col("cat") == 3)]
    first, second = pl.collect_all(frames)
    assert (first.height, second.height) == (1_000, 100)
    assert emulator.stats().requests == 100
    run = pll.last_run()
    assert run is not None
    assert (run.total.sent, run.total.distinct) == (100, 100)


def test_both_uses_of_a_frame_ask_once(emulator: Emulator) -> None:
    frame = asked(questions().lazy(), pll.llm)
    pl.concat([frame, frame, frame.filter(pl.col("cat") == 1)]).collect()
    assert emulator.stats().requests == 100


def test_inside_a_running_loop(emulator: Emulator) -> None:
    async def notebook() -> list[pl.DataFrame]:
        blocking = asked(small(), pll.llm)
        async with asyncio.TaskGroup() as group:
            awaited = group.create_task(asked(small().lazy(), pll.llm).collect_async())
            beats = group.create_task(asyncio.sleep(0, "the loop went on"))
        assert await beats == "the loop went on"
        run = pll.last_run()
        assert run is not None
        return [blocking, await awaited, asked(small().lazy(), pll.llm).collect()]

    for result in asyncio.run(notebook()):
        assert_frame_equal(result, asked(small(), naive))
    assert emulator.stats().requests == 4


def test_several_threads_at_once(emulator: Emulator) -> None:
    barrier = threading.Barrier(8)

    def work(number: int) -> Any:
        barrier.wait()
        return asked(questions().lazy(), pll.llm).filter(pl.col("cat") == number % 4).collect()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))
    for number, result in enumerate(results):
        assert_frame_equal(result, asked(questions(), naive).filter(pl.col("cat") == number % 4))
    assert emulator.stats().requests == 40


def test_isinstance_holds() -> None:
    frame = asked(small().lazy(), pll.llm)
    assert isinstance(frame, pl.LazyFrame)
    assert isinstance(frame.filter(pl.col("v") == 3).sort("i").head(1), type(frame))
    assert frame.collect_schema() == {**small().schema, "a": pl.String()}


def test_batches_come_before_everything_is_answered(emulator: Emulator) -> None:
    rows = pl.LazyFrame({"q": [f"question {i}" for i in range(20_000)]})
    first = next(iter(asked(rows, pll.llm).collect_batches(chunk_size=100, maintain_order=True)))
    assert first.height > 0
    assert emulator.stats().requests < 20_000
