"""What the frame tests share: a table of questions, and a judge that answers row by row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal, get_args

import polars as pl
from polars.testing import assert_frame_equal
from pydantic import BaseModel

from polar_llama import llm
from polar_llama.testing import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODEL = "gpt-6-luna"

Color = Literal["red", "green", "blue"]


class Person(BaseModel):
    """A typed answer of two fields."""

    name: str
    age: int


_DTYPES: dict[Any, pl.DataType] = {
    str: pl.String(),
    bool: pl.Boolean(),
    int: pl.Int64(),
    Color: pl.Enum(get_args(Color)),
    Person: pl.Struct({"name": pl.String(), "age": pl.Int64()}),
}
_SCHEMAS: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    Color: {"type": "string", "enum": list(get_args(Color))},
}


def questions() -> pl.DataFrame:
    """1,000 rows with 100 distinct prompts in `q`; `cat == 3` keeps 100 rows with 10; `x` has no ties."""
    numbers = [i // 2 % 100 for i in range(1_000)]
    return pl.DataFrame(
        {
            "i": range(1_000),
            "x": [i * 377 % 1_000 for i in range(1_000)],
            "cat": [n % 10 for n in numbers],
            "q": [f"Which color is thing {n}?" for n in numbers],
        }
    )


def small() -> pl.DataFrame:
    """Six rows with repeated, null and grouped values."""
    return pl.DataFrame(
        {
            "i": range(6),
            "g": ["x", "x", "y", "y", "y", None],
            "q": ["p", "p", "r", "s", None, "t"],
            "v": [3, 3, 1, 2, 2, None],
            "l": [[1], [2, 3], [], None, [4], [5]],
        }
    )


def same(query: Callable[[pl.LazyFrame, Any], Any]) -> pl.DataFrame:
    """Run a query both ways and compare; the frame.

    Raises:
        AssertionError: If the frames differ.
    """
    result = query(small().lazy(), llm)
    assert_frame_equal(result, query(small().lazy(), naive))
    assert isinstance(result, pl.DataFrame)
    return result


@cache
def answered(prompt: str, returns: Any = str) -> Any:
    """The answer to one prompt, by the emulator's pure function and no part of the engine."""
    if returns is str:
        return answer_text(prompt, model=MODEL)
    if returns is Person:
        return json.loads(answer_text(prompt, model=MODEL, schema=Person.model_json_schema()))
    schema = {"type": "object", "properties": {"answer": _SCHEMAS[returns]}, "required": ["answer"]}
    return json.loads(answer_text(prompt, model=MODEL, schema=schema))["answer"]


def naive(prompt: str | pl.Expr, *, returns: Any = str) -> pl.Expr:
    """What `llm` gives, as a plain Python function over rows: wherever `llm` stands, this may stand too."""

    def answers(prompts: pl.Series) -> pl.Series:
        values = [None if p is None else answered(p, returns) for p in prompts]
        return pl.Series(prompts.name, values, dtype=_DTYPES[returns])

    return _source(prompt).map_batches(answers, return_dtype=_DTYPES[returns], is_elementwise=True).alias("llm")


def _source(prompt: str | pl.Expr) -> pl.Expr:
    if isinstance(prompt, pl.Expr):
        return prompt
    if "{" not in prompt:
        return pl.col(prompt)
    parts: list[pl.Expr] = []
    for text, field, _, _ in Formatter().parse(prompt):
        parts += [pl.lit(text), *([] if field is None else [pl.col(field).cast(pl.String)])]
    return pl.concat_str(parts)


def python(script: str, *arguments: object, environ: Mapping[str, str] | None = None, timeout: float = 60) -> str:
    """Run a script in a new process, in this folder; what it printed.

    Raises:
        AssertionError: If it failed, or wrote to stderr (warnings are errors there too).
    """
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parent,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (process.stderr, process.returncode) == ("", 0)
    return process.stdout
