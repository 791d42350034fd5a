"""Several questions at once, examples, system prompts of each row's own, conversations: against the emulator."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

import polars as pl
import pytest
from pydantic import BaseModel, Field

import polar_llama as pll
from polar_llama import llm
from polar_llama.frame.ask import ask
from polar_llama.testing import Emulator, answer_text

MODEL = "gpt-6-luna"
Desk = Literal["cards", "loans"]


class Ticket(BaseModel):
    desk: Desk
    urgent: bool


@pytest.fixture
def asked(monkeypatch):
    """What the emulator understood of each request, in order."""
    seen = []

    def answer(request):
        seen.append(request)
        return _default(request)

    with Emulator(answer=answer) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        pll.configure(model=f"openai:{MODEL}")
        yield seen


def _default(request) -> str:
    return answer_text(
        request.prompt, model=request.model, system=request.system, schema=request.schema, before=request.messages[:-1]
    )


def _frame() -> pl.LazyFrame:
    return pl.LazyFrame({"q": ["Hi", "Hello", None], "tone": ["Be brief.", None, "Be kind."], "n": [1, 2, 3]})


def test_questions_on_one_text_are_one_request(asked):
    lf = _frame().with_columns(a=ask("q", {"polite": bool, "Which desk?": Desk, "words": list[str]}))
    assert lf.collect_schema()["a"] == pl.Struct(
        {"polite": pl.Boolean, "Which desk?": pl.Enum(["cards", "loans"]), "words": pl.List(pl.String)}
    )
    found = lf.collect()
    assert len(asked) == 2
    assert found["a"][2] is None
    assert list(asked[0].schema["properties"]) == ["polite", "Which desk?", "words"]


def test_the_same_questions_are_the_same_call(asked):
    lf = _frame().with_columns(a=ask("q", {"polite": bool}), b=ask("q", {"polite": bool}).struct.field("polite"))
    found = lf.collect()
    assert found["a"].struct.field("polite").to_list() == found["b"].to_list()
    report = pll.last_run()
    assert report is not None
    assert len(report.calls) == 1


def test_a_question_in_words_reaches_the_model(asked):
    question = Annotated[bool, Field(description="Is the writer polite?")]
    _frame().head(1).select(ask("q", {"polite": question}, system="You judge.")).collect()
    assert asked[0].schema["properties"]["polite"]["description"] == "Is the writer polite?"
    assert asked[0].system == "You judge."


@pytest.mark.parametrize("questions", [{}, ["polite"], {1: bool}])
def test_no_questions_are_an_error(questions):
    with pytest.raises(pll.ConfigurationError, match="at least one question"):
        ask("q", questions)


def test_ask_takes_no_returns():
    with pytest.raises(pll.ConfigurationError, match="leave returns= out"):
        ask("q", {"polite": bool}, returns=bool)


class Tone(Enum):
    POLITE = "polite"
    RUDE = "rude"


@pytest.mark.parametrize(
    ("returns", "value", "text"),
    [
        (str, "yes", "yes"),
        (bool, True, '{"answer":true}'),
        (Desk, "cards", '{"answer":"cards"}'),
        (Tone, Tone.RUDE, '{"answer":"rude"}'),
        (list[int], [1, 2], '{"answer":[1,2]}'),
        (Ticket | None, None, '{"answer":null}'),
        (Ticket, Ticket(desk="cards", urgent=False), '{"desk":"cards","urgent":false}'),
        (Ticket, {"desk": "loans", "urgent": True}, '{"desk":"loans","urgent":true}'),
    ],
)
def test_examples_are_turns_before_the_prompt(asked, returns, value, text):
    _frame().head(2).select(llm("q", returns=returns, system="S", examples=[("Morning", value)])).collect()
    assert {r.messages for r in asked} == {
        (("user", "Morning"), ("assistant", text), ("user", q)) for q in ("Hi", "Hello")
    }
    assert {r.system for r in asked} == {"S"}


def test_an_example_of_a_template_may_name_its_fields(asked):
    _frame().head(1).select(llm("{q}, number {n}!", examples=[({"q": "Yo", "n": 7}, "seven"), ("a", "b")])).collect()
    assert [t for _, t in asked[0].messages] == ["Yo, number 7!", "seven", "a", "b", "Hi, number 1!"]


@pytest.mark.parametrize("model", ["anthropic:claude-sonnet-5", "gemini:gemini-3.8-flash", "groq:openai/gpt-oss-20b"])
def test_every_wire_format_shows_the_examples(asked, model):
    _frame().head(1).select(llm("q", model=model, examples=[("Morning", "Moin")])).collect()
    assert asked[0].messages == (("user", "Morning"), ("assistant", "Moin"), ("user", "Hi"))


def test_examples_are_part_of_the_cache_key(asked):
    frame = _frame().head(1)
    for examples in (None, [("a", "b")], [("a", "c")], [("a", "b")]):
        frame.select(llm("q", examples=examples)).collect()
    assert len(asked) == 3


def test_examples_go_before_a_repair(asked, monkeypatch):
    answers = iter(['{"answer":"many"}', '{"answer":3}'])
    with Emulator(answer=lambda r: (asked.append(r), next(answers))[1]) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        found = _frame().head(1).select(llm("q", returns=int, examples=[("one", 1)])).collect()
    assert found.item() == 3
    assert [role for role, _ in asked[-1].messages] == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("returns", "examples", "message"),
    [
        (bool, [("q", "perhaps")], "answer of example 1"),
        (bool, [("q", True), "q"], "example 2 is not a pair"),
        (str, [("q", 3)], "must be text"),
        (str, [(3, "q")], "question of example 1"),
        (bool, [("q", object())], "answer of example 1"),
    ],
)
def test_wrong_examples_are_refused_at_once(returns, examples, message):
    with pytest.raises(pll.ConfigurationError, match=message):
        llm("q", returns=returns, examples=examples)


def test_a_system_prompt_of_each_rows_own(asked):
    found = _frame().with_columns(a=llm("Say {q}", system=pl.col("tone") + "!")).collect()
    assert {(r.system, r.messages) for r in asked} == {
        ("Be brief.!", (("user", "Say Hi"),)),
        (None, (("user", "Say Hello"),)),
    }
    assert found["a"].to_list() == [
        answer_text("Say Hi", model=MODEL, system="Be brief.!"),
        answer_text("Say Hello", model=MODEL),
        None,
    ]


def test_a_system_prompt_may_be_an_answer_or_stand_in_a_filter(asked):
    lf = _frame().with_columns(a=llm("q", system=llm("tone"))).filter(pl.col("n") == 1)
    assert lf.collect()["a"].to_list() == [answer_text("Hi", model=MODEL, system=answer_text("Be brief.", model=MODEL))]
    assert len(asked) == 2


def test_a_missing_system_column_is_named():
    with pytest.raises(pll.UnknownColumnError, match="'mood'"):
        _frame().with_columns(a=llm("q", system=pl.col("mood"))).collect_schema()


def test_a_system_prompt_is_text():
    with pytest.raises(pll.PlanError, match="must be text"):
        _frame().with_columns(a=llm("q", system=pl.col("n"))).collect_schema()


def _messages(*turns) -> list[dict[str, Any]]:
    return [{"role": role, "content": text} for role, text in turns]


def test_a_column_of_messages_is_a_conversation(asked):
    turns = [("user", "One?"), ("assistant", 'It is "1".'), ("user", "Sure? {q}\n")]
    df = pl.DataFrame({"talk": [_messages(("system", "Count."), *turns), None, _messages(("user", "Two?"))]})
    found = df.with_columns(a=llm("talk", examples=[("Zero?", "0")]))
    by_prompt = {r.prompt: r for r in asked}
    assert by_prompt["Sure? {q}\n"].system == "Count."
    assert by_prompt["Sure? {q}\n"].messages == (("user", "Zero?"), ("assistant", "0"), *turns)
    assert found["a"][1] is None
    assert len(asked) == 2


def test_a_system_expression_goes_before_a_conversation(asked):
    df = pl.DataFrame({"talk": [_messages(("user", "One?"), ("assistant", "1"), ("user", "Two?"))], "s": ["Count."]})
    df.select(llm("talk", system=pl.col("s"), model="anthropic:claude-sonnet-5"))
    assert (asked[0].system, len(asked[0].messages)) == ("Count.", 3)


def test_one_system_literal_for_a_scalar_prompt_keeps_the_height(asked):
    assert _frame().select(llm(pl.lit("Hi"), system=pl.lit("S"))).collect().height == 1
    assert _frame().select(llm(pl.lit("Hi"), system=pl.col("tone"))).collect().height == 3
    assert asked[0].system == "S"
