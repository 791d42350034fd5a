"""What estimate says, and that a run then sends just that."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from pydantic import BaseModel

import polar_llama as pll
from polar_llama import llm, settings
from polar_llama.errors import ConfigurationError, PlanError, UnknownColumnError

FRAME = pl.DataFrame(
    {
        "i": range(8),
        "q": ["one", "two", "two", None, "three", "four", "five", "one"],
        "kind": ["a", "b", "a", "b", "a", "b", "a", "b"],
        "p": [5.0, 1.0, 2.0, 3.0, 4.0, 8.0, 7.0, 6.0],
    }
)
LF = FRAME.lazy()

COLUMNS = {
    "call": pl.String(),
    "model": pl.String(),
    "rows": pl.Int64(),
    "prompts": pl.Int64(),
    "cached": pl.Int64(),
    "requests": pl.Int64(),
    "input_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "cost_usd": pl.Float64(),
    "exact": pl.Boolean(),
    "requests_as_written": pl.Int64(),
}


class Person(BaseModel):
    name: str
    age: int


def figures(lf: pl.LazyFrame) -> list[tuple[Any, ...]]:
    """Rows, prompts, cached, requests and exact of each call."""
    return pll.estimate(lf).select("rows", "prompts", "cached", "requests", "exact").rows()


def sent(lf: pl.LazyFrame) -> int:
    """Run a frame and say how much it sent."""
    lf.collect()
    report = pll.last_run()
    assert report is not None
    return report.total.sent


# the frame


def test_a_row_per_call_of_documented_dtypes(emulator):
    found = LF.with_columns(a=llm("q"), b=llm("Is {q} odd?", returns=bool)).llm.estimate()
    assert dict(found.schema) == COLUMNS
    assert found["call"].to_list() == ['llm("q")', 'llm("Is {q} odd?")']
    assert found["model"].to_list() == ["openai:gpt-4o-mini"] * 2
    assert emulator.stats().requests == 0


def test_nothing_asked_is_an_empty_frame():
    for lf in (LF, LF.with_columns(a=llm("q")).drop("a"), LF.with_columns(a=llm("q")).select(pl.len())):
        found = pll.estimate(lf)
        assert found.is_empty()
        assert dict(found.schema) == COLUMNS


def test_no_rows_need_nothing(emulator):
    assert figures(LF.clear().with_columns(a=llm("q"))) == [(0, 0, 0, 0, True)]


def test_it_needs_no_key_and_makes_no_directory(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pll.session(model="openai:gpt-4o-mini"):
        assert figures(LF.with_columns(a=llm("q"))) == [(8, 5, 0, 5, True)]
    assert not Path(settings.current().cache_dir).exists()


def test_what_a_run_would_refuse_is_refused():
    with pytest.raises(ConfigurationError, match="no model is set"):
        pll.estimate(LF.with_columns(a=llm("q")))
    with pll.session(model="openai:gpt-4o-mini"), pytest.raises(UnknownColumnError):
        pll.estimate(LF.with_columns(a=llm("nope")))
    with pll.session(model="openai:gpt-4o-mini"), pytest.raises(pl.exceptions.ComputeError):
        pll.estimate(LF.with_columns(n=pl.col("q").str.to_integer()).with_columns(a=llm("{n}")))


# planning, dedupe and cache


def test_requests_before_and_after_planning_dedupe_and_cache(emulator):
    LF.filter(pl.col("q") == "one").with_columns(a=llm("q")).collect()
    lf = LF.with_columns(a=llm("q")).filter(pl.col("p") > 1.5)
    found = pll.estimate(lf)
    assert figures(lf) == [(7, 5, 1, 4, True)]
    assert found["requests_as_written"].to_list() == [7]
    assert sent(lf) == 4
    assert figures(lf) == [(7, 5, 5, 0, True)]
    assert pll.estimate(lf)["cost_usd"].to_list() == [0.0]


EXACT: dict[str, Any] = {
    "deferred past a filter": LF.with_columns(a=llm("q")).filter(pl.col("kind") == "a"),
    "deferred past a limit": LF.with_columns(a=llm("q")).sort("p").head(3),
    "masked": LF.with_columns(a=pl.when(pl.col("p") > 4).then(llm("big {q}")).otherwise(llm("small {q}"))),
    "the same call in two verbs": LF.with_columns(a=llm("q")).with_columns(b=llm("q")),
    "the same prompt written two ways": LF.with_columns(a=llm("q"), b=llm("{q}"), c=llm(pl.col("q"))),
    "a free filter before a model filter": LF.filter(llm("q", returns=bool) & (pl.col("kind") == "a")),
    "a group": LF.group_by("kind").agg(s=llm(pl.format("sum up {}", pl.col("q").str.join()))),
    "both sides of a join": LF.with_columns(a=llm("q")).join(LF.with_columns(b=llm("q")), on="i"),
    "a concatenation": pl.concat([LF.with_columns(a=llm("q")), LF.head(2).with_columns(a=llm("q"))]),
    "sorted by an answer, then another call": LF.sort(llm("q", returns=int)).with_columns(b=llm("{kind}")),
    "typed answers": LF.with_columns(a=llm("q", returns=Person), b=llm("q", returns=Literal["x", "y"])),
    "never cached": LF.with_columns(a=llm("q", cache=False)),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_figures_are_what_is_sent(emulator, name):
    lf = EXACT[name]
    found = pll.estimate(lf)
    assert found["exact"].all()
    assert found["requests"].sum() == sent(lf) == emulator.stats().requests > 0


BOUNDS: dict[str, tuple[list[int], Any]] = {
    "a call behind a model filter": ([5, 5], LF.filter(llm("q", returns=bool)).with_columns(a=llm("Why {q}?"))),
    "a free filter behind a model filter": (
        [2, 2],
        LF.filter(llm("q", returns=bool)).with_columns(r=pl.col("i") % 2).sort("p").filter(pl.col("i") > 5)
        .with_columns(a=llm("{q} {i}")),
    ),
    "an early stop": ([5], LF.filter(llm("q", returns=bool)).head(2)),
    "a call behind an early stop": ([5, 2], LF.filter(llm("q", returns=bool)).head(2).with_columns(a=llm("Why {q}?"))),
    "several model predicates": (
        [5, 5],
        LF.filter(llm("good {q}", returns=bool)).filter(llm("bad {q}", returns=bool)),
    ),
    "several model predicates in one verb": (
        [5, 5],
        LF.filter(llm("good {q}", returns=bool), llm("bad {q}", returns=bool)),
    ),
    "a prompt made of an answer": ([5, 5], LF.with_columns(a=llm("q")).with_columns(b=llm("{a}!"))),
    "a prompt made of an answer and a column": ([5, 7], LF.with_columns(a=llm("q")).with_columns(b=llm("{a} {i}"))),
    "a prompt made of an expression on an answer": (
        [5, 6],  # null may have been made into something
        LF.with_columns(a=llm("q", returns=Person)).with_columns(b=llm(pl.col("a").struct.field("name"))),
    ),
    "a field of an answer, unnested": (
        [5, 5],
        LF.select("i", a=llm("q", returns=Person)).unnest("a").with_columns(b=llm("{name}")),
    ),
    "a group by an answer": (
        [5, 5],
        LF.drop_nulls("q").group_by(a=llm("q", returns=Literal["x", "y"])).agg(
            s=llm(pl.format("sum up {}", pl.col("q").str.join()))
        ),
    ),
    "the best by an answer": ([5, 2], LF.top_k(2, by=llm("q", returns=int)).with_columns(b=llm("Why {q}?"))),
    "different answers": ([5, 5], LF.with_columns(a=llm("q")).unique("a").with_columns(b=llm("Why {q}?"))),
    "a join behind a model filter": (
        [5, 5],
        LF.filter(llm("q", returns=bool)).join(LF.select("i", t="q"), on="i", how="left").with_columns(b=llm("T {t}")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_are_as_good_as_documented_and_hold(emulator, name):
    requests, lf = BOUNDS[name]
    found = pll.estimate(lf)
    assert found["requests"].to_list() == requests
    assert found["exact"].to_list()[-1] is False
    assert sent(lf) <= sum(requests)


@pytest.mark.parametrize("name", [*BOUNDS, *(name for name in EXACT if name != "never cached")])
def test_once_everything_is_cached_nothing_is_left(emulator, name):
    lf = EXACT[name] if name in EXACT else BOUNDS[name][1]
    lf.collect(engine="in-memory")
    found = pll.estimate(lf)
    if "early" in name or "several" in name:  # what was never asked may be asked next time, as far as is known
        assert (found["cached"] > 0).any()
    else:
        assert found["requests"].sum() == 0
        assert found["exact"].all()


def test_behind_a_stage_that_is_cached_the_next_is_exact(emulator):
    first = LF.filter(llm("q", returns=bool))
    passed = first.collect()
    lf = first.with_columns(a=llm("Why {q}?"))
    (_, second) = figures(lf)
    assert second == (passed.height, passed["q"].n_unique(), 0, passed["q"].n_unique(), True)
    assert sent(lf) == passed["q"].n_unique()


def test_what_nothing_bounds_is_null(emulator):
    lf = LF.with_columns(a=llm("q", returns=list[str])).explode("a").with_columns(b=llm("{a}"))
    first, second = pll.estimate(lf).rows(named=True)
    assert (first["requests"], first["exact"]) == (5, True)
    assert {second[name] for name in COLUMNS if name not in {"call", "model", "exact"}} == {None}
    assert second["exact"] is False
    limited = lf.head(3).with_columns(c=llm("so {b}"))
    assert pll.estimate(limited)["requests"].to_list()[-1] == 3
    assert sent(limited) >= 5


@pytest.mark.parametrize(("mode", "requests"), [("use", 0), ("refresh", 5), ("off", 5), ("replay", 0)])
def test_how_the_cache_is_used(emulator, mode, requests):
    lf = LF.with_columns(a=llm("q"))
    lf.collect()
    with pll.session(cache=mode):
        assert pll.estimate(lf)["requests"].to_list() == [requests]
        assert sent(lf) == requests


def test_an_answer_that_does_not_validate_any_more_is_asked_again(emulator):
    emulator.fail(None)
    LF.with_columns(a=llm("q")).collect()
    assert pll.estimate(LF.with_columns(a=llm("q", returns=int)))["cached"].to_list() == [0]


def test_looking_writes_nothing(emulator):
    lf = LF.filter(llm("q", returns=bool)).with_columns(a=llm("Why {q}?"))
    LF.filter(llm("q", returns=bool)).collect()
    directory = Path(settings.current().cache_dir)
    before = pll.last_run()
    from polar_llama.cache import open_cache

    entries = open_cache(directory).info().entries
    pll.estimate(lf)
    assert open_cache(directory).info().entries == entries
    assert pll.last_run() is before
    assert emulator.stats().requests == 5


# rows that the run may never see


def test_rows_that_a_model_filter_may_drop_cannot_fail_the_estimate(emulator):
    lf = (
        LF.with_columns(s=pl.when(pl.col("i") < 4).then(pl.lit("7")).otherwise(pl.lit("none")))
        .filter(llm("q", returns=bool))
        .with_columns(n=pl.col("s").cast(pl.Int64))
        .filter(pl.col("n") > 0)
        .with_columns(a=llm("{n} {q}"))
    )
    found = pll.estimate(lf)
    assert found["requests"].to_list() == [5, 6]


# calls inside native queries


def test_leaves_of_a_native_query_are_counted_without_reading_them(emulator):
    one, other = LF.with_columns(a=llm("q")), LF.select(b=llm("Why {q}?"))
    lf = pl.concat([one, other], how="horizontal")
    assert type(lf) is pl.LazyFrame
    found = pll.estimate(lf)
    assert found["requests"].to_list() == [5, 5]
    assert found["exact"].to_list() == [False, False]
    assert emulator.stats().requests == 0
    assert sent(lf) == 10
    assert pll.estimate(lf)["requests"].to_list() == [0, 0]


def test_a_call_on_top_of_leaves_is_unbounded_until_they_are_cached(emulator):
    inner = pl.concat([LF.with_columns(a=llm("q")), LF.select(z="i")], how="horizontal")
    lf = inner.with_columns(b=llm("{a}!"))
    assert pll.estimate(lf)["requests"].to_list() == [5, None]
    inner.collect()
    found = pll.estimate(lf)
    assert found["requests"].to_list() == [0, 5]
    assert emulator.stats().requests == 5
    assert sent(lf) == 5


def test_a_native_query_that_fails_on_nulls_says_what_to_estimate_instead(emulator):
    inner = pl.concat([LF.with_columns(a=llm("q", returns=bool)), LF.select(z="i")], how="horizontal")

    def picky(frame: pl.DataFrame) -> pl.DataFrame:
        if frame["a"].null_count() > 1:
            raise pl.exceptions.ComputeError
        return frame

    lf = pl.LazyFrame.map_batches(inner, picky)
    with pytest.raises(PlanError, match=r"each by itself: pll.estimate\(lf\)"):
        pll.estimate(lf)
    assert emulator.stats().requests == 0
    lf.collect()
    assert pll.estimate(lf)["requests"].to_list() == [0]
