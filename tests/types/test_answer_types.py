"""Every supported type: its dtype, a text, the value in the column, and the null."""

from __future__ import annotations

import datetime as dt
import enum
import json
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar
from uuid import UUID

import polars as pl
import pytest
import typing_extensions as te
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PositiveInt,
    RootModel,
    model_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from polar_llama.types import InvalidAnswer, answer_type, error_dtype


class Colour(enum.Enum):
    RED = "rouge"
    BLUE = "bleu"


class Size(enum.StrEnum):
    SMALL = "s"
    LARGE = "l"


class Rank(enum.IntEnum):
    LOW = 1
    HIGH = 3


class Item(BaseModel):
    kind: Colour
    price: float | None = None


class Order(BaseModel):
    id: int
    items: list[Item]
    note: str | None = None


class Movie(TypedDict):
    title: str
    year: te.NotRequired[int]


class Loose(TypedDict, total=False):
    a: te.Required[int]
    b: list[Movie]


class Exact(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    films: list[Annotated[Movie, Field(description="seen")]]
    best: Movie | None


class NewMovie(te.TypedDict):
    title: str


@dataclass(slots=True)
class Point:
    x: int
    secret: InitVar[int] = 0
    y: float = 0.5
    made: list[int] = field(default_factory=list, init=False)

    def __post_init__(self, secret: int) -> None:
        self.made = [self.x, secret]


@checked_dataclass
class Box:
    corner: Point


def _size(text: str) -> Size:
    return Size(text)


class Around(BaseModel):
    n: int
    name: Annotated[str, AfterValidator(_size)]

    @model_validator(mode="before")
    @classmethod
    def _before(cls, data: Any) -> Any:
        return {"n": 1, **data}


@checked_dataclass
class AroundToo:
    n: int

    @model_validator(mode="before")
    @classmethod
    def _before(cls, data: Any) -> Any:
        return data


class Pair(NamedTuple):
    left: int
    right: Rank = Rank.LOW


class Names(RootModel[list[str]]):
    pass


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    rows: list[T]


class Lazy(BaseModel):
    model_config = {"defer_build": True}
    next: Item


Stars = NewType("Stars", int)
Tag = te.TypeAliasType("Tag", Literal["x", "y"])

ITEM = pl.Struct({"kind": pl.Enum(["rouge", "bleu"]), "price": pl.Float64})
MOVIE = pl.Struct({"title": pl.String, "year": pl.Int64})
POINT = pl.Struct({"x": pl.Int64, "y": pl.Float64, "made": pl.List(pl.Int64)})
MICROS = pl.Datetime("us")
NOON = dt.datetime(2026, 11, 23, 12)  # noqa: DTZ001 -- columns of naive datetimes

SCALARS: list[tuple[Any, pl.DataType, str, Any]] = [
    (bool, pl.Boolean(), "true", True),
    (int, pl.Int64(), "-7", -7),
    (int, pl.Int64(), "9223372036854775807", 2**63 - 1),
    (float, pl.Float64(), "2", 2.0),
    (int | float, pl.Float64(), "3", 3.0),
    (Literal["b", "a"], pl.Enum(["b", "a"]), '"a"', "a"),
    (Literal[2, 1], pl.Int64(), "1", 1),
    (Literal[True], pl.Boolean(), "true", True),
    (Literal["a", None], pl.Enum(["a"]), "null", None),  # noqa: PYI061 -- not the same to Pydantic
    (Literal[Size.LARGE], pl.Enum(["l"]), '"l"', "l"),
    (Colour, pl.Enum(["rouge", "bleu"]), '"bleu"', "bleu"),
    (Size, pl.Enum(["s", "l"]), '"l"', "l"),
    (Rank, pl.Int64(), "3", 3),
    (Tag, pl.Enum(["x", "y"]), '"y"', "y"),
    (dt.date, pl.Date(), '"2026-11-23"', dt.date(2026, 11, 23)),
    (dt.datetime, MICROS, '"2026-11-23T12:00:00"', NOON),
    (dt.datetime, MICROS, '"2026-11-23T12:00:00Z"', NOON),
    (dt.datetime, MICROS, '"2026-11-23T14:00:00+02:00"', NOON),
    (AwareDatetime, pl.Datetime("us", "UTC"), '"2026-11-23T14:00:00+02:00"', NOON.replace(tzinfo=dt.UTC)),
    (dt.time, pl.Time(), '"12:30:00.000001"', dt.time(12, 30, 0, 1)),
    (dt.time, pl.Time(), '"01:30:00+02:00"', dt.time(23, 30)),
    (dt.timedelta, pl.Duration("us"), '"P1DT2H"', dt.timedelta(days=1, hours=2)),
    (Decimal, pl.Decimal(38, 9), '"1.50"', Decimal("1.5")),
    (Annotated[Decimal, Field(max_digits=5, decimal_places=2)], pl.Decimal(5, 2), "12.5", Decimal("12.5")),
    (Annotated[str, Field(max_length=3)], pl.String(), '"né\\u0000"', "né\0"),
    (Annotated[int, Field(ge=1, le=5)], pl.Int64(), "5", 5),
    (PositiveInt, pl.Int64(), "1", 1),
    (Stars, pl.Int64(), "4", 4),
    (HttpUrl, pl.String(), '"http://a.example/x"', "http://a.example/x"),
    (UUID, pl.String(), '"12345678-1234-5678-1234-567812345678"', "12345678-1234-5678-1234-567812345678"),
    (Optional[bool], pl.Boolean(), "null", None),  # noqa: UP045 -- as people write it
    (int | None, pl.Int64(), "1", 1),
]

NESTED: list[tuple[Any, pl.DataType, str, Any]] = [
    (list[int], pl.List(pl.Int64), "[1,2]", [1, 2]),
    (list[str], pl.List(pl.String), "[]", []),
    (list[int | None], pl.List(pl.Int64), "[1,null]", [1, None]),
    (list[list[bool]], pl.List(pl.List(pl.Boolean)), "[[true],[]]", [[True], []]),
    (list[Colour], pl.List(pl.Enum(["rouge", "bleu"])), '["bleu"]', ["bleu"]),
    (tuple[int, ...], pl.List(pl.Int64), "[3,1]", [3, 1]),
    (set[int], pl.List(pl.Int64), "[3,1,3]", [1, 3]),
    (frozenset[str | None], pl.List(pl.String), '["b",null,"a"]', ["a", "b", None]),
    (Names, pl.List(pl.String), '["x"]', ["x"]),
    (list[Item], pl.List(ITEM), '[{"kind":"bleu"}]', [{"kind": "bleu", "price": None}]),
    (Item | None, ITEM, "null", None),
]

OBJECTS: list[tuple[Any, pl.DataType, str, Any]] = [
    (Item, ITEM, '{"kind":"rouge","price":1}', {"kind": "rouge", "price": 1.0}),
    (
        Order,
        pl.Struct({"id": pl.Int64, "items": pl.List(ITEM), "note": pl.String}),
        '{"id":1,"items":[{"kind":"bleu","price":2.5}]}',
        {"id": 1, "items": [{"kind": "bleu", "price": 2.5}], "note": None},
    ),
    (Movie, MOVIE, '{"title":"Metropolis"}', {"title": "Metropolis", "year": None}),
    (
        Loose,
        pl.Struct({"a": pl.Int64, "b": pl.List(MOVIE)}),
        '{"a":1,"b":[{"title":"M","year":1931}]}',
        {"a": 1, "b": [{"title": "M", "year": 1931}]},
    ),
    (
        Exact,
        pl.Struct({"films": pl.List(MOVIE), "best": MOVIE}),
        '{"films":[{"title":"M"}],"best":null}',
        {"films": [{"title": "M", "year": None}], "best": None},
    ),
    (Around, pl.Struct({"n": pl.Int64, "name": pl.String}), '{"name":"l"}', {"n": 1, "name": "l"}),
    (AroundToo, pl.Struct({"n": pl.Int64}), '{"n":1}', {"n": 1}),
    (NewMovie, pl.Struct({"title": pl.String}), '{"title":"M"}', {"title": "M"}),
    (Point, POINT, '{"x":1,"secret":7}', {"x": 1, "y": 0.5, "made": [1, 7]}),
    (
        Box,
        pl.Struct({"corner": POINT}),
        '{"corner":{"x":1,"y":2}}',
        {"corner": {"x": 1, "y": 2.0, "made": [1, 0]}},
    ),
    (Pair, pl.Struct({"left": pl.Int64, "right": pl.Int64}), '{"left":1,"right":3}', {"left": 1, "right": 3}),
    (Page[int], pl.Struct({"rows": pl.List(pl.Int64)}), '{"rows":[1]}', {"rows": [1]}),
    (Lazy, pl.Struct({"next": ITEM}), '{"next":{"kind":"bleu"}}', {"next": {"kind": "bleu", "price": None}}),
]


@pytest.mark.parametrize(("returns", "dtype", "text", "value"), SCALARS + NESTED, ids=count())
def test_wrapped_answers(returns: Any, dtype: pl.DataType, text: str, value: Any) -> None:
    answer = answer_type(returns)
    assert answer.dtype == dtype
    column = answer.series("a", [answer.parse(f'{{"answer":{text}}}'), None])
    assert column.name == "a"
    assert column.dtype == dtype
    assert column.to_list() == [value, None]
    assert column.is_null().to_list() == [value is None, True]
    schema = json.loads(answer.schema or "")
    assert schema["type"] == "object"
    assert schema["required"] == list(schema["properties"]) == ["answer"]


@pytest.mark.parametrize(("returns", "dtype", "text", "value"), OBJECTS, ids=count())
def test_object_answers(returns: Any, dtype: pl.DataType, text: str, value: Any) -> None:
    answer = answer_type(returns)
    assert answer.dtype == dtype
    column = answer.series("a", [answer.parse(text), None])
    assert column.dtype == dtype
    assert column.to_list() == [value, None]
    schema = json.loads(answer.schema or "")
    assert schema["type"] == "object"
    assert "answer" not in schema["properties"]


def test_plain_text_is_taken_as_it_is() -> None:
    answer = answer_type(str)
    assert (answer.dtype, answer.schema, answer.schema_name) == (pl.String(), None, "answer")
    assert answer.parse(' {"answer": 1}\n\0') == ' {"answer": 1}\n\0'
    assert answer.series("a", [answer.parse("é"), None]).to_list() == ["é", None]
    with pytest.raises(InvalidAnswer, match="surrogate"):
        answer.parse("x\ud800")


@pytest.mark.parametrize("returns", [r for r, *_ in SCALARS + NESTED + OBJECTS], ids=count())
def test_columns_of_nothing_have_the_dtype(returns: Any) -> None:
    answer = answer_type(returns)
    assert answer.series("a", []).dtype == answer.dtype
    nulls = answer.series("a", [None, None])
    assert nulls.dtype == answer.dtype
    assert nulls.null_count() == 2


def test_a_null_struct_is_not_a_struct_of_nulls() -> None:
    answer = answer_type(Movie | None)
    column = answer.series("a", [None, {"title": None, "year": None}, answer.parse("null")])
    assert column.is_null().to_list() == [True, False, True]
    padded = pl.DataFrame({"k": [1]}).join(pl.DataFrame({"k": [2], "a": column[1:2]}), on="k", how="left")
    assert padded["a"].is_null().to_list() == column[:1].is_null().to_list()


def test_a_null_list_is_not_an_empty_list() -> None:
    column = answer_type(list[Movie]).series("a", [None, []])
    assert column.is_null().to_list() == [True, False]


def test_a_struct_inside_a_struct_is_null_too() -> None:
    class Outer(BaseModel):
        inner: Item | None

    answer = answer_type(Outer)
    column = answer.series("a", [answer.parse('{"inner":null}')])
    assert column.struct.field("inner").is_null().to_list() == [True]


def test_the_dtype_of_answers_with_errors() -> None:
    assert error_dtype(ITEM) == pl.Struct({"answer": ITEM, "error": pl.String})


@pytest.mark.parametrize(
    ("dtype", "text", "value"),
    [
        (pl.Int8, "-128", -128),
        (pl.UInt64(), "1", 1),
        (pl.Float32, "0.5", 0.5),
        (pl.Boolean, "true", True),
        (pl.Enum(["b", "a"]), '"a"', "a"),
        (pl.Decimal(5, 2), '"1.25"', Decimal("1.25")),
        (pl.Datetime, '"2026-11-23T12:00:00Z"', NOON),
        (pl.Datetime("ms"), '"2026-11-23T12:00:00"', NOON),
        (pl.Datetime("us", "UTC"), '"2026-11-23T12:00:00Z"', NOON.replace(tzinfo=dt.UTC)),
        (pl.Duration("ms"), '"PT1S"', dt.timedelta(seconds=1)),
        (pl.List(pl.Int16), "[1]", [1]),
        (pl.Array(pl.Enum(["a"]), 2), '["a","a"]', ["a", "a"]),
        (pl.List(pl.Struct({"a b": pl.Date})), '[{"a b":"2026-01-01"}]', [{"a b": dt.date(2026, 1, 1)}]),
    ],
    ids=count(),
)
def test_polars_dtypes(dtype: Any, text: str, value: Any) -> None:
    answer = answer_type(dtype)
    assert answer.dtype == dtype
    column = answer.series("a", [answer.parse(f'{{"answer":{text}}}'), None])
    assert column.dtype == dtype
    assert column.to_list() == [value, None]


def test_a_polars_struct_is_an_object_of_required_fields() -> None:
    dtype = pl.Struct({"class": pl.Int32, "_x y": pl.Struct({"z": pl.String})})
    answer = answer_type(dtype)
    assert answer.series("a", [answer.parse('{"class":1,"_x y":{"z":"q"}}')]).dtype == dtype
    for text in ('{"class":1}', '{"class":null,"_x y":{"z":"q"}}', '{"class":2147483648,"_x y":{"z":"q"}}'):
        with pytest.raises(InvalidAnswer):
            answer.parse(text)
    assert answer_type(pl.String) == answer_type(pl.String())
    assert answer_type(pl.String).schema is None


def test_a_typed_dict_keeps_its_configuration() -> None:
    with pytest.raises(InvalidAnswer, match="more: Extra inputs are not permitted"):
        answer_type(Exact).parse('{"films":[],"best":null,"more":1}')
    assert '"description":"seen"' in (answer_type(Exact).schema or "")
