"""Rows without an answer: counted, sampled, nulls or structs as asked for; everything else is kept."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from fault_kit import SECRET, ask, prompts, right, told
from pydantic import BaseModel

import polar_llama as pll
from polar_llama.testing import EmulatedAnswer, EmulatedFault, Emulator, default_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.testing import EmulatedRequest

    Emulate = Callable[..., Emulator]


class Pair(BaseModel):
    """A typed answer."""

    name: str
    age: int


def broken(number: int) -> Callable[[EmulatedRequest], EmulatedFault | None]:
    """One prompt always fails."""
    bad = f"{SECRET} {number}"
    return lambda request: EmulatedFault("bad_request") if request.prompt == bad else None


def test_one_row_that_always_fails_is_told_and_all_others_are_kept(emulator: Emulator) -> None:
    emulator.fail(broken(500))
    with pytest.raises(pll.AnswerError) as failed:
        ask(1_000)
    message = told(failed.value)
    for text in ("1 of 1,000 rows", "400", "row 500", "All other answers are cached", "run again"):
        assert text in message
    assert emulator.stats().requests == 1_000
    run = pll.last_run()
    assert run is not None
    assert (run.total.sent, run.total.failed) == (1_000, 1)
    emulator.reset()
    with pytest.raises(pll.AnswerError):
        ask(1_000)
    assert emulator.stats().requests == 1
    emulator.fail(None)
    emulator.reset()
    assert ask(1_000)["a"].to_list() == right(1_000)
    assert emulator.stats().requests == 1


RUNS: dict[str, Callable[[pl.LazyFrame], Any]] = {
    "in-memory": lambda lf: lf.collect(engine="in-memory"),
    "batches": lambda lf: list(lf.collect_batches()),
    "collect_all": lambda lf: pl.collect_all([lf, lf.select("a")]),
    "concat": lambda lf: pl.concat([lf, lf], how="diagonal").collect(),
    "native, batches": lambda lf: list(pl.concat([lf, lf], how="diagonal").collect_batches()),
    "right of a join": lambda lf: prompts(40).lazy().join(lf, on="i", maintain_order="left_right").collect(),
    "eager": lambda lf: lf.drop("a").collect().with_columns(a=pll.llm("q")),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_failed_row_raises_however_the_frame_is_run(emulator: Emulator, run: str) -> None:
    emulator.fail(broken(20))
    with pytest.raises(pll.AnswerError, match=r"rows? 20"):
        RUNS[run](prompts(40).lazy().with_columns(a=pll.llm("q")))
    assert emulator.stats().requests == 40


@pytest.mark.parametrize("kind", ["parquet", "ipc", "csv", "ndjson", "batches"])
def test_a_failed_row_raises_in_a_sink(emulator: Emulator, tmp_path: Any, kind: str) -> None:
    emulator.fail(broken(20))
    frame = prompts(40).lazy().with_columns(a=pll.llm("q"))
    target = [].append if kind == "batches" else tmp_path / "file"
    with pytest.raises(pll.AnswerError, match=r"rows? 20"):
        getattr(frame, f"sink_{kind}")(target)
    emulator.reset()
    emulator.fail(None)
    getattr(frame, f"sink_{kind}")(target)
    assert emulator.stats().requests == 1


def test_rows_are_counted_and_sampled(emulator: Emulator) -> None:
    emulator.fail(lambda request: EmulatedFault("bad_request") if request.prompt.endswith("3") else None)
    frame = pl.concat([prompts(100), prompts(100)])
    with pytest.raises(pll.AnswerError) as failed:
        frame.lazy().with_columns(a=pll.llm("q")).collect()
    message = told(failed.value)
    assert "20 of 200 rows" in message
    assert "rows 3, 13, 23, 33, 43." in message
    assert "43, " not in message
    run = pll.last_run()
    assert run is not None
    assert run.total.failed == 10


def test_null(emulator: Emulator) -> None:
    emulator.fail(broken(3))
    expected = [None if i == 3 else a for i, a in enumerate(right(5))]
    assert ask(5, on_error="null")["a"].to_list() == expected
    with pll.session(on_error="null"):
        assert ask(5)["a"].to_list() == expected


def test_struct(emulator: Emulator) -> None:
    emulator.fail(broken(3))
    frame = prompts(5).lazy().with_columns(pl.when(pl.col("i") != 4).then("q").alias("q"))
    asked = frame.with_columns(a=pll.llm("q", on_error="struct"))
    assert asked.collect_schema()["a"] == pl.Struct({"answer": pl.String, "error": pl.String})
    result = asked.collect()
    assert result.schema == asked.collect_schema()
    expected: list[Any] = [{"answer": a, "error": None} for a in right(5)]
    error = result["a"][3]["error"]
    assert "400" in error
    assert SECRET not in error
    expected[3] = {"answer": None, "error": error}
    expected[4] = None
    assert result["a"].to_list() == expected
    assert result["a"].is_null().to_list() == [False, False, False, False, True]
    assert asked.select(pl.col("a").struct.field("answer")).collect()["answer"].null_count() == 2


def test_struct_by_setting_is_known_before_anything_runs(emulator: Emulator) -> None:
    frame = prompts(2).lazy().select(a=pll.llm("q"))
    with pll.session(on_error="struct"):
        assert frame.collect_schema()["a"] == pl.Struct({"answer": pl.String, "error": pl.String})
        assert frame.collect()["a"].to_list() == [{"answer": a, "error": None} for a in right(2)]
    assert frame.collect_schema()["a"] == pl.String
    assert emulator.stats().requests == 2


@pytest.mark.parametrize("on_error", ["null", "struct"])
def test_typed_answers(emulator: Emulator, on_error: Any) -> None:
    emulator.fail(broken(1))
    frame = prompts(3).with_columns(pl.when(pl.col("i") != 2).then("q").alias("q"))
    answers = frame.lazy().select(a=pll.llm("q", returns=Pair, on_error=on_error)).collect()["a"]
    pair = pl.Struct({"name": pl.String, "age": pl.Int64})
    assert answers[2] is None
    if on_error == "null":
        assert answers.dtype == pair
        assert answers.is_null().to_list() == [False, True, True]
    else:
        assert answers.dtype == pl.Struct({"answer": pair, "error": pl.String})
        assert answers.struct.field("answer").is_null().to_list() == [False, True, True]
        assert answers.struct.field("error").is_null().to_list() == [True, False, True]
        assert answers.is_null().to_list() == [False, False, True]


def test_lists_that_fail_are_null_not_empty(emulator: Emulator) -> None:
    emulator.fail(broken(1))
    answers = prompts(2).lazy().select(a=pll.llm("q", returns=list[int], on_error="null")).collect()["a"]
    assert answers.is_null().to_list() == [False, True]


def test_a_chain_whose_first_call_fails_for_a_row(emulator: Emulator) -> None:
    emulator.fail(broken(3))
    chain = prompts(10).lazy().with_columns(a=pll.llm("q", on_error="null")).with_columns(b=pll.llm("on {a}"))
    result = chain.collect()
    assert result["b"].is_null().to_list() == [i == 3 for i in range(10)]
    assert emulator.stats().requests == 10 + 9


def test_a_chain_that_raises_answers_all_other_rows_to_the_end(emulator: Emulator) -> None:
    emulator.fail(broken(3))
    chain = prompts(10).lazy().with_columns(a=pll.llm("q")).with_columns(b=pll.llm("on {a}"))
    with pytest.raises(pll.AnswerError, match="1 of"):
        chain.collect()
    assert emulator.stats().requests == 10 + 9
    emulator.fail(None)
    emulator.reset()
    assert chain.collect()["b"].null_count() == 0
    assert emulator.stats().requests == 2


def test_a_failed_predicate_raises_and_is_no_silent_false(emulator: Emulator) -> None:
    emulator.fail(broken(3))
    with pytest.raises(pll.AnswerError, match="row 3"):
        prompts(10).lazy().filter(pll.llm("q", returns=bool)).collect()


def test_several_calls_fail_in_one_error(emulator: Emulator) -> None:
    emulator.fail(lambda request: EmulatedFault("bad_request") if request.prompt.endswith(" 3") else None)
    with pytest.raises(pll.AnswerError) as failed:
        prompts(10).lazy().with_columns(a=pll.llm("q"), b=pll.llm("again {q}")).collect()
    assert "2 of" in told(failed.value)
    assert emulator.stats().requests == 20


def test_an_invalid_answer_is_asked_again_once_with_the_error(emulate: Emulate) -> None:
    times = itertools.count()
    emulator = emulate(answer=lambda r: '{"answer": "many"}' if next(times) == 0 else default_answer(r))
    result = prompts(1).lazy().select(a=pll.llm("q", returns=int)).collect()
    assert result["a"].dtype == pl.Int64
    assert result["a"].null_count() == 0
    assert emulator.stats().requests == 2


def test_an_answer_that_stays_invalid_fails_its_row_only(emulate: Emulate) -> None:
    def answer(request: EmulatedRequest) -> str:
        return "no number" if f"{SECRET} 1" in json.dumps(request.body) else default_answer(request)

    emulator = emulate(answer=answer)
    frame = prompts(3).lazy()
    with pytest.raises(pll.AnswerError, match="row 1") as failed:
        frame.select(a=pll.llm("q", returns=int)).collect()
    assert "does not validate" in told(failed.value)
    assert emulator.stats().requests == 4
    answers = frame.select(a=pll.llm("q", returns=int, on_error="null")).collect()["a"]
    assert answers.is_null().to_list() == [False, True, False]
    assert emulator.stats().requests == 6  # what is invalid is not cached


def test_a_refusal_is_told_and_never_stored(emulate: Emulate) -> None:
    emulator = emulate(answer=lambda r: EmulatedAnswer("I will not.", "refusal"))
    for count in (1, 2):
        with pytest.raises(pll.AnswerError, match="refused"):
            ask(1)
        assert emulator.stats().requests == count


def test_a_budget_of_requests_keeps_what_came_back(emulator: Emulator) -> None:
    with pll.session(max_requests=30), pytest.raises(pll.BudgetError) as stopped:
        ask(100)
    assert "raise the budget" in told(stopped.value)
    assert emulator.stats().requests == 30
    assert ask(100)["a"].to_list() == right(100)
    assert emulator.stats().requests == 100
