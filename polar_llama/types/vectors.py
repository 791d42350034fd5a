"""The answer type of embeddings: packed float32 in, a List or Array of Float32 out, no Python number in between."""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.types.answer import AnswerType
from polar_llama.types.invalid import InvalidAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BYTES = 4
"""Of one float32."""


@dataclass(frozen=True, slots=True)
class VectorType(AnswerType):
    """Vectors: `reader` gives a packed text's bytes."""

    def series(self, name: str, values: Sequence[object | None]) -> pl.Series:
        """A column of vectors, of `dtype`.

        Args:
            name: The column's name.
            values: What `parse` gave; None is null.
        """
        import pyarrow as pa

        found: list[bytes] = [b"" if value is None else bytes(value) for value in values]  # type: ignore[call-overload]
        ends = accumulate((len(vector) // _BYTES for vector in found), initial=0)
        joined = pa.py_buffer(b"".join(found))
        numbers = pa.Array.from_buffers(pa.float32(), joined.size // _BYTES, [None, joined])
        nulls = pa.array([value is None for value in values], pa.bool_())
        lists = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), numbers, mask=nulls)
        made = pl.Series(name, lists, dtype=pl.List(pl.Float32))
        return made if isinstance(self.dtype, pl.List) else made.cast(self.dtype)

    def __reduce__(self) -> tuple[Callable[[Any], AnswerType], tuple[Any]]:
        """Travel as the dimensions."""
        return vector_type, (self.annotation,)


@lru_cache(maxsize=256)
def vector_type(dimensions: int | None = None) -> VectorType:
    """The type of vectors of so many numbers: Array(Float32, dimensions); of None: List(Float32)."""
    dtype = pl.List(pl.Float32) if dimensions is None else pl.Array(pl.Float32, dimensions)
    return VectorType(dimensions, dtype, None, "vector", f"vector {dimensions}", partial(_read, dimensions))


def _read(dimensions: int | None, text: str) -> bytes:
    try:
        packed = b64decode(text, validate=True)
    except ValueError:
        packed = b""
    if not packed or len(packed) % _BYTES:
        msg = "no vector came back"
        raise InvalidAnswer(msg)
    if dimensions is not None and len(packed) != dimensions * _BYTES:
        msg = f"the vector has {len(packed) // _BYTES:,} numbers, not the {dimensions:,} asked for"
        raise InvalidAnswer(msg)
    if sys.byteorder == "big":
        numbers = array("f", packed)
        numbers.byteswap()
        packed = numbers.tobytes()
    return packed
