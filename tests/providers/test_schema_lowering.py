"""Lowering to OpenAI's strict subset: the SDK's own lowering and the emulator's checker are the judges."""

from __future__ import annotations

import copy
import json
from datetime import date, datetime  # noqa: TC003 -- Pydantic reads annotations
from enum import Enum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID  # noqa: TC003

import jsonschema
import pydantic
import pytest
from annotated_types import Ge, Le, MaxLen, MinLen
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema

from polar_llama.providers.schema import NotStrictError, drop_nulls, has_optional, lower_openai
from polar_llama.testing import example
from polar_llama.testing.wire.schema import wrong


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(pydantic.BaseModel):
    """Where somebody lives."""

    street: str
    number: int = pydantic.Field(ge=1, description="the house")


class Person(pydantic.BaseModel):
    reason: str
    name: Annotated[str, MinLen(2), MaxLen(40)]
    home: Address = pydantic.Field(description="the first one")
    others: list[Address]
    colour: Colour
    mood: Literal["good", "bad"]
    born: date
    seen: datetime | None
    ident: UUID
    scores: Annotated[list[Annotated[float, Ge(0), Le(1)]], MaxLen(3)]


class Node(pydantic.BaseModel):
    label: str
    children: list["Node"]  # noqa: UP037 -- recursive


class Tree(pydantic.BaseModel):
    root: Node = pydantic.Field(description="where it begins")
    spare: Node


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    tail: Optional[bool] = None  # noqa: UP045 -- as many write it


class Pet(pydantic.BaseModel):
    animal: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    colour: Colour = Colour.RED
    tags: list[str] = []
    home: Address | None = None
    second: Address = Address(street="x", number=1)


MODELS = [Address, Person, Node, Tree, Cat, Dog, Pet]


@pytest.mark.parametrize("model", MODELS)
def test_the_emulator_takes_them(model: type[pydantic.BaseModel]) -> None:
    schema = model.model_json_schema()
    before = copy.deepcopy(schema)
    lowered = lower_openai(schema)
    assert wrong(lowered, "openai") is None
    assert schema == before, "the argument is not changed"
    assert lower_openai(lowered) == lowered


@pytest.mark.parametrize("model", MODELS)
def test_answers_to_the_lowered_schema_are_answers(model: type[pydantic.BaseModel]) -> None:
    schema = model.model_json_schema()
    lowered = lower_openai(schema)
    for seed in "abcdefgh":
        answer = example(lowered, seed)
        jsonschema.validate(answer, lowered)
        jsonschema.validate(drop_nulls(answer, schema, schema), schema)


@pytest.mark.parametrize("model", [Address, Node])
def test_what_the_sdk_makes_of_it(model: type[pydantic.BaseModel]) -> None:
    """Where nothing is optional the SDK's strict schema is ours, but for titles."""

    def bare(schema: Any) -> Any:
        if isinstance(schema, dict):
            return {k: bare(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
        return [bare(s) for s in schema] if isinstance(schema, list) else schema

    theirs, ours = bare(to_strict_json_schema(model)), lower_openai(model.model_json_schema())
    if "$ref" in theirs:
        theirs = {**theirs["$defs"][theirs["$ref"].rsplit("/", 1)[1]], "$defs": theirs["$defs"]}
    ours.pop("description", None)
    theirs.pop("description", None)
    assert ours == theirs


@pytest.mark.parametrize(
    ("schema", "lowered"),
    [
        ({"type": "integer", "title": "N", "default": 1}, {"type": "integer"}),
        ({"allOf": [{"type": "integer"}], "description": "d"}, {"type": "integer", "description": "d"}),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (
            {"type": "string", "minLength": 2, "format": "binary", "description": "d"},
            {"type": "string", "description": "d {minLength: 2, format: binary}"},
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "array", "items": {"const": 1}, "uniqueItems": True}, {"type": "array", "items": {"const": 1}}),
        ({"$ref": "#/$defs/D", "description": "mine"}, {"type": "integer", "description": "mine"}),
        ({"$ref": "#/$defs/D", "title": "T"}, {"$ref": "#/$defs/D"}),
    ],
)
def test_keywords(schema: Any, lowered: Any) -> None:
    root = {
        "type": "object",
        "properties": {"x": schema},
        "required": ["x"],
        "$defs": {"D": {"type": "integer", "description": "theirs"}},
    }
    found = lower_openai(root)["properties"]["x"]
    if schema.get("uniqueItems"):
        assert found.pop("description") == "{uniqueItems: True}"
    assert found == lowered


@pytest.mark.parametrize(
    ("schema", "lowered"),
    [
        ({"type": "integer"}, {"type": ["integer", "null"]}),
        ({"type": ["integer", "null"]}, {"type": ["integer", "null"]}),
        ({"enum": ["a"]}, {"anyOf": [{"enum": ["a"]}, {"type": "null"}]}),
        ({"enum": ["a", None]}, {"enum": ["a", None]}),
        ({"type": "string", "const": "a"}, {"anyOf": [{"type": "string", "const": "a"}, {"type": "null"}]}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        ({"$ref": "#/$defs/D"}, {"anyOf": [{"$ref": "#/$defs/D"}, {"type": "null"}]}),
    ],
)
def test_optional_properties_may_be_null(schema: Any, lowered: Any) -> None:
    root = {"type": "object", "properties": {"x": schema}, "$defs": {"D": {"type": "integer"}}}
    found = lower_openai(root)
    assert found["properties"]["x"] == lowered
    assert found["required"] == ["x"]
    assert has_optional(root) == (found["properties"]["x"] != schema)


def test_definitions_that_are_not_used_go() -> None:
    root = {"type": "object", "properties": {}, "$defs": {"Unused": {"not": {}}}}
    assert "$defs" not in lower_openai(root)


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    return schema


def inside(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}, "required": ["x"]}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"anyOf": [deep(1), deep(2)]},
        {"$ref": "#"},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "https://example.com/schema"},
        inside({}),
        inside(schema=True),
        inside({"type": "array"}),
        inside({"type": "array", "prefixItems": [{"type": "integer"}]}),
        inside({"not": {"type": "string"}}),
        inside({"type": "object", "patternProperties": {"^x": {"type": "integer"}}}),
        inside({"allOf": [{"type": "integer"}, {"minimum": 1}]}),
        inside({"enum": [str(n) for n in range(1001)]}),
        inside({"enum": [f"{n:0100d}" for n in range(251)]}),
        {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(5001)}},
        deep(11),
    ],
    ids=range(19),
)
def test_what_strict_mode_cannot_say(schema: Any) -> None:
    with pytest.raises(NotStrictError) as caught:
        lower_openai(schema)
    assert str(caught.value)


def test_ten_levels_are_allowed() -> None:
    assert wrong(lower_openai(deep(10)), "openai") is None


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (
            {"animal": {"kind": "cat", "lives": None}, "colour": None, "tags": None, "home": None, "second": None},
            {"animal": {"kind": "cat"}, "home": None},
        ),
        (
            {"animal": {"kind": "dog", "tail": None}, "tags": ["x"]},
            {"animal": {"kind": "dog", "tail": None}, "tags": ["x"]},
        ),
        ({"strange": None}, {"strange": None}),
        ([1], [1]),
        (None, None),
    ],
)
def test_nulls_of_left_out_properties_go(answer: Any, kept: Any) -> None:
    schema = Pet.model_json_schema()
    assert has_optional(schema)
    assert drop_nulls(answer, schema, schema) == kept


def test_recursive_answers_keep_their_nulls() -> None:
    schema = {
        "$defs": {"N": {"type": "object", "properties": {"v": {"type": "string"}, "n": {"$ref": "#/$defs/N"}}}},
        "$ref": "#/$defs/N",
    }
    assert lower_openai(schema)["properties"]["n"] == {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]}
    answer = {"v": None, "n": {"v": "x", "n": {"v": None, "n": None}}}
    assert drop_nulls(answer, schema, schema) == {"n": {"v": "x", "n": {}}}


leaves = st.sampled_from([
    {"type": "integer", "minimum": 0},
    {"type": "string", "title": "T"},
    {"type": ["boolean", "null"]},
    {"enum": ["a", "b"], "default": "a"},
    {"const": 5},
    {"$ref": "#/$defs/D"},
    {"$ref": "#/$defs/D", "description": "here"},
    {"allOf": [{"$ref": "#/$defs/D"}]},
])  # fmt: skip


def wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["a", "b", "required", "properties", "type", "$ref", "items"])
    objects = st.dictionaries(names, inner, max_size=4).flatmap(
        lambda p: st.builds(
            lambda r: {"type": "object", "properties": p, "required": sorted(r)},
            st.sets(st.sampled_from(sorted(p))) if p else st.just(set()),
        )
    )
    arrays = st.builds(lambda i: {"type": "array", "items": i}, inner)
    unions = st.builds(lambda o: {"oneOf": o}, st.lists(inner, min_size=1, max_size=2))
    return objects | arrays | unions


@settings(max_examples=150, deadline=None)
@given(st.recursive(leaves, wider, max_leaves=12))
def test_any_schema(part: Any) -> None:
    """Lowered schemas pass the checker, and every answer to them leads back to one of the original."""
    definition = {"type": "object", "properties": {"n": {"type": "integer"}, "more": {"$ref": "#/$defs/D"}}}
    schema = {"type": "object", "properties": {"x": part}, "$defs": {"D": definition}}
    try:
        lowered = lower_openai(schema)
    except NotStrictError:
        return
    assert wrong(lowered, "openai") is None
    answer = example(lowered, "seed")
    jsonschema.validate(answer, lowered)
    if "oneOf" not in json.dumps(schema):  # `anyOf` stands for it: an answer may fit two branches
        jsonschema.validate(drop_nulls(answer, schema, schema), schema)
