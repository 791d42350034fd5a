"""Building an answer type: annotation -> Pydantic -> shape, JSON schema and reader."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import TypeAdapter

from polar_llama.errors import ConfigurationError
from polar_llama.types.dtypes import annotation_of, complete
from polar_llama.types.reading import Reader
from polar_llama.types.schema import AnswerSchema
from polar_llama.types.shapes import Place, Shape, shape_of
from polar_llama.types.typeddicts import readable, typed_dict

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = "answer"
"""Providers demand an object at the root: other values stand under this name."""


@dataclass(frozen=True, slots=True)
class Built:
    """The parts of an `AnswerType` that need Pydantic."""

    dtype: pl.DataType
    schema: str
    schema_name: str
    reader: Callable[[str], object]


def build(returns: Any) -> Built:
    """Build an answer type's parts.

    Raises:
        ConfigurationError: If Pydantic cannot read the annotation, or no column can hold its values.
    """
    dtype = None
    if isinstance(returns, pl.DataType) or (isinstance(returns, type) and issubclass(returns, pl.DataType)):
        dtype = complete(returns, ROOT)
        returns = annotation_of(dtype, ROOT)
    name = getattr(returns, "__name__", None) or str(returns)
    adapter, shape = _read(returns, name)
    schema = adapter.json_schema(schema_generator=AnswerSchema)
    wrapped = schema.get("type") != "object" or not isinstance(shape.dtype, pl.Struct)
    if wrapped:
        adapter = _wrapped(returns)
        schema = adapter.json_schema(schema_generator=AnswerSchema)
        schema.pop("title", None)
    labels = tuple(shape.dtype.categories.to_list()) if isinstance(shape.dtype, pl.Enum) else ()
    reader = Reader(
        validate=adapter.validator.validate_json,
        plain=shape.plain,
        wrapped=wrapped,
        labels=labels,
        words=not (shape.dtype.is_nested() or isinstance(shape.dtype, pl.String)),
    )
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return Built(dtype or shape.dtype, text, _schema_name(ROOT if wrapped else name), reader)


def _read(returns: Any, name: str) -> tuple[TypeAdapter[Any], Shape]:
    if isinstance(returns, str):
        msg = f"returns must be a type, not the text {returns!r}. Hint: write returns=bool, not returns='bool'"
        raise ConfigurationError(msg)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(readable(returns))
        shape = shape_of(adapter.core_schema, Place(name))
    except ConfigurationError:
        raise
    except RecursionError:
        msg = f"returns: {name} refers to itself, and a column has a fixed depth. Hint: stop at a fixed depth"
        raise ConfigurationError(msg) from None
    except Exception as error:
        why = str(error).partition("\n")[0]
        msg = (
            f"returns={name} is not a type Pydantic can read ({type(error).__name__}: {why}). Hint: use bool, int, "
            "Literal['a', 'b'], list[str] or a pydantic model, and define the types it names first"
        )
        raise ConfigurationError(msg) from error
    return adapter, shape


def _wrapped(returns: Any) -> TypeAdapter[Any]:
    no_nan = {"allow_inf_nan": False}  # JSON has neither NaN nor infinities; models keep to their own configuration
    return TypeAdapter(typed_dict(ROOT, {"answer": readable(returns)}, no_nan))


def _schema_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:64] or ROOT
