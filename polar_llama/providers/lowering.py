"""JSON schemas in the subsets that Anthropic and Gemini enforce; OpenAI's is in `schema`.

What a subset lacks moves into the description, where the model reads it, as the vendors' own clients do.
It is still enforced: the answer is validated against the full type when it is read. Properties keep their
order: models write them in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polar_llama.providers.schema import NotStrictError, Schema, resolve

_TOLD = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "format", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "const",
})  # fmt: skip
_BEYOND = frozenset({
    "not", "if", "then", "else", "patternProperties", "propertyNames", "contains", "dependentRequired",
    "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef",
})  # fmt: skip
_DEFINITIONS = ("$defs", "definitions")


@dataclass(frozen=True, slots=True)
class Subset:
    """What a vendor enforces.

    Attributes:
        kept: The keywords that stay.
        formats: The formats that stay.
        most_min_items: The largest `minItems` that stays.
        closed: Whether objects must be closed; then mappings cannot be expressed.
        recursive: Whether schemas may hold themselves.
        tuples: Whether arrays may say what their first items are.
        ordered: Whether the order of properties is told by `propertyOrdering`.
    """

    kept: frozenset[str]
    formats: frozenset[str]
    most_min_items: float = float("inf")
    closed: bool = True
    recursive: bool = False
    tuples: bool = False
    ordered: bool = False


ANTHROPIC = Subset(
    kept=frozenset({"type", "description", "enum", "const", "minItems"}),
    formats=frozenset({
        "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
    }),
    most_min_items=1,
)  # fmt: skip
"""`output_config.format` (Anthropic's guide to structured outputs, and what its SDK lowers to); Bedrock follows it."""

GEMINI = Subset(
    kept=frozenset({"type", "description", "enum", "minimum", "maximum", "minItems", "maxItems"}),
    formats=frozenset({"date-time", "date", "time", "duration"}),
    closed=False,
    recursive=True,
    tuples=True,
    ordered=True,
)
"""`responseJsonSchema` (Gemini's guide to structured output)."""


def lower(schema: Schema, subset: Subset) -> Schema:
    """The schema in a vendor's subset; it allows every answer the original allows, but for open objects' extras.

    Args:
        schema: A JSON schema whose root is an object; it is not changed.
        subset: The subset.

    Raises:
        NotStrictError: If the subset cannot express it.

    >>> lower({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}, ANTHROPIC)["properties"]
    {'n': {'type': 'integer', 'description': '{minimum: 1}'}}
    """
    return _Lowering(schema, subset).root()


def rooted(schema: Schema) -> Schema:
    """The schema with its root written out: a recursive model's root is a reference, which tools do not take."""
    if "$ref" not in schema:
        return schema
    return {**resolve(schema, schema), **{name: schema[name] for name in _DEFINITIONS if name in schema}}


class _Lowering:
    def __init__(self, schema: Schema, subset: Subset) -> None:
        self.source = schema
        self.subset = subset
        self.done: dict[str, Schema] = {}
        self.open: list[str] = []

    def root(self) -> Schema:
        source = {k: v for k, v in rooted(self.source).items() if k not in _DEFINITIONS}
        lowered = self.lower(source, ())
        if lowered.get("type") != "object":
            raise NotStrictError("the root is not a plain object")
        if self.done:
            lowered["$defs"] = {name.rsplit("/", 1)[1]: found for name, found in self.done.items()}
        return lowered

    def lower(self, schema: Any, inlined: tuple[str, ...]) -> Schema:
        if not isinstance(schema, dict):
            raise NotStrictError("a schema is not an object")
        if beyond := _BEYOND & schema.keys():
            raise NotStrictError(f"'{min(beyond)}' is used")
        if "$ref" in schema:
            return self.reference(schema, inlined)
        if parts := schema.get("allOf"):
            if len(parts) > 1:
                raise NotStrictError("'allOf' holds several schemas")
            return self.lower({**parts[0], **{k: v for k, v in schema.items() if k != "allOf"}}, inlined)
        lowered = self.keywords(schema)
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            lowered["anyOf"] = [self.lower(branch, inlined) for branch in branches]
        kinds = schema.get("type", ())
        if "array" in kinds:
            self.array(schema, lowered, inlined)
        if "object" in kinds:
            self.object(schema, lowered, inlined)
        if not lowered.keys() & {"type", "enum", "const", "anyOf"}:
            raise NotStrictError("a value may be anything")
        return lowered

    def reference(self, schema: Schema, inlined: tuple[str, ...]) -> Schema:
        name = schema["$ref"]
        target = resolve({"$ref": name}, self.source)
        if name in self.open and not self.subset.recursive:
            raise NotStrictError("a schema holds itself")
        siblings = {k: v for k, v in schema.items() if k not in {"$ref", "title", "default"}}
        if siblings and name not in inlined:
            return self.lower({**target, **siblings}, (*inlined, name))
        if name not in self.done and name not in self.open:
            self.open.append(name)
            self.done[name] = {}  # its place in the order
            self.done[name] = self.lower(target, inlined)
            self.open.remove(name)
        return {"$ref": "#/$defs/" + name.rsplit("/", 1)[1]}

    def keywords(self, schema: Schema) -> Schema:
        subset = self.subset
        lowered = {k: v for k, v in schema.items() if k in subset.kept}
        if schema.get("format") in subset.formats:
            lowered["format"] = schema["format"]
        if lowered.get("minItems", 0) > subset.most_min_items:
            del lowered["minItems"]
        if "const" not in subset.kept and isinstance(schema.get("const"), str | int | float):
            lowered.setdefault("enum", [schema["const"]])
        enum = lowered.get("enum")
        if "const" not in subset.kept and enum and any(isinstance(v, bool) or v is None for v in enum):
            lowered.pop("enum")  # Gemini's enums are of strings and numbers
        told = {k: v for k, v in schema.items() if k in _TOLD and k not in lowered}
        if lowered.get("enum") and "const" in told:
            del told["const"]
        if told:
            words = ", ".join(f"{k}: {v}" for k, v in told.items())
            lowered["description"] = f"{lowered.get('description', '')} {{{words}}}".lstrip()
        return lowered

    def array(self, schema: Schema, lowered: Schema, inlined: tuple[str, ...]) -> None:
        if first := schema.get("prefixItems"):
            if not self.subset.tuples:
                raise NotStrictError("'prefixItems' is used")
            lowered["prefixItems"] = [self.lower(item, inlined) for item in first]
        if "items" in schema or not first:
            lowered["items"] = self.lower(schema.get("items", {}), inlined)

    def object(self, schema: Schema, lowered: Schema, inlined: tuple[str, ...]) -> None:
        names, more = schema.get("properties"), schema.get("additionalProperties")
        if self.subset.closed:
            if names is None or isinstance(more, dict):
                raise NotStrictError("an object may have any properties")
            lowered["additionalProperties"] = False
        elif more is not None:
            lowered["additionalProperties"] = self.lower(more, inlined) if isinstance(more, dict) else more
        if names is None:
            return
        lowered["properties"] = {name: self.lower(found, inlined) for name, found in names.items()}
        if required := schema.get("required"):
            lowered["required"] = list(required)
        if self.subset.ordered and len(names) > 1:
            lowered["propertyOrdering"] = list(names)
