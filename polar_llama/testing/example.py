"""A deterministic value that a JSON schema accepts.

The value depends on the seed, the path of property names, and the keywords that constrain values;
not on how the schema is spelled. `{"type": ["integer", "null"]}`, an `anyOf` of the two, added
`required` or `additionalProperties` give the same value, so that each vendor's lowering of one
schema is answered alike. Bounds that a lowering has put into the description, as `{minimum: 0, maximum: 10}`,
are kept, as a model would.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEEP = 6
"""From this depth on, recursive schemas are ended: nulls, empty lists, no optional properties."""

_BOTTOM = 64
_BRACED = re.compile(r"\{([^{}]*)\}$")
_BOUND = re.compile(
    r"(?:^|, )(minimum|maximum|exclusive(?:Min|Max)imum|multipleOf|m(?:in|ax)(?:Items|Length)): (-?[\d.]+)"
)
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def example(schema: Mapping[str, Any], seed: str | int = 0) -> Any:
    """A value that `schema` accepts, the same for the same seed.

    Args:
        schema: A JSON schema: objects, arrays, enums, consts, `anyOf`, `oneOf`, `allOf`, local
            `$ref`, and the constraining keywords of numbers, strings and arrays.
        seed: Anything; another seed gives another value.

    Returns:
        What `json.loads` could have returned.

    Raises:
        ValueError: If the schema admits no finite value, or holds what is not supported here.

    >>> example({"type": "object", "properties": {"n": {"type": "integer", "minimum": 5, "maximum": 5}}})
    {'n': 5}
    """
    return _Maker(schema, str(seed)).make(schema, "", 0)


class _Maker:
    __slots__ = ("root", "seed")

    def __init__(self, root: Mapping[str, Any], seed: str) -> None:
        self.root = root
        self.seed = seed

    def draw(self, path: str) -> int:
        return int.from_bytes(
            blake2b(f"{self.seed}|{path}".encode(errors="surrogatepass"), digest_size=8).digest(), "big"
        )

    def make(self, schema: Any, path: str, depth: int) -> Any:
        if depth > _BOTTOM:
            raise ValueError("the schema admits no finite value: it refers to itself without an end")
        if not isinstance(schema, dict) or "$ref" in schema or "allOf" in schema:
            schema = self.resolve(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][self.draw(path + "?") % len(schema["enum"])]
        options = _options(schema)
        if options:
            return self.make(self.choose(options, path, depth), path, depth + 1)
        kind = schema.get("type") or _implied(schema)
        maker = _MAKERS.get(kind)
        if maker is None:
            raise ValueError(f"unknown type {kind!r} in the schema")
        return maker(self, {**_told(schema), **schema}, path, depth)

    def resolve(self, given: Any) -> Mapping[str, Any]:
        """Follow `$ref` and merge `allOf`; siblings of either constrain further."""
        schema: Mapping[str, Any] = given if isinstance(given, dict) else {}
        for _ in range(_BOTTOM):
            if "$ref" in schema:
                schema = {**self.pointed(schema["$ref"]), **{k: v for k, v in schema.items() if k != "$ref"}}
            elif "allOf" in schema:
                schema = _merged(
                    [{k: v for k, v in schema.items() if k != "allOf"}, *map(self.resolve, schema["allOf"])]
                )
            else:
                return schema
        raise ValueError("the schema's references lead in a circle")

    def pointed(self, ref: str) -> Mapping[str, Any]:
        found: Any = self.root
        for part in ref.removeprefix("#").split("/")[1:]:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise ValueError(f"the schema refers to {ref!r}, which it does not hold")  # noqa: TRY004 -- the schema's value is wrong, not a Python type
        return found

    def choose(self, options: list[Any], path: str, depth: int) -> Any:
        nulls = [o for o in options if _is_null(o)]
        others = [o for o in options if not _is_null(o)]
        if nulls and (not others or depth >= DEEP or self.draw(path + "?null") % 4 == 0):
            return nulls[0]
        if depth >= DEEP:
            return min(others, key=lambda o: "$ref" in json.dumps(self.resolve(o)))
        return others[self.draw(path + "?") % len(others)]

    def object(self, schema: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        inside = schema.get("properties", {}).items()
        made = {n: self.make(s, f"{path}/{n}", depth + 1) for n, s in inside if depth < DEEP or n in required}
        extra = schema.get("additionalProperties")
        least = max(schema.get("minProperties", 0), 1 if isinstance(extra, dict) and not made and depth < DEEP else 0)
        for i in range(len(made), least):
            made[f"key_{i}"] = self.make(extra, f"{path}/key_{i}", depth + 1)
        return made

    def array(self, schema: Mapping[str, Any], path: str, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems", [])
        least = max(schema.get("minItems", 0), len(prefix))
        wanted = least if depth >= DEEP or schema.get("items") is False else max(least, 1 + self.draw(path + "#") % 3)
        wanted = min(wanted, schema.get("maxItems", wanted))
        made: list[Any] = []
        for attempt in range(wanted + 32):
            if len(made) == wanted:
                break
            part = prefix[len(made)] if len(made) < len(prefix) else schema.get("items", {})
            value = self.make(part, f"{path}/{attempt}", depth + 1)
            if not (schema.get("uniqueItems") and value in made):
                made.append(value)
        return made

    def integer(self, schema: Mapping[str, Any], path: str, _depth: int) -> int:
        low, high = _bounds(schema, 1, 999)
        step = int(schema.get("multipleOf", 1))
        first, last = math.ceil(low / step), math.floor(high / step)
        return int(first + self.draw(path) % max(last - first + 1, 1)) * step

    def number(self, schema: Mapping[str, Any], path: str, _depth: int) -> float:
        low, high = _bounds(schema, 0.01, 99)
        if "multipleOf" in schema:
            step = schema["multipleOf"]
            first, last = math.ceil(low / step), math.floor(high / step)
            return float((first + self.draw(path) % max(last - first + 1, 1)) * step)
        value = low + (high - low) * (self.draw(path) % 10_000) / 10_000
        return float(min(max(round(value, 2), low), high))

    def string(self, schema: Mapping[str, Any], path: str, _depth: int) -> str:
        draw = self.draw(path)
        made = _FORMATS[schema["format"]](draw) if schema.get("format") in _FORMATS else f"text {draw:016x}"[:13]
        pattern = schema.get("pattern")
        if pattern and not re.search(pattern, made):
            return _matching(pattern, draw)
        if len(made) < schema.get("minLength", 0):
            made += "x" * (schema["minLength"] - len(made))
        return made[: schema.get("maxLength", len(made))]

    def boolean(self, _schema: Mapping[str, Any], path: str, _depth: int) -> bool:
        return self.draw(path) % 2 == 1

    def null(self, _schema: Mapping[str, Any], _path: str, _depth: int) -> None:
        return None


_MAKERS: dict[str, Callable[[_Maker, Mapping[str, Any], str, int], Any]] = {
    "object": _Maker.object,
    "array": _Maker.array,
    "integer": _Maker.integer,
    "number": _Maker.number,
    "string": _Maker.string,
    "boolean": _Maker.boolean,
    "null": _Maker.null,
}

_FORMATS: dict[str, Callable[[int], str]] = {
    "date": lambda n: (_EPOCH + timedelta(days=n % 365)).date().isoformat(),
    "date-time": lambda n: (_EPOCH + timedelta(seconds=n % 31_536_000)).isoformat().replace("+00:00", "Z"),
    "time": lambda n: (_EPOCH + timedelta(seconds=n % 86_400)).time().isoformat() + "Z",
    "duration": lambda n: f"PT{n % 3600}S",
    "uuid": lambda n: str(UUID(int=n << 64 | n, version=4)),
    "email": lambda n: f"user{n % 10_000}@example.com",
    "hostname": lambda n: f"host{n % 10_000}.example.com",
    "uri": lambda n: f"https://example.com/{n % 10_000}",
    "ipv4": lambda n: f"192.0.2.{n % 256}",
    "ipv6": lambda n: f"2001:db8::{n % 65_536:x}",
}


def _told(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The bounds at the end of a description."""
    words = schema.get("description")
    braced = _BRACED.search(words) if isinstance(words, str) else None
    return {name: json.loads(bound) for name, bound in _BOUND.findall(braced[1])} if braced else {}


def _options(schema: Mapping[str, Any]) -> list[Any]:
    several, kind = schema.get("anyOf") or schema.get("oneOf"), schema.get("type")
    if not several and not isinstance(kind, list):
        return []
    rest = {k: v for k, v in schema.items() if k not in {"anyOf", "oneOf", "type"}}
    if several:
        return [{**rest, **o} if isinstance(o, dict) and "$ref" not in o else o for o in several]
    return [{**rest, "type": t} for t in kind or ()]


def _merged(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged[key] = value
    return merged


def _is_null(option: Any) -> bool:
    return isinstance(option, dict) and (option.get("type") == "null" or option.get("const", 0) is None)


def _implied(schema: Mapping[str, Any]) -> str:
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _bounds(schema: Mapping[str, Any], step: float, span: float) -> tuple[Any, Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - step
    if low is None:
        low = 0 if high is None or high >= 0 else high - span
    if high is None:
        high = low + span
    if low > high:
        low = high = (low + high) / 2
    return low, high


def _matching(pattern: str, draw: int) -> str:
    digits, letters = f"{draw:020d}", "".join(chr(97 + (draw >> 4 * i) % 26) for i in range(8))
    for size in range(1, 13):
        for made in (digits[-size:], letters[:size], letters[:size].upper()):
            if re.search(pattern, made):
                return made
    for shape in ("%Y-%m-%d", "%Y-%m", "%Y", "%H:%M", "%H:%M:%S", "%d.%m.%Y"):
        if re.search(pattern, made := (_EPOCH + timedelta(seconds=draw % 31_536_000)).strftime(shape)):
            return made
    raise ValueError(f"no text for the pattern {pattern!r} is known here: give the emulator an answer function")
