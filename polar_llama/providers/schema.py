"""JSON schemas as OpenAI's strict mode takes them, and answers led back to the schema that was asked for.

Strict mode knows a subset of JSON Schema (OpenAI's guide to structured outputs, 2026-02): every object is
closed, every property is required, and few keywords may stand. What is dropped here is still enforced: the
answer is validated against the full type when it is read.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

MAX_PROPERTIES, MAX_LEVELS, MAX_ENUM, MAX_CHARACTERS = 5000, 10, 1000, 120_000
LONG_ENUM, MAX_LONG_ENUM_CHARACTERS = 250, 15_000

_KEPT = frozenset({
    "type", "description", "enum", "const", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
})  # fmt: skip
_TOLD = frozenset({"minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_BEYOND = frozenset({
    "not", "if", "then", "else", "patternProperties", "propertyNames", "prefixItems", "contains", "dependentRequired",
    "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef",
})  # fmt: skip


class NotStrictError(ValueError):
    """The schema says something that strict mode cannot; the message names it."""


def lower_openai(schema: Schema) -> Schema:
    """The schema in OpenAI's strict subset; it allows every answer the original allows, but for open objects' extras.

    Objects are closed, all properties are required (the optional ones may be null instead), `oneOf` becomes
    `anyOf`, a single `allOf` is unwrapped, a `$ref` with neighbours is written out, defaults and titles go,
    and keywords strict mode does not know move into the description.

    Args:
        schema: A JSON schema; it is not changed.

    Raises:
        NotStrictError: If the subset cannot express it: open mappings, tuples, `not`, anything goes.

    >>> lowered = lower_openai({"type": "object", "properties": {"n": {"type": "integer", "default": 3}}})
    >>> lowered["properties"], lowered["required"], lowered["additionalProperties"]
    ({'n': {'type': ['integer', 'null']}}, ['n'], False)
    """
    return _Lowering(schema).root()


class _Lowering:
    def __init__(self, schema: Schema) -> None:
        self.source = schema
        self.definitions: Schema = {}
        self.waiting: list[str] = []
        self.properties = self.enums = self.characters = 0

    def root(self) -> Schema:
        source = {k: v for k, v in self.source.items() if k not in {"$defs", "definitions"}}
        lowered = self.lower(source, (), 0)
        if set(lowered) == {"$ref"}:  # a recursive model: its root is a reference
            lowered = self.lower(resolve(source, self.source), (), 0)
        if lowered.get("type") != "object" or "anyOf" in lowered:
            raise NotStrictError("the root is not a plain object")
        while self.waiting:
            name = self.waiting.pop()
            self.definitions[name] = self.lower(resolve({"$ref": name}, self.source), (), 1)
        if self.definitions:
            lowered["$defs"] = {name.rsplit("/", 1)[1]: found for name, found in self.definitions.items()}
        if self.properties > MAX_PROPERTIES or self.enums > MAX_ENUM or self.characters > MAX_CHARACTERS:
            raise NotStrictError("the schema is too large")
        return lowered

    def lower(self, schema: Any, inlined: tuple[str, ...], level: int) -> Schema:
        """One schema.

        Args:
            schema: The schema as written.
            inlined: The references that were written out on the way here: a recursive one stays a reference.
            level: How many objects are around it.
        """
        if not isinstance(schema, dict):
            raise NotStrictError("a schema is not an object")
        if beyond := _BEYOND & schema.keys():
            raise NotStrictError(f"'{min(beyond)}' is used")
        if "$ref" in schema:
            return self.reference(schema, inlined, level)
        if parts := schema.get("allOf"):
            if len(parts) > 1:
                raise NotStrictError("'allOf' holds several schemas")
            rest = {k: v for k, v in schema.items() if k != "allOf"}
            return self.lower({**parts[0], **rest}, inlined, level)
        lowered = self.keywords(schema)
        for branches in (schema.get("anyOf"), schema.get("oneOf")):
            if branches:
                lowered["anyOf"] = [self.lower(branch, inlined, level) for branch in branches]
        self.children(schema, lowered, inlined, level)
        if not lowered.keys() & {"type", "enum", "const", "anyOf"}:
            raise NotStrictError("a value may be anything")
        return lowered

    def reference(self, schema: Schema, inlined: tuple[str, ...], level: int) -> Schema:
        name = schema["$ref"]
        target = resolve({"$ref": name}, self.source)
        siblings = {k: v for k, v in schema.items() if k not in {"$ref", "title", "default"}}
        if siblings and name not in inlined:
            return self.lower({**target, **siblings}, (*inlined, name), level)
        if name not in self.definitions:
            self.definitions[name] = {}
            self.waiting.append(name)
        return {"$ref": "#/$defs/" + name.rsplit("/", 1)[1]}

    def keywords(self, schema: Schema) -> Schema:
        lowered = {k: v for k, v in schema.items() if k in _KEPT}
        if schema.get("format") in _FORMATS:
            lowered["format"] = schema["format"]
        told = {k: v for k, v in schema.items() if k in _TOLD or (k == "format" and v not in _FORMATS)}
        if told:
            words = ", ".join(f"{k}: {v}" for k, v in told.items())
            lowered["description"] = f"{lowered.get('description', '')} {{{words}}}".lstrip()
        values = lowered.get("enum", ())
        length = sum(len(v) for v in values if isinstance(v, str))
        if len(values) > LONG_ENUM and length > MAX_LONG_ENUM_CHARACTERS:
            raise NotStrictError("an enum is too long")
        self.enums += len(values)
        self.characters += length
        return lowered

    def children(self, schema: Schema, lowered: Schema, inlined: tuple[str, ...], level: int) -> None:
        kinds = _kinds(schema)
        if "array" in kinds:
            lowered["items"] = self.lower(schema.get("items", {}), inlined, level + 1)
        if "object" in kinds:
            if "properties" not in schema or isinstance(schema.get("additionalProperties"), dict):
                raise NotStrictError("an object may have any properties")
            if level >= MAX_LEVELS:
                raise NotStrictError(f"objects are nested deeper than {MAX_LEVELS} levels")
            names = schema["properties"]
            required = schema.get("required", ())
            self.properties += len(names)
            self.characters += sum(map(len, names))
            lowered["properties"] = {
                name: inner if name in required else _nullable(inner, found, self.source)
                for name, found in names.items()
                for inner in [self.lower(found, inlined, level + 1)]
            }
            lowered["required"] = list(names)
            lowered["additionalProperties"] = False


def has_optional(schema: Any, root: Schema | None = None) -> bool:
    """Whether lowering gave some property a null that the schema itself does not allow."""
    root = schema if root is None else root
    if isinstance(schema, list):
        return any(has_optional(s, root) for s in schema)
    if not isinstance(schema, dict):
        return False
    names, required = schema.get("properties"), schema.get("required", ())
    if isinstance(names, dict) and any(n not in required and not _takes_null(p, root) for n, p in names.items()):
        return True
    return any(has_optional(s, root) for s in schema.values())


def drop_nulls(value: Any, schema: Any, root: Schema) -> Any:
    """An answer without the nulls that stand for optional properties the model left out.

    Args:
        value: The answer, parsed.
        schema: The original schema of it, before lowering.
        root: The schema that holds the definitions.
    """
    schema = resolve(schema, root)
    if isinstance(value, list):
        return [drop_nulls(v, schema.get("items"), root) for v in value] if "items" in schema else value
    if not isinstance(value, dict):
        return value
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        if resolve(branch, root).get("properties", {}).keys() == value.keys():
            return drop_nulls(value, branch, root)
    names, required = schema.get("properties", {}), schema.get("required", ())
    return {
        name: drop_nulls(v, names.get(name), root)
        for name, v in value.items()
        if v is not None or name in required or _takes_null(names.get(name), root)
    }


def resolve(schema: Any, root: Schema) -> Schema:
    """The schema a local reference leads to; any other schema is itself."""
    seen: set[str] = set()
    while isinstance(schema, dict) and "$ref" in schema:
        name = schema["$ref"]
        if name in seen or not isinstance(name, str) or not name.startswith("#/"):
            raise NotStrictError("a reference leads nowhere")
        seen.add(name)
        found: Any = root
        for step in name[2:].split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        schema = found
    return schema if isinstance(schema, dict) else {}


def _kinds(schema: Schema) -> tuple[str, ...]:
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else tuple(kind)


def _takes_null(schema: Any, root: Schema) -> bool:
    if not schema:  # anything goes
        return True
    schema = resolve(schema, root)
    if "const" in schema or "enum" in schema:
        return None in schema.get("enum", (schema.get("const", 0),))
    branches = (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ()))
    return "null" in _kinds(schema) or any(_takes_null(branch, root) for branch in branches)


def _nullable(lowered: Schema, original: Any, root: Schema) -> Schema:
    if _takes_null(original, root):
        return lowered
    if isinstance(lowered.get("type"), str) and not lowered.keys() & {"enum", "const"}:
        return {**lowered, "type": [lowered["type"], "null"]}
    return {"anyOf": [lowered, {"type": "null"}]}
