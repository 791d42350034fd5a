"""Typed answers of every kind, from every vendor, through a frame: one request each, held natively to the schema."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, Literal, Optional, TypedDict

import polars as pl
import pytest
from pydantic import BaseModel, Field

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = [
    "openai:gpt-6-luna",
    "anthropic:claude-haiku-5-5",
    "gemini:gemini-3.8-flash",
    "groq:openai/gpt-oss-20b",
    "bedrock:amazon.nova-lite-v1:0",
    "azure:gpt-6-luna",
]


class Desk(enum.Enum):
    CARDS = "cards"
    LOANS = "loans"


class Place(BaseModel):
    """Where something is."""

    city: str = Field(description="Its name in English.", min_length=1)
    country: Literal["FI", "SE"] = "FI"


class Person(BaseModel):
    """Somebody."""

    zip_code: str
    age: int = Field(ge=0, le=130)
    home: Place
    also: list[Place] = Field(max_length=3)
    nick: str | None = None


@dataclass
class Point:
    x: float
    y: float


class Score(TypedDict):
    why: str
    score: int


MAYBE = Optional[int]  # noqa: UP045 -- the older spelling too

KINDS: list[tuple[Any, pl.DataType]] = [
    (str, pl.String()),
    (bool, pl.Boolean()),
    (int, pl.Int64()),
    (float, pl.Float64()),
    (Literal["yes", "no"], pl.Enum(["yes", "no"])),
    (Desk, pl.Enum(["cards", "loans"])),
    (date, pl.Date()),
    (datetime, pl.Datetime()),
    (time, pl.Time()),
    (list[str], pl.List(pl.String)),
    (list[Literal["a", "b"]], pl.List(pl.Enum(["a", "b"]))),
    (MAYBE, pl.Int64()),
    (Place, pl.Struct({"city": pl.String, "country": pl.Enum(["FI", "SE"])})),
    (Point, pl.Struct({"x": pl.Float64, "y": pl.Float64})),
    (Score, pl.Struct({"why": pl.String, "score": pl.Int64})),
]


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    running.reset()
    for name, value in running.environ().items():
        monkeypatch.setenv(name, value)
    return running


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.partition(":")[0])
def test_every_kind(emulator: Emulator, model: str) -> None:
    frame = pl.LazyFrame({"q": ["one", "two", "two", None]})
    for returns, dtype in KINDS:
        before = emulator.stats().requests
        said = frame.select(answer=pll.llm("q", returns=returns, model=model)).collect()
        assert said.schema["answer"] == dtype or isinstance(dtype, pl.Datetime), returns
        assert said["answer"].null_count() == 1 or returns == MAYBE, returns
        assert emulator.stats().requests - before == 2, f"{returns}: two questions, each asked once"


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.partition(":")[0])
def test_a_nested_model_keeps_its_order_and_tells_its_bounds(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a vendor cannot enforce are told in words, and enforced here."""
    ada = {"zip_code": "00100", "age": 36, "home": {"city": "Turku", "country": "FI"}, "also": [], "nick": None}
    seen: list[Any] = []

    def answer(request: Any) -> Any:
        seen.append(request.schema)
        return ada if request.prompt == "Ada" else {**ada, "age": 1000}

    with Emulator(answer=answer) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        asked = pl.LazyFrame({"q": ["Ada", "Methuselah"]}).select(
            person=pll.llm("q", returns=Person, model=model, on_error="struct")
        )
        answers, errors = asked.collect()["person"].struct.unnest()
        assert emulator.stats().requests == 3, "the invalid answer is asked for once more"
    assert answers.to_list() == [ada, None]
    assert errors[0] is None
    assert "does not validate" in errors[1]
    assert list(seen[0]["properties"]) == ["zip_code", "age", "home", "also", "nick"]
    told = json.dumps(seen[0])
    assert '"maximum": 130' in told or "maximum: 130" in told
    assert '"minLength": 1' in told or "minLength: 1" in told
    assert '"maxItems": 3' in told or "maxItems: 3" in told
    assert "Its name in English." in told
