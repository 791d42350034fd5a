"""When two answer types are one: equality, hashes, spelling, pickling."""

from __future__ import annotations

import copy
import enum
import pickle
from itertools import count
from typing import Annotated, Any, Literal, Optional, Union

import polars as pl
import pytest
from pydantic import AfterValidator, BaseModel, Field

from polar_llama.types import answer_type


class Model(BaseModel):
    n: int


class Small(enum.IntEnum):
    ONE = 1


def _model(validator: Any) -> type[BaseModel]:
    class Same(BaseModel):
        n: Annotated[int, AfterValidator(validator)]

    return Same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (str, str),
        (Model, Model),
        (list[Model], list[Model]),
        (Optional[int], int | None),  # noqa: UP045
        (Union[int, float], int | float),  # noqa: UP007
        (Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]),
        (Literal["a", "b"], Literal["a", "b"]),
        (pl.Int8, pl.Int8()),
        (pl.Struct({"a": pl.List(pl.Enum(["x"]))}), pl.Struct({"a": pl.List(pl.Enum(["x"]))})),
        (pl.Array(pl.Int8, 2), pl.Array(pl.Int8, 2)),
    ],
    ids=count(),
)
def test_equal(one: Any, other: Any) -> None:
    assert answer_type(one) == answer_type(other)
    assert hash(answer_type(one)) == hash(answer_type(other))
    assert repr(answer_type(one)) == repr(answer_type(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (str, Optional[str]),  # noqa: UP045
        (int, bool),
        (Literal["a", "b"], Literal["b", "a"]),
        (list[Literal["a", "b"]], list[Literal["b", "a"]]),
        (Literal[0], Literal[False]),
        (Literal[1], Literal[Small.ONE]),
        (Annotated[int, Field(ge=1)], Annotated[int, Field(ge=2)]),
        (_model(abs), _model(lambda v: -v)),
        (pl.Enum(["a", "b"]), pl.Enum(["b", "a"])),
        (pl.Enum([f"{i}" for i in range(500)]), pl.Enum([f"{i}" for i in range(499)] + ["x"])),
        (pl.Array(pl.Int8, 2), pl.Array(pl.Int8, 3)),
        (pl.Int8, pl.Int16),
    ],
    ids=count(),
)
def test_different(one: Any, other: Any) -> None:
    assert answer_type(one) != answer_type(other)
    assert repr(answer_type(one)) != repr(answer_type(other))


def test_same_named_classes_keep_their_own_validators() -> None:
    absolute, negative = answer_type(_model(abs)), answer_type(_model(lambda v: -v))
    assert absolute.schema == negative.schema
    assert absolute.parse('{"n":3}') == {"n": 3}
    assert negative.parse('{"n":3}') == {"n": -3}


def test_a_type_is_built_once() -> None:
    assert answer_type(list[Model]) is answer_type(list[Model])


@pytest.mark.parametrize("returns", [str, bool, Model, list[Model], Annotated[int, Field(ge=1)], pl.List(pl.Int8)])
def test_copies_and_pickles_are_equal(returns: Any) -> None:
    answer = answer_type(returns)
    assert copy.copy(answer) == answer
    assert copy.deepcopy(answer) == answer
    assert pickle.loads(pickle.dumps(answer)) == answer
