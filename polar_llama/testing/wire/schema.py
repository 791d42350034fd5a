"""The JSON schema subsets that vendors accept for structured answers.

Checked once per schema: a schema is recognised by its marshalled bytes.
"""

from __future__ import annotations

import marshal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Subset = Literal["openai", "anthropic", "gemini"]

_FORBIDDEN: dict[str, frozenset[str]] = {
    "openai": frozenset({
        "allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties",
    }),
    "anthropic": frozenset({
        "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
        "maxItems", "uniqueItems",
    }),
    "gemini": frozenset({"allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"}),
}  # fmt: skip
_MAX_PROPERTIES, _MAX_LEVELS, _MAX_ENUM = 5000, 10, 1000  # OpenAI, 2026-02


def wrong(schema: Mapping[str, Any], subset: Subset) -> str | None:
    """What a vendor refuses about a schema, or None."""
    return _wrong(marshal.dumps(dict(schema)), subset)


@lru_cache(maxsize=1024)
def _wrong(marshalled: bytes, subset: Subset) -> str | None:
    schema = marshal.loads(marshalled)  # noqa: S302 -- written by the line above
    if subset != "gemini" and (schema.get("type") != "object" or "anyOf" in schema):
        found = "None" if "anyOf" in schema else repr(schema.get("type"))
        return f"In context=(), schema must have type 'object' and not have 'anyOf' at the top level, got {found}."
    checker = _Checker(schema, subset)
    return checker.check(schema, (), 0) or checker.size()


class _Checker:
    def __init__(self, root: Mapping[str, Any], subset: Subset) -> None:
        self.root, self.subset = root, subset
        self.properties = self.enums = 0

    def size(self) -> str | None:
        if self.subset == "openai" and self.properties > _MAX_PROPERTIES:
            return f"the schema has more than {_MAX_PROPERTIES} properties."
        if self.subset == "openai" and self.enums > _MAX_ENUM:
            return f"the schema has more than {_MAX_ENUM} enum values."
        return None

    def check(self, schema: Any, path: tuple[str, ...], level: int) -> str | None:
        if not isinstance(schema, dict):
            return None if isinstance(schema, bool) else f"In context={path}, schema must be an object."
        for keyword in schema:
            if keyword in _FORBIDDEN[self.subset]:
                return f"In context={path}, '{keyword}' is not permitted."
        if self.subset == "anthropic" and schema.get("minItems", 0) not in {0, 1}:
            return f"In context={path}, 'minItems' values other than 0 or 1 are not supported."
        self.enums += len(schema.get("enum", ()))
        return self.object(schema, path, level) or self.children(schema, path, level)

    def object(self, schema: Mapping[str, Any], path: tuple[str, ...], level: int) -> str | None:
        kind = schema.get("type")
        if self.subset == "gemini" or not (kind == "object" or (isinstance(kind, list) and "object" in kind)):
            return None
        if schema.get("additionalProperties") is not False:
            return f"In context={path}, 'additionalProperties' is required to be supplied and to be false."
        names = schema.get("properties", {})
        self.properties += len(names)
        if self.subset == "openai":
            if missing := [n for n in names if n not in schema.get("required", ())]:
                return (
                    f"In context={path}, 'required' is required to be supplied and to be an array including every "
                    f"key in properties. Missing '{missing[0]}'."
                )
            if level >= _MAX_LEVELS:
                return f"the schema has more than {_MAX_LEVELS} levels of nesting."
        return None

    def children(self, schema: Mapping[str, Any], path: tuple[str, ...], level: int) -> str | None:
        if ref := schema.get("$ref"):
            return self.reference(str(ref), path)
        for keyword in ("properties", "$defs", "definitions"):
            for name, child in schema.get(keyword, {}).items():
                if found := self.check(child, (*path, keyword, name), level + (keyword == "properties")):
                    return found
        for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
            for i, child in enumerate(schema.get(keyword, ())):
                if found := self.check(child, (*path, keyword, str(i)), level):
                    return found
        return self.check(schema["items"], (*path, "items"), level) if "items" in schema else None

    def reference(self, ref: str, path: tuple[str, ...]) -> str | None:
        parts = ref.split("/")
        found: Any = self.root
        for part in parts[1:]:
            found = found.get(part) if isinstance(found, dict) else None
        if parts[0] != "#" or found is None:
            return f"In context={path}, reference to '{ref}' cannot be resolved."
        if self.subset == "anthropic" and tuple(parts[1:]) == path[: len(parts) - 1]:
            return f"In context={path}, recursive schemas are not supported."
        return None
