"""Making TypedDicts, and making `typing.TypedDict` readable for Pydantic on Python 3.11.

There Pydantic reads only the one of `typing_extensions`; a model or dataclass that holds the other kind is
refused by Pydantic itself, with this advice.
"""

from __future__ import annotations

import sys
from functools import reduce
from operator import or_
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import TypedDict, is_typeddict

if TYPE_CHECKING:
    from collections.abc import Mapping


def typed_dict(name: str, fields: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> Any:
    """A TypedDict class made at run time; its names may be any text.

    Args:
        name: The name of the class, the title in the JSON schema.
        fields: Annotations by name.
        config: Pydantic's configuration, of which TypedDicts have none by default.
    """
    made = cast("Any", TypedDict)(name, dict(fields))
    if config is not None:
        made.__pydantic_config__ = config
    return made


def readable(annotation: Any) -> Any:
    """The annotation with every `typing.TypedDict` in it made anew; itself where nothing is to be done."""
    if sys.version_info >= (3, 12):
        return annotation
    if is_typeddict(annotation) and type(annotation).__module__ == "typing":
        return _remade(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is None or origin is Literal:
        return annotation
    if origin is Annotated:
        inner = readable(args[0])
        return annotation if inner is args[0] else Annotated[(inner, *args[1:])]
    made = tuple(map(readable, args))
    if all(new is old for new, old in zip(made, args, strict=True)):
        return annotation
    return reduce(or_, made) if origin is Union or origin is UnionType else origin[made]


def _remade(old: Any) -> Any:
    fields = {name: _field(old, name, hint) for name, hint in get_type_hints(old, include_extras=True).items()}
    new = typed_dict(old.__name__, fields, getattr(old, "__pydantic_config__", None))
    new.__doc__, new.__module__ = old.__doc__, old.__module__
    return new


def _field(old: Any, name: str, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin is Required or origin is NotRequired:
        return origin[readable(get_args(hint)[0])]
    return readable(hint) if name in old.__required_keys__ else NotRequired[readable(hint)]
