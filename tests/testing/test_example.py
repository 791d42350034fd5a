import enum
from datetime import date, datetime, time
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from polar_llama.testing import example


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Node(BaseModel):
    name: str
    children: list["Node"]
    parent: "Node | None" = None


class Person(BaseModel):
    name: Annotated[str, Field(min_length=30, max_length=40)]
    age: Annotated[int, Field(ge=18, le=21)]
    height: Annotated[float, Field(gt=1.5, lt=1.6)]
    even: Annotated[int, Field(multiple_of=2, ge=3)]
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    born: date
    seen: datetime
    at: time
    colour: Colour
    kind: Literal["a", "b"]
    tags: Annotated[list[str], Field(min_length=4, max_length=5)]
    choices: set[Literal["x", "y"]]
    pair: tuple[int, str]
    either: int | str | None
    scores: dict[str, float]
    ok: bool


@pytest.mark.parametrize("of", [Person, Node, Colour, list[int], int | None, dict[str, Person], tuple[bool, ...]])
@pytest.mark.parametrize("seed", range(20))
def test_the_value_validates(of: Any, seed: int) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(of)
    schema = adapter.json_schema()
    value = example(schema, seed)
    jsonschema.validate(value, schema)
    adapter.validate_python(value, strict=False)
    assert value == example(schema, seed)


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}], "required": []},
        {"allOf": [{"required": ["a"]}, {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]}]},
        {"type": "number", "multipleOf": 0.5, "minimum": 3, "maximum": 4},
        {"type": "number", "exclusiveMaximum": -5},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
        {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        {"type": "string", "pattern": r"^\d{3}$"},
        {"type": "string", "maxLength": 2},
        {"properties": {"a": {"items": {"type": "integer"}, "maxItems": 0}}},
        {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 2, "maxItems": 2},
        {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False},
        {"type": "object", "minProperties": 3, "additionalProperties": {"type": "boolean"}},
        {"oneOf": [{"type": "integer"}, {"type": "boolean"}]},
        {"type": ["string", "null"], "minLength": 20},
        *({"type": "string", "format": f} for f in ("date", "date-time", "uuid", "email", "uri", "ipv4", "ipv6")),
        True,
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_every_keyword_is_followed(schema: Any, seed: int) -> None:
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    checker.validate(example(schema, seed))


def test_other_seeds_give_other_values() -> None:
    schema = {"type": "string"}
    assert len({example(schema, seed) for seed in range(50)}) == 50
    assert {example({"type": "boolean"}, seed) for seed in range(20)} == {True, False}
    assert {example({"enum": ["a", "b", "c"]}, seed) for seed in range(40)} == {"a", "b", "c"}


def test_how_a_schema_is_spelled_does_not_matter() -> None:
    plain = {"type": "object", "properties": {"n": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}
    strict = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/N"}},
        "$defs": {"N": {"type": ["integer", "null"]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    values = [example(plain, seed) for seed in range(50)]
    assert values == [example(strict, seed) for seed in range(50)]
    assert {type(v["n"]) for v in values} == {int, type(None)}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"$ref": "#/$defs/absent"},
        {"type": "quaternion"},
        {"type": "string", "pattern": "^(?=a)(?=b)$"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    ],
)
def test_what_has_no_example_says_so(schema: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"schema|pattern"):
        example(schema)


@given(st.integers(-50, 50), st.integers(0, 20), st.integers(0, 99))
def test_bounds_in_a_description_are_kept(least: int, more: int, seed: int) -> None:
    """As the lowering for vendors that do not enforce them writes them."""
    number = {"type": "integer", "description": f"How many. {{minimum: {least}, maximum: {least + more}}}"}
    items = {"type": "array", "items": number, "description": "{minItems: 2, maxItems: 3}"}
    found = example({"type": "object", "properties": {"n": number, "list": items}}, seed)
    assert all(least <= n <= least + more for n in (found["n"], *found["list"]))
    assert 2 <= len(found["list"]) <= 3
