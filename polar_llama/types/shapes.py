"""From what Pydantic understood of an annotation to the shape of a column: a dtype, and plain values for it.

Pydantic's core schema is read, not the annotation: forward references, aliases of types, generics, `Required`,
inheritance and defaults are resolved there, by the library that will validate. A kind that no function here
knows is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

import polars as pl

from polar_llama.errors import ConfigurationError
from polar_llama.types import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Schema = Any  # a dict by `pydantic_core.core_schema`, open to every kind


@dataclass(frozen=True, slots=True)
class Shape:
    """What a column needs to know of an answer.

    Attributes:
        dtype: The column's dtype.
        plain: From a validated value, not None, to what `dtype` holds: a scalar, a dict or a list.
    """

    dtype: pl.DataType
    plain: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the annotation we are.

    Attributes:
        path: For messages: `Order.items[].price`.
        definitions: The schemas that are referred to by name.
        inside: The names of the types around this place.
    """

    path: str
    definitions: Mapping[str, Schema] = field(default_factory=dict)
    inside: tuple[str, ...] = ()

    def at(self, step: str) -> Place:
        """A place further in."""
        return replace(self, path=self.path + step)


def shape_of(schema: Schema, place: Place) -> Shape:
    """The shape of what a core schema validates.

    Raises:
        ConfigurationError: If no column can hold it.
    """
    ref = schema.get("ref")
    if ref in place.inside:
        _refuse(place, "refers to itself, and a column has a fixed depth", "ask for a list, or stop at a fixed depth")
    if ref is not None:
        place = replace(place, inside=(*place.inside, ref))
    kind = schema["type"]
    if kind in _LEAVES:
        return _LEAVES[kind]
    if kind in _AROUND:
        return shape_of(schema[_AROUND[kind]], place)
    build = _BUILDERS.get(kind)
    if build is None:
        what, hint = _REFUSED.get(kind, (f"is a type that has no dtype ({kind})", "use one of the supported types"))
        _refuse(place, what, hint)
    return build(schema, place)


def _literal(schema: Schema, place: Place) -> Shape:
    choices = [v for v in schema["expected"] if v is not None]
    if any(isinstance(c, Enum) and not isinstance(c, str | int) for c in choices):
        _refuse(place, "is a Literal of members that JSON does not know", "use the Enum, or a Literal of its values")
    return _labels(choices, place)


def _enum(schema: Schema, place: Place) -> Shape:
    return _labels(schema["members"], place)


def _labels(choices: list[Any], place: Place) -> Shape:
    """A choice. An enum's labels are its values, not its names: values are what the model is shown."""
    values = [c.value if isinstance(c, Enum) else c for c in choices]
    if values and all(isinstance(v, str) for v in values):
        values = [str.__str__(v) for v in values]
        dtype: pl.DataType = pl.Enum(values)
    elif {type(v) for v in values} == {bool}:
        dtype = pl.Boolean()
    elif {type(v) for v in values} == {int} and all(leaves.INT64_MIN <= v <= leaves.INT64_MAX for v in values):
        dtype = pl.Int64()
    else:
        _refuse(place, "is a choice of several kinds of values", "use labels that are all str, or all 64-bit int")
    return Shape(dtype, leaves.one_of({**dict(zip(choices, values, strict=True)), **{v: v for v in values}}))


def _decimal(schema: Schema, _: Place) -> Shape:
    """38 digits are the most Polars and DuckDB hold; 9 after the point where the type does not say."""
    precision = min(schema.get("max_digits", 38), 38)
    scale = min(schema.get("decimal_places", min(9, precision)), precision)
    return Shape(pl.Decimal(precision, scale), leaves.exact(precision, scale))


def _datetime(schema: Schema, _: Place) -> Shape:
    if schema.get("tz_constraint") in {None, "naive"}:
        return Shape(pl.Datetime("us"), leaves.naive)
    return Shape(pl.Datetime("us", "UTC"), leaves.aware)


def _items(schema: Schema, place: Place) -> Shape:
    return shape_of(schema.get("items_schema") or {"type": "any"}, place.at("[]"))


def _list(schema: Schema, place: Place) -> Shape:
    items = _items(schema, place)
    plain = items.plain
    return Shape(pl.List(items.dtype), lambda values: [None if v is None else plain(v) for v in values])


def _set(schema: Schema, place: Place) -> Shape:
    """A List in sorted order: a set has none, and equal answers must be equal values."""
    items = _items(schema, place)
    if items.dtype.is_nested():
        _refuse(place, "is a set of structs or lists", "use a list")
    plain = items.plain

    def ordered(values: Any) -> list[Any]:
        nulls = [None] if None in values else []
        return sorted(plain(v) for v in values if v is not None) + nulls

    return Shape(pl.List(items.dtype), ordered)


def _tuple(schema: Schema, place: Place) -> Shape:
    items = schema["items_schema"]
    if schema.get("variadic_item_index") != 0 or len(items) != 1:
        _refuse(place, "is a tuple of a fixed length", "use a NamedTuple or a model with named fields, or list[...]")
    return _list({"items_schema": items[0]}, place)


def _union(schema: Schema, place: Place) -> Shape:
    choices = [c[0] if isinstance(c, tuple) else c for c in schema["choices"]]
    if {c["type"] for c in choices} != {"int", "float"}:
        _refuse(place, *_ONE_TYPE)
    return _LEAVES["float"]


def _model(schema: Schema, place: Place) -> Shape:
    if schema.get("root_model"):
        inner = shape_of(schema["schema"], place)
        plain = inner.plain
        return Shape(inner.dtype, lambda v: None if v.root is None else plain(v.root))
    body = schema["schema"]
    while "fields" not in body:  # validators of the whole model stand around its fields
        body = body["schema"]
    return _struct(body["fields"].items(), getattr, place)


def _dataclass(schema: Schema, place: Place) -> Shape:
    body = schema["schema"]
    while body["type"] != "dataclass-args":
        body = body["schema"]
    return _struct(((f["name"], f) for f in body["fields"] if not f.get("init_only")), getattr, place)


def _named_tuple(schema: Schema, place: Place) -> Shape:
    return _struct(((f["name"], f) for f in schema["fields"]), getattr, place)


def _typed_dict(schema: Schema, place: Place) -> Shape:
    return _struct(schema["fields"].items(), dict.get, place)


def _struct(fields: Iterable[tuple[str, Schema]], get: Callable[[Any, str], Any], place: Place) -> Shape:
    """A Struct under the Python names of the fields; aliases are for the model, who sees them in the schema."""
    shapes = {name: shape_of(f["schema"], place.at(f".{name}")) for name, f in fields}
    if not shapes:
        _refuse(place, "has no fields", "add a field")
    plains = tuple((name, shape.plain) for name, shape in shapes.items())

    def plain(value: Any) -> dict[str, Any]:
        return {name: None if (v := get(value, name)) is None else of(v) for name, of in plains}

    return Shape(pl.Struct({name: shape.dtype for name, shape in shapes.items()}), plain)


def _definitions(schema: Schema, place: Place) -> Shape:
    named = {d["ref"]: d for d in schema["definitions"]}
    return shape_of(schema["schema"], replace(place, definitions={**place.definitions, **named}))


def _reference(schema: Schema, place: Place) -> Shape:
    return shape_of(place.definitions[schema["schema_ref"]], place)


def _refuse(place: Place, what: str, hint: str) -> NoReturn:
    msg = (
        f"returns: {place.path} {what}. Hint: {hint}. Supported are str, bool, int, float, Decimal, date, datetime, "
        "time, timedelta, Literal and Enum, list, set and tuple[T, ...], Optional, and pydantic models, TypedDicts, "
        "dataclasses and NamedTuples of these"
    )
    raise ConfigurationError(msg)


_LEAVES = {
    "str": Shape(pl.String(), leaves.text),
    "uuid": Shape(pl.String(), leaves.written),
    "url": Shape(pl.String(), leaves.written),
    "multi-host-url": Shape(pl.String(), leaves.written),
    "bool": Shape(pl.Boolean(), leaves.truth),
    "int": Shape(pl.Int64(), leaves.whole),
    "float": Shape(pl.Float64(), leaves.number),
    "date": Shape(pl.Date(), leaves.date),
    "time": Shape(pl.Time(), leaves.clock),
    "timedelta": Shape(pl.Duration("us"), leaves.duration),
}

# A validator around a type keeps its dtype: should it give something else, the leaf says so.
_AROUND = {
    "nullable": "schema",
    "default": "schema",
    "custom-error": "schema",
    "function-before": "schema",
    "function-after": "schema",
    "function-wrap": "schema",
    "lax-or-strict": "lax_schema",
    "json-or-python": "json_schema",
}

_BUILDERS: dict[str, Callable[[Schema, Place], Shape]] = {
    "literal": _literal,
    "enum": _enum,
    "decimal": _decimal,
    "datetime": _datetime,
    "list": _list,
    "set": _set,
    "frozenset": _set,
    "tuple": _tuple,
    "union": _union,
    "model": _model,
    "dataclass": _dataclass,
    "named-tuple": _named_tuple,
    "typed-dict": _typed_dict,
    "definitions": _definitions,
    "definition-ref": _reference,
}

_ONE_TYPE = ("is one of several types", "use one type, or a model with an optional field for each")
_REFUSED = {
    "any": ("is of any type", "say what it is: list[str] instead of list, for example"),
    "dict": ("is a dict, whose keys are not known before the answers", "use a model, or a list of models {key, value}"),
    "union": _ONE_TYPE,
    "tagged-union": _ONE_TYPE,
    "none": ("is always null", "say what it is when it is not null"),
    "call": ("is a function, or a NamedTuple that this pydantic does not describe", "use a type, such as a dataclass"),
    "bytes": ("is bytes", "use str"),
    "function-plain": ("is validated by a function alone", "use AfterValidator on a supported type"),
}
