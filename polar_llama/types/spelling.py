"""Spelling an annotation out, so that two are told apart exactly when their answers can differ."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import polars as pl


def spell(annotation: Any) -> str:  # noqa: PLR0911 -- one per kind of annotation
    """A text that is equal for equal annotations.

    Classes carry their identity, since two classes may have one name. Literals keep their order, which is the
    order of an Enum's categories (`==` ignores it). Metadata such as `Field(ge=0)` is not always hashable: it is
    spelled by its repr.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"Literal[{', '.join(f'{spell(type(a))}:{a!r}' for a in args)}]"
    if origin is Annotated:
        return f"Annotated[{', '.join([spell(args[0]), *map(repr, args[1:])])}]"
    if origin is Union or origin is UnionType:
        return f"Union[{', '.join(map(spell, args))}]"
    if isinstance(origin, type):
        return f"{spell(origin)}[{', '.join(map(spell, args))}]"
    if isinstance(annotation, pl.DataType) or (isinstance(annotation, type) and issubclass(annotation, pl.DataType)):
        return _spell_dtype(annotation)
    if annotation is Ellipsis or annotation is None:
        return repr(annotation)
    if isinstance(annotation, type):
        return f"{annotation.__module__}.{annotation.__qualname__}@{id(annotation):x}"
    return f"{annotation!r}@{id(annotation):x}"


def _spell_dtype(dtype: Any) -> str:
    """As `repr`, which shortens the categories of long Enums."""
    match dtype:
        case pl.Enum():
            return f"pl.Enum({dtype.categories.to_list()!r})"
        case pl.Struct():
            return f"pl.Struct({', '.join(f'{f.name!r}: {_spell_dtype(f.dtype)}' for f in dtype.fields)})"
        case pl.List():
            return f"pl.List({_spell_dtype(dtype.inner)})"
        case pl.Array():
            return f"pl.Array({_spell_dtype(dtype.inner)}, {dtype.size})"
        case _:
            return f"pl.{dtype!r}"
