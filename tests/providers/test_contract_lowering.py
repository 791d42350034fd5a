"""Lowering to the subsets of Anthropic and Gemini; Anthropic's SDK and the emulator's checker are the judges."""

from __future__ import annotations

import copy
import json
from enum import Enum
from typing import Annotated, Any, Literal

import jsonschema
import pydantic
import pytest
from annotated_types import Ge, Le, MaxLen, MinLen
from anthropic import transform_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from polar_llama.providers.lowering import ANTHROPIC, GEMINI, Subset, lower, rooted
from polar_llama.providers.schema import NotStrictError
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
    zeal: str
    name: Annotated[str, MinLen(2), MaxLen(40)]
    home: Address = pydantic.Field(description="the first one")
    others: Annotated[list[Address], MinLen(1)]
    colour: Colour
    always: Literal["yes"]
    scores: Annotated[list[Annotated[float, Ge(0), Le(1)]], MinLen(2), MaxLen(3)]
    nick: str | None = None


class Node(pydantic.BaseModel):
    label: str
    children: list["Node"]  # noqa: UP037 -- recursive


class Pair(pydantic.BaseModel):
    both: tuple[int, str]


class Counts(pydantic.BaseModel):
    words: dict[str, int]


PERSON, NODE, PAIR, COUNTS = (m.model_json_schema() for m in (Person, Node, Pair, Counts))


def untitled(schema: Any) -> Any:
    """Without titles, which cost tokens; descriptions begin where the SDK's have an empty line."""
    if isinstance(schema, list):
        return [untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: untitled(found) for name, found in schema.items() if name != "title" or isinstance(found, dict)}
    if isinstance(made.get("description"), str):
        made["description"] = made["description"].replace("\n\n{", " {").replace("default: None, ", "")
        made["description"] = made["description"].replace("{default: None}", "").strip()
        if not made["description"]:
            del made["description"]
    return made


@pytest.mark.parametrize("subset", [ANTHROPIC, GEMINI], ids=["anthropic", "gemini"])
def test_the_emulator_takes_it_and_answers_to_it_are_answers(subset: Subset) -> None:
    before = copy.deepcopy(PERSON)
    lowered = lower(PERSON, subset)
    assert before == PERSON
    assert wrong(lowered, "anthropic" if subset is ANTHROPIC else "gemini") is None
    assert list(lowered["properties"]) == list(PERSON["properties"])
    assert lowered["required"] == PERSON["required"]
    jsonschema.validate(example(lowered, "seed"), lowered)


def test_anthropic_keeps_what_its_sdk_keeps() -> None:
    theirs = untitled(transform_schema(Address))
    ours = lower(Address.model_json_schema(), ANTHROPIC)
    assert ours == theirs
    told = lower(PERSON, ANTHROPIC)["properties"]
    theirs = untitled(transform_schema(Person))["properties"]
    for name in ("zeal", "name", "others", "scores"):
        assert told[name] == theirs[name], name


@pytest.mark.parametrize(
    ("given", "anthropic", "gemini"),
    [
        ({"type": "integer", "minimum": 1}, {"type": "integer", "description": "{minimum: 1}"}, None),
        (
            {"type": "number", "exclusiveMinimum": 0, "description": "weight"},
            {"type": "number", "description": "weight {exclusiveMinimum: 0}"},
            {"type": "number", "description": "weight {exclusiveMinimum: 0}"},
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}, None),
        (
            {"type": "string", "format": "email"},
            None,
            {"type": "string", "description": "{format: email}"},
        ),
        (
            {"type": "string", "pattern": "^a"},
            {"type": "string", "description": "{pattern: ^a}"},
            {"type": "string", "description": "{pattern: ^a}"},
        ),
        ({"type": "string", "const": "a"}, None, {"type": "string", "enum": ["a"]}),
        ({"type": "boolean", "const": True}, None, {"type": "boolean", "description": "{const: True}"}),
        ({"type": "string", "enum": ["a", "b"], "default": "a", "title": "T"}, {"type": "string", "enum": ["a", "b"]},
         {"type": "string", "enum": ["a", "b"]}),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, None, None),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 3},
            {"type": "array", "items": {"type": "string"}, "description": "{maxItems: 3}"},
            None,
        ),
        (
            {"oneOf": [{"type": "string"}, {"type": "null"}], "discriminator": {"propertyName": "kind"}},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        ({"allOf": [{"type": "string"}], "description": "d"}, {"type": "string", "description": "d"},
         {"type": "string", "description": "d"}),
    ],
)  # fmt: skip
def test_keywords(given: Any, anthropic: Any, gemini: Any) -> None:
    """None: it stays as it is."""
    for subset, lowered in ((ANTHROPIC, anthropic), (GEMINI, gemini)):
        found = lower({"type": "object", "properties": {"x": given}}, subset)["properties"]["x"]
        assert found == (given if lowered is None else lowered)


def test_what_the_subsets_cannot_say() -> None:
    for schema in (NODE, PAIR, COUNTS):
        with pytest.raises(NotStrictError):
            lower(schema, ANTHROPIC)
        assert wrong(lower(schema, GEMINI), "gemini") is None
    for schema in ({}, {"type": "object", "properties": {"x": {}}}, {"type": "array"}, {"not": {"type": "object"}}):
        for subset in (ANTHROPIC, GEMINI):
            with pytest.raises(NotStrictError):
                lower(schema, subset)


def test_gemini_is_told_the_order() -> None:
    lowered = lower(PERSON, GEMINI)
    assert lowered["propertyOrdering"] == list(PERSON["properties"])
    assert lowered["properties"]["home"]["propertyOrdering"] == ["street", "number"]
    assert lower(COUNTS, GEMINI)["properties"]["words"]["additionalProperties"] == {"type": "integer"}


def test_a_recursive_root_is_written_out() -> None:
    assert NODE.get("$ref")
    written = rooted(NODE)
    assert (written["type"], written["$defs"]) == ("object", NODE["$defs"])
    assert lower(NODE, GEMINI)["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}


leaves = st.one_of(
    st.fixed_dictionaries({"type": st.just("integer")}, optional={"minimum": st.integers(0, 9), "default": st.just(3)}),
    st.fixed_dictionaries(
        {"type": st.just("string")}, optional={"minLength": st.integers(0, 9), "pattern": st.just("")}
    ),
    st.just({"type": "boolean", "const": True}),
    st.just({"$ref": "#/$defs/D"}),
    st.just({"$ref": "#/$defs/D", "description": "with a neighbour"}),
    st.just({"type": ["string", "null"]}),
)


def wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.dictionaries(st.sampled_from("zyxab"), inner, max_size=3)
    return st.one_of(
        names.map(lambda found: {"type": "object", "properties": found, "required": sorted(found)[:1]}),
        inner.map(lambda found: {"type": "array", "items": found, "minItems": 2}),
        st.lists(inner, min_size=1, max_size=2).map(lambda found: {"anyOf": found}),
        st.lists(inner, min_size=1, max_size=2).map(lambda found: {"oneOf": found}),
        inner.map(lambda found: {"type": "object", "additionalProperties": found}),
    )


@settings(max_examples=100, deadline=None)
@given(st.recursive(leaves, wider, max_leaves=12), st.sampled_from(["anthropic", "gemini"]))
def test_any_schema(part: Any, vendor: Any) -> None:
    """Lowered schemas pass the checker; answers to the original are answers to the lowered one."""
    definition = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    schema = {"type": "object", "properties": {"x": part}, "required": ["x"], "$defs": {"D": definition}}
    try:
        lowered = lower(schema, ANTHROPIC if vendor == "anthropic" else GEMINI)
    except NotStrictError:
        return
    assert wrong(lowered, vendor) is None
    answer = example(schema, "seed")
    jsonschema.validate(answer, lowered)
    assert json.dumps(lowered)
