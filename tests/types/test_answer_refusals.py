"""What cannot be `returns`: a clear error, before anything is sent."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, Literal, TypedDict

import polars as pl
import pytest
from pydantic import BaseModel, PlainValidator

from polar_llama.errors import ConfigurationError
from polar_llama.types import answer_type


class Mixed(enum.Enum):
    A = "a"
    B = 1


class Plain(enum.Enum):
    A = "a"


class Fraction(enum.Enum):
    HALF = 0.5


class Nothing(BaseModel):
    pass


class Tree(BaseModel):
    children: list[Tree]


class Even(TypedDict):
    odd: Odd | None


class Odd(TypedDict):
    even: Even | None


class Meta(BaseModel):
    extra: dict[str, int]


class Deep(BaseModel):
    items: list[Meta]


class Unknown(BaseModel):
    later: list[NotYetDefined]  # type: ignore[name-defined]  # noqa: F821


@dataclass
class Cat:
    lives: int


@dataclass
class Dog:
    tricks: int


class Holder(BaseModel):
    pet: Cat | Dog


@pytest.mark.parametrize(
    ("returns", "says"),
    [
        (dict[str, int], "dict is a dict, whose keys are not known before the answers. Hint: use a model"),
        (dict, "is a dict"),
        (Any, "is of any type"),
        (object, "is of any type"),
        (list, r"list\[\] is of any type"),
        (list[Any], r"list\[\] is of any type. Hint: say what it is"),
        (None, "is always null"),
        (Literal[None], "is a choice of several kinds"),  # noqa: PYI061 -- not the same to Pydantic
        (int | str, "is one of several types"),
        (Holder, r"Holder\.pet is one of several types"),
        (bytes, "is bytes. Hint: use str"),
        (complex, "has no dtype"),
        (tuple[int, str], "is a tuple of a fixed length. Hint: use a NamedTuple"),
        (tuple[()], "is a tuple of a fixed length"),
        (set[tuple[int, ...]], "is a set of structs or lists"),
        (Mixed, "Mixed is a choice of several kinds of values"),
        (Fraction, "Fraction is a choice of several kinds of values"),
        (Literal["a", 1], "is a choice of several kinds of values"),
        (Literal[2**63], "is a choice of several kinds of values"),
        (Literal[Plain.A], "use the Enum, or a Literal of its values"),
        (Literal["\ud800"], "is not a type Pydantic can read"),
        (Nothing, "Nothing has no fields"),
        (list[Nothing], r"list\[\] has no fields"),
        (Tree, r"Tree\.children\[\] refers to itself"),
        (Deep, r"Deep\.items\[\]\.extra is a dict"),
        (Annotated[int, PlainValidator(int)], "validated by a function alone"),
        ("bool", "not the text 'bool'. Hint: write returns=bool"),
        (3, "is not a type Pydantic can read"),
        ([str], "is not a type Pydantic can read"),
        (["Missing"], "is not a type Pydantic can read"),
        (list["Missing"], "is not a type Pydantic can read"),  # type: ignore[name-defined]  # noqa: F821
        (Unknown, "define the types it names first"),
        (pytest.raises, "is not a type Pydantic can read"),
        (pl.List, r"is pl.List without its parameters. Hint: write pl.List\(...\)"),
        (pl.Struct, "is pl.Struct without its parameters"),
        (pl.Enum([]), "has dtype Enum"),
        (pl.Datetime("ns"), r'Hint: use pl.Datetime\("us"\)'),
        (pl.Categorical, "use pl.Enum with the labels"),
        (pl.Struct({"a": pl.List(pl.Binary)}), r"answer\.a\[\] has dtype Binary"),
        (pl.List(pl.Struct), r"answer\[\] is pl.Struct without its parameters"),
        (pl.Struct([]), "has no fields"),
        (pl.Null, "has dtype Null"),
        (pl.Object, "has dtype Object"),
    ],
    ids=count(),
)
def test_refused(returns: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        answer_type(returns)


@pytest.mark.parametrize("returns", [Even, list[Odd]])
def test_typed_dicts_that_refer_to_each_other(returns: Any) -> None:
    with pytest.raises(ConfigurationError, match="refers to itself"):
        answer_type(returns)
