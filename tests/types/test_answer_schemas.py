"""The JSON schema that teaches the model: descriptions, order, names."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

import polars as pl
import pytest
from pydantic import BaseModel, Field

from polar_llama.types import answer_type


class Topic(enum.Enum):
    """What the text is about."""

    ART = "art"
    LAW = "law"


class Part(BaseModel):
    """One finding."""

    quote: str = Field(alias="exactQuote", description="word for word")


class Verdict(BaseModel):
    """A judge's verdict."""

    reason: Annotated[str, Field(description="think first")]
    answer: bool
    parts: list[Part] = []
    best: Part | None = None
    aim: int = Field(3, title="Zielgröße", ge=1)


@dataclass
class Spot:
    """A place."""

    lat: float


class Pair(NamedTuple):
    b: int
    a: Topic = Topic.ART


class Tale(NamedTuple):
    """A place and what happened there."""

    place: str
    event: str


def _schema(returns: Any) -> Any:
    return json.loads(answer_type(returns).schema or "null")


def test_a_model_is_shown_as_it_is_documented() -> None:
    schema = _schema(Verdict)
    assert schema == {
        "$defs": {
            "Part": {
                "description": "One finding.",
                "properties": {"exactQuote": {"description": "word for word", "type": "string"}},
                "required": ["exactQuote"],
                "title": "Part",
                "type": "object",
            }
        },
        "description": "A judge's verdict.",
        "properties": {
            "reason": {"description": "think first", "type": "string"},
            "answer": {"type": "boolean"},
            "parts": {"default": [], "items": {"$ref": "#/$defs/Part"}, "type": "array"},
            "best": {"anyOf": [{"$ref": "#/$defs/Part"}, {"type": "null"}], "default": None},
            "aim": {"default": 3, "minimum": 1, "title": "Zielgröße", "type": "integer"},
        },
        "required": ["reason", "answer"],
        "title": "Verdict",
        "type": "object",
    }


def test_fields_are_asked_for_in_their_order() -> None:
    """A model that has to give its reason first gives a better answer."""
    assert list(_schema(Verdict)["properties"]) == ["reason", "answer", "parts", "best", "aim"]


def test_it_is_compact_and_readable() -> None:
    text = answer_type(Verdict).schema or ""
    assert "Zielgröße" in text
    assert ": " not in text.replace("judge's verdict", "")


def test_documented_scalars_enums_and_dataclasses() -> None:
    assert _schema(Annotated[int, Field(description="in years", ge=0)])["properties"]["answer"] == {
        "description": "in years",
        "minimum": 0,
        "type": "integer",
    }
    assert _schema(Topic)["$defs"]["Topic"]["description"] == "What the text is about."
    assert _schema(Topic)["$defs"]["Topic"]["enum"] == ["art", "law"]
    assert _schema(Spot)["description"] == "A place."
    assert _schema(Literal["b", "a"])["properties"]["answer"] == {"enum": ["b", "a"], "type": "string"}


def test_a_named_tuple_is_an_object() -> None:
    schema = _schema(Pair)
    assert list(schema["properties"]) == ["b", "a"]
    assert (schema["type"], schema["required"]) == ("object", ["b"])
    assert "description" not in schema
    assert _schema(Tale)["description"] == "A place and what happened there."
    assert "prefixItems" not in json.dumps(_schema(list[Pair]))
    assert answer_type(Pair).parse('{"b":1}') == {"b": 1, "a": "art"}


@pytest.mark.parametrize(
    ("returns", "name"),
    [
        (bool, "answer"),
        (list[Verdict], "answer"),
        (Verdict, "Verdict"),
        (pl.Struct({"a": pl.Int8}), "answer"),
        (type("A" * 80, (Verdict,), {}), "A" * 64),
        (type("Größe[int]", (Verdict,), {}), "Gr_e_int"),
        (type("日本", (Verdict,), {}), "answer"),
    ],
)
def test_schema_names(returns: Any, name: str) -> None:
    assert answer_type(returns).schema_name == name


def test_plain_text_needs_no_pydantic() -> None:
    code = (
        "import sys; from polar_llama.types import answer_type; answer_type(str).parse('x'); "
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_decimal_as_a_text_is_a_decimal() -> None:
    text = json.loads(answer_type(Decimal).schema or "")["properties"]["answer"]["anyOf"][1]
    assert text == {"type": "string", "pattern": "^-?[0-9]+([.][0-9]+)?$"}
