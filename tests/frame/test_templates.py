"""What a template writes: every dtype the way people read it, so that different values are different questions."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

import polar_llama as pll

if TYPE_CHECKING:
    from polar_llama.testing import Emulator

NOON = dt.datetime(2026, 11, 23, 12, 0, 0, 5)  # noqa: DTZ001 -- of no zone: that is what is tested
BERLIN = ZoneInfo("Europe/Berlin")

WRITTEN: dict[str, tuple[Any, Any, str]] = {
    "text": ("it's {q} and \n{{x}}", pl.String, "it's {q} and \n{{x}}"),
    "empty text": ("", pl.String, ""),
    "whole": (-7, pl.Int8, "-7"),
    "large": (2**64 - 1, pl.UInt64, "18446744073709551615"),
    "float": (0.1, pl.Float64, "0.1"),
    "whole float": (3.0, pl.Float64, "3.0"),
    "decimal": (Decimal("1.50"), pl.Decimal(10, 2), "1.50"),
    "true": (True, pl.Boolean, "true"),
    "label": ("a{b}", pl.Categorical, "a{b}"),
    "choice": ("b", pl.Enum(["a", "b"]), "b"),
    "date": (dt.date(2026, 2, 3), pl.Date, "2026-02-03"),
    "datetime": (NOON, pl.Datetime("us"), "2026-11-23 12:00:00.000005"),
    "full second": (NOON.replace(microsecond=0), pl.Datetime("us"), "2026-11-23 12:00:00"),
    "in a zone": (NOON.replace(tzinfo=BERLIN), pl.Datetime("us", "Europe/Berlin"), "2026-11-23 12:00:00.000005+01:00"),
    "time": (dt.time(1, 2, 3), pl.Time, "01:02:03"),
    "part of a second": (dt.time(1, 2, 3, 4), pl.Time, "01:02:03.000004"),
    "duration": (dt.timedelta(days=1, microseconds=5), pl.Duration("us"), "P1DT0.000005S"),
    "list": ([1, None], pl.List(pl.Int64), "[1,null]"),
    "empty list": ([], pl.List(pl.String), "[]"),
    "array": ([1, 2], pl.Array(pl.Int64, 2), "[1,2]"),
    "struct": ({"a": 'ü"', "b": None}, pl.Struct({"a": pl.String, "b": pl.Int64}), '{"a":"ü\\"","b":null}'),
    "times in a list": ([dt.time(1, 2, 3, 4)], pl.List(pl.Time), '["01:02:03.000004"]'),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_values_in_a_template(emulator: Emulator, name: str) -> None:
    value, dtype, text = WRITTEN[name]
    frame = pl.DataFrame({"x": pl.Series([value, None], dtype=dtype)})
    answers = frame.select(pll.llm("<{x}> {{x}}"))["llm"]
    assert dict(emulator.stats().prompts) == {f"<{text}> {{x}}": 1}
    assert answers.is_null().to_list() == [False, True]  # a null field: a null answer, and no request


REFUSED: dict[str, tuple[pl.Series, str]] = {
    "bytes": (pl.Series([b"x"]), "is Binary"),
    "bytes in a list": (pl.Series([[b"x"]]), "is List"),
    "bytes in a struct": (pl.Series([{"a": b"x"}]), "is Struct"),
    "bytes deep down": (pl.Series([{"a": [{"b": b"x"}]}]), "is Struct"),
    "objects": (pl.Series([object()], dtype=pl.Object), "is Object"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_have_no_text(emulator: Emulator, name: str) -> None:
    values, told = REFUSED[name]
    with pytest.raises(pll.PlanError, match=f"'x' {told}.*Hint: decode"):
        pl.DataFrame({"x": values}).select(pll.llm("<{x}>"))
    assert emulator.stats().requests == 0


def test_a_conversation_of_bytes_is_refused(emulator: Emulator) -> None:
    frame = pl.DataFrame({"m": [[{"role": "user", "content": b"x"}]]})
    with pytest.raises(pll.PlanError, match="Binary"):
        frame.select(pll.llm("m"))
    assert emulator.stats().requests == 0


@pytest.mark.parametrize("name", ["^ab?$", "*"])
def test_a_field_whose_name_polars_reads_as_a_pattern_is_refused(name: str) -> None:
    frame = pl.DataFrame({"a": ["1"], "ab": ["2"], name: ["3"]})
    with pytest.raises(pll.PlanError, match=r"pattern.*Hint: rename"):
        frame.select(pll.llm(f"{{{name}}}"))
