"""The JSON schema a provider enforces: Pydantic's, without what costs tokens and says nothing."""

from __future__ import annotations

from inspect import getdoc
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

if TYPE_CHECKING:
    from pydantic_core.core_schema import DecimalSchema, NamedTupleSchema

DECIMAL = r"^-?[0-9]+([.][0-9]+)?$"
"""What a decimal looks like as a text, without the escapes that some grammars do not know."""


class AnswerSchema(GenerateJsonSchema):
    """Pydantic's schema with three changes.

    Fields have no made-up titles (`"title": "Age"` next to `"age"`); a decimal that is written as a text, to be exact,
    is no other text; and a NamedTuple is an object with named properties, since providers enforce objects well and
    tuples badly. Pydantic sorts keywords and keeps the order of properties.
    """

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 -- as in the base class

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Never: a field's own title stays."""
        return False

    def decimal_schema(self, schema: DecimalSchema) -> JsonSchemaValue:
        """A number, or a text that is one."""
        made = super().decimal_schema(schema)
        for option in made.get("anyOf", ()):
            if option.get("type") == "string":
                option.setdefault("pattern", DECIMAL)
        return made

    def named_tuple_schema(self, schema: NamedTupleSchema) -> JsonSchemaValue:
        """An object; Pydantic reads one as well as an array."""
        fields = schema["fields"]
        properties = {f["name"]: self.generate_inner(f["schema"]) for f in fields}
        required = [f["name"] for f in fields if f["schema"]["type"] != "default"]
        name, doc = schema["cls"].__name__, getdoc(schema["cls"]) or ""
        described = {} if doc.startswith(f"{name}(") else {"description": doc}  # Python writes one by itself
        return {"type": "object", "title": name, **described, "properties": properties, "required": required}
