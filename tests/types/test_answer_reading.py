"""Reading answers: what is tolerated, what is not, and what a model is told."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, Literal, TypedDict

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from polar_llama.types import InvalidAnswer, answer_type
from polar_llama.types.reading import MAX_REASON

Mood = Literal["positive", "negative", "N/A"]
Cased = Literal["US", "us", "Of course."]


class Colour(enum.Enum):
    RED = "red"


class Person(BaseModel):
    name: str
    age: int = 0


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    full: str = Field(alias="fullName")


class Checked(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def _even(cls, value: int) -> int:
        if value == 13:
            raise ZeroDivisionError
        if value % 2:
            msg = "must be even"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _small(self) -> Checked:
        if self.n > 10:
            msg = "must be small"
            raise ValueError(msg)
        return self


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (bool, ' {"answer": true}\n', True),
        (bool, '{"answer": "yes"}', True),
        (bool, '{"answer": true, "why": "because"}', True),
        (bool, '{"answer": false, "answer": true}', True),
        (bool, '```json\n{"answer": true}\n```', True),
        (bool, "```\ntrue\n```", True),
        (bool, '```json{"answer": true}```', True),
        (bool, '\ufeff{"answer": true}', True),
        (bool, "true", True),
        (bool, "True", True),
        (bool, "Yes.", True),
        (bool, "**no**", False),
        (bool, '"no"', False),
        (bool, "0", False),
        (bool | None, "null", None),
        (int, "42", 42),
        (int, '"42"', 42),
        (int, "`42`", 42),
        (int, "42.", 42),
        (int, "42.0", 42),
        (float, ".5", 0.5),
        (float, "-1e3", -1000.0),
        (Decimal, "0.10", Decimal("0.1")),
        (dt.date, "2026-11-23", dt.date(2026, 11, 23)),
        (dt.timedelta, "PT1H", dt.timedelta(hours=1)),
        (Mood, "positive", "positive"),
        (Mood, '"positive"', "positive"),
        (Mood, " 'Positive'. ", "positive"),
        (Mood, '{"answer": "POSITIVE"}', "positive"),
        (Mood, '{"answer": " n/a\\n"}', "N/A"),
        (Mood | None, "Negative", "negative"),
        (Cased, "us", "us"),
        (Cased, "Of course.", "Of course."),
        (Colour, "Red", "red"),
        (Literal[1, 2], "2", 2),
        (list[int], "[1, 2]", [1, 2]),
        (list[Person], '[{"name": "A"}]', [{"name": "A", "age": 0}]),
        (Person | None, '{"name": "A"}', {"name": "A", "age": 0}),
        (Person, '```json\n{"name": "A", "more": 1}\n```', {"name": "A", "age": 0}),
        (Strict, '{"fullName": "A"}', {"full": "A"}),
        (str | None, '"Paris"', "Paris"),
        (Checked, '{"n": 2}', {"n": 2}),
    ],
    ids=count(),
)
def test_tolerated(returns: Any, text: str, value: Any) -> None:
    read = answer_type(returns).parse(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("returns", "text", "reason"),
    [
        (bool, "maybe", "answer: Input should be a valid boolean, unable to interpret input"),
        (bool, '{"answer": 2}', "answer: Input should be a valid boolean, unable to interpret input"),
        (bool, "", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (bool, "null", "answer: Input should be a valid boolean"),
        (bool, 'true, "answer": false', "unable to interpret input"),
        (Mood, "Positive and negative", "answer: Input should be 'positive', 'negative' or 'N/A'"),
        (Cased, "Us", "answer: Input should be 'US', 'us' or 'Of course.'"),
        (str | None, "Paris", "Invalid JSON"),
        (str | None, '{"answer": "Par', "Invalid JSON: EOF while parsing a string at line 1 column 15"),
        (Annotated[int, Field(ge=1, le=5)], "6", "answer: Input should be less than or equal to 5"),
        (list[int], '{"answer": [1, "x", 2.5]}', "answer[1]: Input should be a valid integer"),
        (Person, '{"name": 1, "age": "x"}', "name: Input should be a valid string; age: Input should be a valid int"),
        (Person, '{"answer": {"name": "A"}}', "name: Field required"),
        (Person, "[]", "Input should be an object"),
        (Person | None, '{"answer": {"age": 1}}', "answer.name: Field required"),
        (Strict, '{"fullName": "A", "age": 1}', "age: Extra inputs are not permitted"),
        (Strict, '{"full": "A"}', "fullName: Field required"),
        (Checked, '{"n": 3}', "n: Value error, must be even"),
        (Checked, '{"n": 12}', "Value error, must be small"),
        (Checked, '{"n": 13}', "a validator of the type failed with ZeroDivisionError"),
        (int, "9223372036854775808", "an integer must be between -9223372036854775808 and 9223372036854775807"),
        (int, '{"answer": -1e400}', "answer"),
        (float, '{"answer": 1e999}', "answer: Input should be a finite number"),
        (float, '{"answer": NaN}', "answer: Input should be a finite number"),
        (float, "nan", "answer: Input should be a finite number"),
        (dt.date, "2026-02-30", "answer: Input should be a valid date"),
        (dt.datetime, '{"answer": "9999-12-31T23:00:00-05:00"}', "date value out of range"),
        (dt.timedelta, '{"answer": "P999999999D"}', "a duration must be shorter than 292,000 years"),
        (Decimal, "0.1234567891", "at most 29 digits before the point and 9 after it"),
        (Decimal, "1e30", "at most 29 digits"),
        (Decimal, '{"answer": "1e-999999"}', "at most 29 digits"),
        (Annotated[int, AfterValidator(str)], "1", "gave a str where a int belongs"),
        (Annotated[Mood, AfterValidator(str.upper)], "positive", "gave a str that is none of the labels"),
        (Annotated[str, AfterValidator(lambda _: "\ud800")], '"x"', "surrogates not allowed"),
    ],
    ids=count(),
)
def test_not_tolerated(returns: Any, text: str, reason: str) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        answer_type(returns).parse(text)
    assert reason in str(caught.value)


def test_defaults_of_another_type_fail_their_row_only() -> None:
    class Sloppy(BaseModel):
        n: int = "none"  # type: ignore[assignment]
        m: int = None  # type: ignore[assignment]

    answer = answer_type(Sloppy)
    assert answer.parse('{"n": 1}') == {"n": 1, "m": None}
    with pytest.raises(InvalidAnswer, match="gave a str where a int belongs"):
        answer.parse("{}")


def test_reasons_are_bounded_and_quote_no_answer() -> None:
    with pytest.raises(InvalidAnswer) as caught:
        answer_type(list[int]).parse('{"answer": [' + ", ".join(['"the secret"'] * 50) + "]}")
    assert str(caught.value).endswith("; and 45 more")
    assert "secret" not in str(caught.value)
    many = Literal[tuple(f"label number {i}" for i in range(200))]  # type: ignore[valid-type]
    with pytest.raises(InvalidAnswer) as caught:
        answer_type(many).parse("none of them")
    assert len(str(caught.value)) == MAX_REASON


class Nested(TypedDict):
    text: str
    numbers: list[int]
    when: dt.datetime


HOSTILE = [
    "",
    " ",
    "\0",
    "```",
    "``````",
    "```json```",
    "[" * 100_000,
    '{"answer":' * 100_000,
    '{"answer":' + "[" * 150 + "]" * 150 + "}",
    "9" * 5_000,
    "-" + "9" * 400,
    '{"answer":' + "9" * 5_000 + "}",
    "1e999999999",
    '{"answer":"1e999999999"}',
    "\ud800",
    '"\ud800"',
    '{"answer":"\ud800"}',
    '{"answer":"\\ud800"}',
    '{"answer":"\\u0000"}',
    '{"\ud800":1}',
    '{"answer":{"answer":{}}}',
    '{"text":"\\u0000","numbers":[1e300],"when":"0001-01-01T00:00:00+14:00"}',
    "null",
    "{}",
    "[]",
    "\ufeff",
    "\U0010ffff",
]


TYPES: list[Any] = [bool, int, float, Decimal, Mood, Colour, dt.date, dt.datetime, dt.time, dt.timedelta]
TYPES += [str, str | None, list[int], list[str], Nested, Person, Nested | None]


@pytest.mark.parametrize("text", HOSTILE, ids=count())
@pytest.mark.parametrize("returns", TYPES, ids=str)
def test_hostile_texts_are_answers_or_invalid(returns: Any, text: str) -> None:
    answer = answer_type(returns)
    try:
        value = answer.parse(text)
    except InvalidAnswer as invalid:
        str(invalid).encode()
        assert len(str(invalid)) <= MAX_REASON  # noqa: PT017 -- an answer is as good
    else:
        assert answer.series("a", [value]).dtype == answer.dtype
