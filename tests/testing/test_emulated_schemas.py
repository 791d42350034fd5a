"""What each vendor refuses about a schema."""

from __future__ import annotations

from typing import Any

import pytest

from polar_llama.testing.wire.schema import wrong


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = closed(n=schema)
    return schema


@pytest.mark.parametrize(
    ("schema", "openai", "anthropic", "gemini"),
    [
        (closed(n={"type": "integer"}), None, None, None),
        (closed(n={"type": "integer", "maximum": 3}), None, "maximum", None),
        (closed(n={"type": "string", "maxLength": 3}), None, "maxLength", None),
        (closed(n={"type": "array", "items": {"type": "string"}, "minItems": 2}), None, "minItems", None),
        (closed(n={"oneOf": [{"type": "string"}]}), "oneOf", "oneOf", None),
        (closed(n={"not": {"type": "string"}}), "not", "not", "not"),
        (closed(n={"anyOf": [closed(), {"type": "object"}]}), "additional", "additional", None),
        (closed(n={"type": ["object", "null"]}), "additional", "additional", None),
        (closed(n={"type": "array", "items": {"type": "object"}}), "additional", "additional", None),
        ({**closed(n={"type": "integer"}), "required": []}, "Missing 'n'", None, None),
        ({"type": "array", "items": {"type": "string"}}, "type 'object'", "type 'object'", None),
        ({"anyOf": [closed()]}, "type 'object'", "type 'object'", None),
        (closed(n={"$ref": "#/$defs/absent"}), "resolved", "resolved", "resolved"),
        ({**closed(n={"$ref": "#/$defs/N"}), "$defs": {"N": closed()}}, None, None, None),
        (
            {**closed(n={"$ref": "#/$defs/N"}), "$defs": {"N": closed(n={"$ref": "#/$defs/N"})}},
            None,
            "recursive",
            None,
        ),
        (closed(n={"enum": list(range(1001))}), "enum values", None, None),
        (nested(10), None, None, None),
        (nested(11), "levels", None, None),
        (closed(**{f"p{i}": {"type": "null"} for i in range(5001)}), "5000 properties", None, None),
        (closed(n=5), "must be an object", "must be an object", "must be an object"),
    ],
)
def test_subsets(schema: Any, openai: str | None, anthropic: str | None, gemini: str | None) -> None:
    found = wrong(schema, "openai"), wrong(schema, "anthropic"), wrong(schema, "gemini")
    for why, expected in zip(found, (openai, anthropic, gemini), strict=True):
        assert (why is None) == (expected is None), why
        assert (expected or "") in (why or "")
