"""From a Polars dtype, given as `returns`, to the annotation whose answers it holds.

Values are required: a dtype says what the values are, and a model that may answer null often does. Where a
null is wanted, give a model with an optional field.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AwareDatetime, Field

from polar_llama.errors import ConfigurationError
from polar_llama.types.leaves import INT64_MAX, INT64_MIN
from polar_llama.types.typeddicts import typed_dict

_FLOAT32_MAX = 3.4028234663852886e38
"""The largest finite IEEE 754 binary32 number."""

_INTEGERS: dict[type[pl.DataType], tuple[int, int]] = {
    pl.Int8: (-(2**7), 2**7 - 1),
    pl.Int16: (-(2**15), 2**15 - 1),
    pl.Int32: (-(2**31), 2**31 - 1),
    pl.UInt8: (0, 2**8 - 1),
    pl.UInt16: (0, 2**16 - 1),
    pl.UInt32: (0, 2**32 - 1),
    pl.UInt64: (0, INT64_MAX),  # answers are read as 64-bit signed integers
    pl.Int128: (INT64_MIN, INT64_MAX),
}

_PLAIN: dict[type[pl.DataType], Any] = {
    pl.String: str,
    pl.Boolean: bool,
    pl.Int64: int,
    pl.Float64: float,
    pl.Float32: Annotated[float, Field(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)],
    pl.Date: dt.date,
    pl.Time: dt.time,
    pl.Duration: dt.timedelta,
    **{dtype: Annotated[int, Field(ge=low, le=high)] for dtype, (low, high) in _INTEGERS.items()},
}

_HINTS: dict[type[pl.DataType], str] = {
    pl.Datetime: 'use pl.Datetime("us") or pl.Datetime("ms"): nanoseconds cannot hold every date',
    pl.Categorical: "use pl.Enum with the labels, or pl.String",
    pl.Binary: "use pl.String",
}


def annotation_of(dtype: pl.DataType, path: str) -> Any:  # noqa: PLR0911 -- one per kind
    """The annotation for `dtype`.

    Args:
        dtype: A dtype, complete.
        path: What leads to it, for messages and for the names of structs.

    Raises:
        ConfigurationError: If answers cannot be of this dtype.
    """
    if type(dtype) in _PLAIN:
        return _PLAIN[type(dtype)]
    match dtype:
        case pl.List():
            return _list(dtype.inner, path)
        case pl.Array():
            return Annotated[_list(dtype.inner, path), Field(min_length=dtype.size, max_length=dtype.size)]
        case pl.Struct():
            return _struct(dtype, path)
        case pl.Enum() if len(dtype.categories):
            return Literal[tuple(dtype.categories.to_list())]
        case pl.Decimal():
            return Annotated[Decimal, Field(max_digits=dtype.precision, decimal_places=dtype.scale)]
        case pl.Datetime() if dtype.time_unit != "ns":
            return AwareDatetime if dtype.time_zone else dt.datetime
        case _:
            hint = _HINTS.get(type(dtype), "use another dtype, or a type such as bool, list[str] or a pydantic model")
            msg = f"returns: {path} has dtype {dtype!r}, which answers cannot have. Hint: {hint}"
            raise ConfigurationError(msg)


def complete(dtype: Any, path: str) -> pl.DataType:
    """The dtype itself for a dtype class (`pl.Int64` is read as `pl.Int64()`).

    Raises:
        ConfigurationError: If the class alone does not say what the values are, as `pl.List`.
    """
    if isinstance(dtype, pl.DataType):
        return dtype
    try:
        return dtype()  # type: ignore[no-any-return]
    except TypeError:
        msg = f"returns: {path} is pl.{dtype.__name__} without its parameters. Hint: write pl.{dtype.__name__}(...)"
        raise ConfigurationError(msg) from None


def _list(inner: Any, path: str) -> Any:
    return list.__class_getitem__(_inner(inner, f"{path}[]"))


def _inner(dtype: Any, path: str) -> Any:
    return annotation_of(complete(dtype, path), path)


def _struct(dtype: pl.Struct, path: str) -> Any:
    fields = {f.name: _inner(f.dtype, f"{path}.{f.name}") for f in dtype.fields}
    return typed_dict(path, fields, {"allow_inf_nan": False})
