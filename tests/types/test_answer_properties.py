"""For any supported type and any valid value of it: JSON -> parse -> column gives the value back."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import make_dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import typing_extensions as te
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import create_model
from pydantic_core import to_json

from polar_llama.types import InvalidAnswer, answer_type

Typed = tuple[Any, "st.SearchStrategy[Any]"]
"""An annotation, and the plain values of it."""


class Colour(enum.Enum):
    RED = "rouge"
    GREY = "gris, clair"


SCALARS: list[Typed] = [
    (bool, st.booleans()),
    (int, st.integers(-(2**63), 2**63 - 1)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (Literal["yes", "no", "Ja!", ""], st.sampled_from(["yes", "no", "Ja!", ""])),
    (Literal[3, -1], st.sampled_from([3, -1])),
    (Colour, st.sampled_from([c.value for c in Colour])),
    (dt.date, st.dates()),
    (dt.datetime, st.datetimes()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(days=-99_999), dt.timedelta(days=99_999))),
    (Decimal, st.decimals(-(10**28), 10**28, places=9)),
]
STRINGS: Typed = (str, st.text())
FIELDS = ["id", "class_", "größe", "Answer", "answer", "a1", "kind"]


def _list(inner: Typed) -> Typed:
    return list[inner[0]], st.lists(inner[1], max_size=3)  # type: ignore[valid-type]


def _optional(inner: Typed) -> Typed:
    return inner[0] | None, st.none() | inner[1]


def _model(fields: dict[str, Any]) -> Any:
    required: dict[str, Any] = {name: (annotation, ...) for name, annotation in fields.items()}
    return create_model("Made", **required)


def _named_tuple(fields: dict[str, Any]) -> Any:
    return NamedTuple("Made", list(fields.items()))


MAKERS = [
    _model,
    _named_tuple,
    lambda fields: te.TypedDict("Made", fields),  # type: ignore[operator]
    lambda fields: make_dataclass("Made", list(fields.items())),
]


@st.composite
def structs(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    fields = draw(st.dictionaries(st.sampled_from(FIELDS), inner, min_size=1, max_size=4))
    made = draw(st.sampled_from(MAKERS))({name: annotation for name, (annotation, _) in fields.items()})
    return made, st.fixed_dictionaries({name: values for name, (_, values) in fields.items()})


def _types() -> st.SearchStrategy[Typed]:
    leaves = st.sampled_from([*SCALARS, STRINGS])
    return st.recursive(leaves, lambda t: t.map(_list) | t.map(_optional) | structs(t), max_leaves=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), _types().filter(lambda t: t is not STRINGS))
def test_round_trip(data: st.DataObject, typed: Typed) -> None:
    annotation, values = typed
    answer = answer_type(annotation)
    rows = data.draw(st.lists(values, min_size=1, max_size=3))
    is_object = isinstance(rows[0], dict) and answer.schema_name == "Made"
    texts = [to_json(row if is_object else {"answer": row}).decode() for row in rows]
    read = [answer.parse(text) for text in texts]
    assert read == rows
    column = answer.series("a", [*read, None])
    assert column.dtype == answer.dtype
    assert column.to_list() == [*rows, None]
    assert column.is_null().to_list() == [row is None for row in rows] + [True]


@settings(max_examples=150, deadline=None)
@given(st.text() | st.text('{}[]":,answer0123.eE-truefalsn` \n', max_size=30), st.sampled_from(SCALARS))
def test_any_text_is_an_answer_or_invalid(text: str, typed: Typed) -> None:
    answer = answer_type(typed[0])
    try:
        value = answer.parse(text)
    except InvalidAnswer:
        return
    assert answer.series("a", [value]).to_list() == [value]


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(SCALARS))
def test_bare_values_are_read_as_wrapped_ones(data: st.DataObject, typed: Typed) -> None:
    annotation, values = typed
    value = data.draw(values)
    assert answer_type(annotation).parse(to_json(value).decode()) == value
