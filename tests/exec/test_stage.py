from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Literal

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import BaseModel
from stage_kit import OnDemand, answers, batches, call, echo, frame, settings

from polar_llama.errors import AnswerError
from polar_llama.exec import asked, stage
from polar_llama.exec.run import Run, Slot
from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class City(BaseModel):
    name: str
    people: int | None


@pytest.fixture
def model() -> str:
    return echo()[0]


def start(tmp_path: Path, dispatcher: OnDemand, model: str, **changes: object) -> Run:
    return Run(settings(tmp_path, model=model, **changes), {}, lambda: dispatcher)


def test_answers_stand_where_the_prompts_stood(tmp_path, model):
    given = frame(["x", None, "y", "x"])
    got = answers(start(tmp_path, OnDemand(), model), [given], Slot("a", call()))
    assert_frame_equal(got, given.with_columns(a=pl.col("a").str.to_uppercase()))


@pytest.mark.parametrize("rows", [1, 3, 100, 5_000])
def test_order_and_rows_survive_any_batching(tmp_path, model, rows):
    given = frame([None if i % 7 == 0 else f"p{i * i % 611}" for i in range(3_000)])
    dispatcher = OnDemand()
    got = answers(start(tmp_path, dispatcher, model), batches(given, rows), Slot("a", call()))
    assert_frame_equal(got, given.with_columns(a=pl.col("a").str.to_uppercase()))
    assert len(dispatcher.prompts) == len(set(dispatcher.prompts)) == given["a"].drop_nulls().n_unique()


def test_unordered_gives_the_same_rows(tmp_path, model):
    given = frame([f"p{i}" for i in range(5_000)])
    got = answers(start(tmp_path, OnDemand(), model), [given], Slot("a", call()), ordered=False)
    assert_frame_equal(got.sort("i"), given.with_columns(a=pl.col("a").str.to_uppercase()))


def test_unordered_gives_what_is_ready_first(tmp_path, model):
    dispatcher = OnDemand(patience=10**9)
    stream = start(tmp_path, dispatcher, model).answer(
        batches(frame(["x", "y"]), 1), [Slot("a", call())], ordered=False, heartbeat=True
    )
    assert next(stream).is_empty()
    dispatcher.jobs[1].settle(str.upper)
    assert next(f for f in stream if f.height)["a"].to_list() == ["Y"]


def test_equal_prompts_of_two_slots_and_two_stages_are_asked_once(tmp_path, model):
    dispatcher = OnDemand()
    run = start(tmp_path, dispatcher, model, cache="off")
    given = pl.DataFrame({"a": ["x", "y"], "b": ["y", "x"]})
    got = answers(run, [given], Slot("a", call()), Slot("b", call(on_error="null")))
    assert got.rows() == [("X", "Y"), ("Y", "X")]
    again = answers(run, [given.select("b")], Slot("b", call()))
    assert again["b"].to_list() == ["Y", "X"]
    assert sorted(dispatcher.prompts) == ["x", "y"]
    (report,) = run.finish().calls
    assert (report.rows, report.distinct) == (6, 2)


def test_calls_that_differ_are_asked_each(tmp_path, model):
    dispatcher = OnDemand()
    run = start(tmp_path, dispatcher, model)
    answers(run, [pl.DataFrame({"a": ["x"], "b": ["x"]})], Slot("a", call()), Slot("b", call(temperature=1.0)))
    assert dispatcher.prompts == ["x", "x"]
    assert len(run.finish().calls) == 2


@pytest.mark.parametrize("prompts", [[], [None, None]])
@pytest.mark.parametrize("returns", [str, bool, int, Literal["a", "b"], list[str], City])
@pytest.mark.parametrize("on_error", ["null", "struct"])
def test_without_prompts_the_dtype_is_right_and_nothing_is_asked(tmp_path, model, prompts, returns, on_error):
    dispatcher = OnDemand()
    one = call(returns=returns, on_error=on_error)
    got = answers(start(tmp_path, dispatcher, model), [frame(prompts)], Slot("a", one))
    assert got.schema["a"] == one.dtype
    assert got["a"].is_null().all()
    assert got.height == len(prompts)
    assert not dispatcher.jobs


def test_a_null_prompt_gives_the_null_of_a_join(tmp_path, model):
    def answer(prompt: str) -> object:
        return {"name": prompt, "people": None} if prompt != "bad" else Failure("refused", "no")

    one = call(returns=City, on_error="struct")
    got = answers(start(tmp_path, OnDemand(answer), model), [frame(["x", None, "bad", "x"])], Slot("a", one))
    right = {"answer": {"name": "x", "people": None}, "error": None}
    assert got["a"].to_list() == [right, None, {"answer": None, "error": "refused: no"}, right]
    padded = pl.DataFrame({"i": [1]}).join(got.head(0), on="i", how="left")["a"]
    assert_frame_equal(got["a"][1:2].to_frame(), padded.to_frame())


def test_lists_and_null_answers(tmp_path, model):
    answer = {"x": [], "y": None, "z": ["1"]}.__getitem__
    got = answers(
        start(tmp_path, OnDemand(answer), model),
        [frame(["x", "y", None, "z"])],
        Slot("a", call(returns=list[str] | None)),
    )
    assert got["a"].to_list() == [[], None, None, ["1"]]


def test_the_window_is_bounded_by_prompts(tmp_path, model):
    dispatcher = OnDemand(patience=3)
    pulled = 0

    def source() -> Iterator[pl.DataFrame]:
        nonlocal pulled
        for piece in batches(frame([f"p{i}" for i in range(20_000)]), 500):
            pulled += piece.height
            yield piece

    stream = start(tmp_path, dispatcher, model).answer(source(), [Slot("a", call())])
    next(stream)
    assert pulled <= stage.WINDOW_PROMPTS + 500
    assert sum(f.height for f in stream) == 19_500
    assert stage.WINDOW_PROMPTS <= dispatcher.most_open <= stage.WINDOW_PROMPTS + 500


def test_a_higher_concurrency_widens_the_window(tmp_path, model):
    dispatcher = OnDemand(patience=3)
    run = start(tmp_path, dispatcher, model, max_concurrency=2_000)
    answers(run, batches(frame([f"p{i}" for i in range(10_000)]), 500), Slot("a", call()))
    assert 4_000 <= dispatcher.most_open <= 4_500


def test_rows_without_new_prompts_do_not_fill_the_window(tmp_path, model):
    dispatcher = OnDemand(patience=10**9)
    pulled = []

    def source() -> Iterator[pl.DataFrame]:
        for _ in range(50):
            pulled.append(1)
            yield frame(["same"] * 1_000)

    stream = start(tmp_path, dispatcher, model).answer(source(), [Slot("a", call())], heartbeat=True)
    assert next(stream).is_empty()
    assert len(pulled) == 50
    assert dispatcher.most_open == 1


def test_the_window_is_bounded_by_bytes(tmp_path, model, monkeypatch):
    monkeypatch.setattr(stage, "WINDOW_BYTES", 100_000)
    pulled = []

    def source() -> Iterator[pl.DataFrame]:
        for i in range(50):
            pulled.append(1)
            yield frame([f"{i}" + "x" * 50_000])

    stream = start(tmp_path, OnDemand(patience=5), model).answer(source(), [Slot("a", call())])
    next(stream)
    assert len(pulled) <= 3
    assert len(list(stream)) == 49


def test_wide_rows_make_small_pieces(tmp_path, model, monkeypatch):
    monkeypatch.setattr(stage, "PIECE_BYTES", 10_000)
    run = start(tmp_path, OnDemand(), model)
    pieces = list(run.answer([frame(["x" * 1_000 + str(i) for i in range(50)])], [Slot("a", call())]))
    assert max(piece.height for piece in pieces) < 10
    assert sum(piece.height for piece in pieces) == 50


def test_answers_of_one_stage_feed_the_next_while_it_runs(tmp_path, model):
    dispatcher = OnDemand()
    run = start(tmp_path, dispatcher, model)
    first = run.answer([frame([f"p{i}" for i in range(10_000)])], [Slot("a", call())])
    second = run.answer((f.with_columns(a="second " + pl.col("a")) for f in first), [Slot("a", call())])
    assert next(second)["a"][0] == "SECOND P0"
    assert "p9999" not in dispatcher.prompts
    assert pl.concat(second)["a"][-1] == "SECOND P9999"


def test_closing_cancels_what_is_queued_and_closes_the_input(tmp_path, model):
    dispatcher = OnDemand(patience=2)
    run = start(tmp_path, dispatcher, model)
    closed = []

    def source() -> Iterator[pl.DataFrame]:
        try:
            yield from batches(frame([f"p{i}" for i in range(10_000)]), 500)
        finally:
            closed.append(1)

    stream = run.answer(source(), [Slot("a", call())])
    next(stream)
    stream.close()
    assert closed
    assert [job.cancelled for job in dispatcher.jobs] == [False] + [True] * (len(dispatcher.jobs) - 1)


def test_what_a_closed_stage_wanted_another_stage_asks_itself(tmp_path, model):
    dispatcher = OnDemand(patience=10**9)
    run = start(tmp_path, dispatcher, model)
    one = run.answer([frame(["x", "y"])], [Slot("a", call())], heartbeat=True)
    two = run.answer([frame(["y", "x"])], [Slot("a", call())], heartbeat=True)
    assert next(one).is_empty()
    assert next(two).is_empty()
    assert len(dispatcher.jobs) == 1
    one.close()
    dispatcher.patience = 0
    assert next(f for f in two if f.height)["a"].to_list() == ["Y", "X"]
    run.raise_failures()
    late = answers(run, [frame(["x"])], Slot("a", call()))
    assert late["a"].to_list() == ["X"]
    assert dispatcher.prompts == ["x", "y", "y", "x"]


def test_heartbeats_have_the_schema_and_no_rows(tmp_path, model):
    run = start(tmp_path, OnDemand(int, patience=3), model)
    pieces = list(run.answer([frame(["1"])], [Slot("a", call(returns=int))], heartbeat=True))
    assert [piece.height for piece in pieces] == [0, 0, 0, 1]
    assert {str(piece.schema) for piece in pieces} == {str(pieces[-1].schema)}


def test_an_empty_batch_keeps_the_schema(tmp_path, model):
    got = answers(start(tmp_path, OnDemand(), model), [frame([])], Slot("a", call(returns=bool)))
    assert got.schema["a"] == pl.Boolean


def test_a_cancelled_run_stops_waiting(tmp_path, model):
    dispatcher = OnDemand(patience=10**9)
    run = start(tmp_path, dispatcher, model)
    stream = run.answer([frame(["x"])], [Slot("a", call())], heartbeat=True)
    assert next(stream).is_empty()
    thread = threading.Thread(target=run.cancel)
    thread.start()
    thread.join()
    with pytest.raises(AnswerError, match="cancelled"):
        next(stream)
    assert dispatcher.jobs[0].cancelled
    assert isinstance(dispatcher.jobs[0].question.gate(), Failure)


def test_an_interrupt_gets_through_and_cancels(tmp_path, model):
    dispatcher = OnDemand()
    dispatcher.answer = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
    stream = start(tmp_path, dispatcher, model).answer([frame(["x"])], [Slot("a", call())])
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert dispatcher.jobs[0].cancelled


def test_an_answer_that_could_not_be_stored_is_raised(tmp_path, model):
    dispatcher = OnDemand()
    stream = start(tmp_path, dispatcher, model).answer([frame(["x"])], [Slot("a", call())], heartbeat=True)
    dispatcher.patience = 1
    assert next(stream).is_empty()
    dispatcher.jobs[0].error = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        next(stream)


def test_answers_are_forgotten_where_the_cache_has_them_but_not_counted_twice(tmp_path, model, monkeypatch):
    monkeypatch.setattr(asked, "REMEMBERED", 2_000)
    dispatcher = OnDemand(at_once=True)
    run = start(tmp_path, dispatcher, model)
    given = frame([f"p{i}" if i != 3 else "bad" for i in range(10_000)])
    dispatcher.answer = lambda prompt: Failure("refused", "no") if prompt == "bad" else prompt
    one = call(on_error="null")
    answers(run, [given], Slot("a", one))
    gc.collect()
    assert sum(len(claim.job.results) for claim in next(iter(run._asked.values()))._claims) <= 3_100
    got = answers(run, [given.head(10)], Slot("a", one))
    assert got["a"].to_list() == ["p0", "p1", "p2", None, *(f"p{i}" for i in range(4, 10))]
    assert dispatcher.prompts[10_000:] == [f"p{i}" for i in range(10) if i != 3]
    (report,) = run.finish().calls
    assert (report.distinct, report.sent, report.failed) == (10_000, 9_999, 1)


@pytest.mark.parametrize("changes", [{"cache": "off"}, {"cache": "refresh"}, {}])
def test_nothing_is_forgotten_where_the_cache_is_not_read(tmp_path, model, monkeypatch, changes):
    monkeypatch.setattr(asked, "REMEMBERED", 10)
    dispatcher = OnDemand(at_once=True)
    run = start(tmp_path, dispatcher, model, **changes)
    given = frame([f"p{i}" for i in range(3_000)])
    for _ in range(2):
        answers(run, [given], Slot("a", call(cache=bool(changes))))
    assert len(dispatcher.prompts) == 3_000


def test_even_counting_is_bounded(tmp_path, model, monkeypatch):
    monkeypatch.setattr(asked, "REMEMBERED", 100)
    monkeypatch.setattr(asked, "COUNTED", 5_000)
    run = start(tmp_path, OnDemand(at_once=True), model)
    answers(run, [frame([f"p{i}" for i in range(20_000)])], Slot("a", call()))
    assert len(next(iter(run._asked.values()))._known) <= 5_000
