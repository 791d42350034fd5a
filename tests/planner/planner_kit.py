"""What the planner's tests share: a model that is a pure function, three ways to run a query, and their comparison.

A query is a function of a frame and of `llm`. Handed the library's `llm` it is captured, planned and
answered; handed `by_hand` it is plain Polars in which every row is answered by a Python function where the
call is written. The second knows nothing of plans, so it judges the capture as well as the rules.
"""

from __future__ import annotations

import datetime as dt
import json
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

import polars as pl
from polars.testing import assert_frame_equal
from typing_extensions import TypedDict

import polar_llama as pll
from polar_llama import settings
from polar_llama.frame.inference_frame import plan_of
from polar_llama.frame.lists import relisted, texts
from polar_llama.frame.patch import ORIGINALS
from polar_llama.frame.running import collected
from polar_llama.frame.stages import GUARDED
from polar_llama.planner.lower import lower
from polar_llama.planner.nodes import Filter, Scan, apply
from polar_llama.planner.optimizer import RULES, optimize
from polar_llama.planner.resolve import resolve
from polar_llama.providers.base import Response
from polar_llama.providers.registry import register_provider
from polar_llama.types import answer_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from polar_llama.planner.nodes import Answer, Plan
    from polar_llama.planner.optimizer import Rule
    from polar_llama.planner.sieve import Predicate
    from polar_llama.providers.base import Request

    Query = Callable[[pl.LazyFrame, Callable[..., pl.Expr]], pl.LazyFrame]

PLAIN = pl.QueryOptFlags.none()

Color = Literal["red", "green", "blue"]


class Person(TypedDict):
    """A typed answer of two fields."""

    name: str
    age: int


DTYPES: dict[Any, pl.DataType] = {
    str: pl.String(),
    bool: pl.Boolean(),
    int: pl.Int64(),
    Color: pl.Enum(["red", "green", "blue"]),
    Person: pl.Struct({"name": pl.String(), "age": pl.Int64()}),
    list[str]: pl.List(pl.String()),
    str | None: pl.String(),
    bool | None: pl.Boolean(),
}
"""The types of answers the tests ask for."""


def answer(prompt: str, returns: Any = str) -> Any:
    """The answer to a prompt: of text, the prompt and an exclamation mark; short prompts are true."""
    seed = crc32(prompt.encode())
    if returns in (str | None, bool | None):
        return None if seed % 3 == 0 else answer(prompt, str if returns == str | None else bool)
    values: dict[Any, Callable[[], Any]] = {
        str: lambda: prompt + "!",
        bool: lambda: seed % 2 == 0,
        int: lambda: seed % 5,
        Color: lambda: ("red", "green", "blue")[seed % 3],
        Person: lambda: {"name": prompt, "age": seed % 4},
        list[str]: lambda: [prompt] * (seed % 3),
    }
    return values[returns]()


def answered_by(function: Callable[[str, Any], Any]) -> Callable[..., pl.Expr]:
    """A stand-in for `llm` that answers row by row, by a function of the prompt and of what it returns."""

    def llm(prompt: str | pl.Expr, *, returns: Any = str) -> pl.Expr:
        def answers(prompts: pl.Series) -> pl.Series:
            values = [None if p is None else function(p, returns) for p in prompts.to_list()]
            return pl.Series(prompts.name, values, dtype=DTYPES[returns])

        if isinstance(prompt, pl.Expr) and prompt.meta.is_literal():
            # One value, of whatever height the frame has: as a Python function Polars does not know it for one.
            return pl.lit(answers(pl.select(prompt).to_series())).first().alias("llm")
        return _prompts(prompt).map_batches(answers, return_dtype=DTYPES[returns], is_elementwise=True).alias("llm")

    return llm


by_hand = answered_by(answer)
"""What `llm` gives, as a Python function of each row."""


def _prompts(prompt: str | pl.Expr) -> pl.Expr:
    if isinstance(prompt, pl.Expr):
        return prompt
    if "{" not in prompt:
        return pl.col(prompt)
    parts = list(Formatter().parse(prompt))
    fields = [field for _, field, _, _ in parts if field is not None]

    def rendered(rows: pl.Series) -> pl.Series:
        return pl.Series(rows.name, [_rendered(parts, row) for row in rows.to_list()], dtype=pl.String)

    row = pl.struct([pl.col(f).alias(f"{i}") for i, f in enumerate(fields)])
    return row.map_batches(rendered, return_dtype=pl.String, is_elementwise=True)


def _rendered(parts: Sequence[tuple[str, str | None, str | None, str | None]], row: dict[str, Any]) -> str | None:
    values = iter(row.values())
    texts = []
    for text, field, _, _ in parts:
        texts.append(text)
        if field is not None:
            value = next(values)
            if value is None:
                return None
            texts.append(_text(value))
    return "".join(texts)


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict() | list():
            return json.dumps(value, separators=(",", ":"))
        case dt.datetime() | Decimal() | int() | float() | str():
            return str(value)
        case _:
            raise TypeError(type(value))


Asked = frozenset[tuple[str | None, str]]
"""Distinct requests: the schema of the answer, and the prompt."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a plan gave, and what it asked."""

    frame: pl.DataFrame
    asked: Asked

    @property
    def prompts(self) -> set[str]:
        """The distinct prompts."""
        return {prompt for _, prompt in self.asked}


def judged(query: Query, frame: pl.LazyFrame) -> pl.DataFrame:
    """The frame a query gives when every row is answered by hand, verb by verb as written."""
    return query(frame, by_hand).collect(engine="in-memory", optimizations=PLAIN)


def logical(query: Query, frame: pl.LazyFrame) -> Plan:
    """The captured plan, resolved."""
    return resolve(plan_of(query(frame, pll.llm)), "raise")


class PureProvider:
    """A provider without a network: answers are the pure function, requests are counted."""

    identity = host = "pure"
    asked: list[tuple[str | None, str]]

    def __init__(self) -> None:
        self.asked = []

    async def complete(self, request: Request) -> Response:
        schema = request.ask.schema
        self.asked.append((schema, request.prompt))
        value = answer(request.prompt, _annotations()[schema])
        if schema is None:
            return Response(str(value))
        return Response(json.dumps(value if isinstance(value, dict) else {"answer": value}))

    async def aclose(self) -> None:
        """Nothing is held."""


def _annotations() -> dict[str | None, Any]:
    return {answer_type(returns).schema: returns for returns in DTYPES}


PURE = PureProvider()
register_provider("pure", lambda _: PURE)


@contextmanager
def asking() -> Iterator[None]:
    """Settings under which the real engine asks `PURE`, and nothing is kept."""
    PURE.asked.clear()
    with settings.session(model="pure:model", cache="off", progress=False):
        yield


class PureStages:
    """Stages that call the pure function at once, without threads, so that thousands of plans can be run."""

    def __init__(self) -> None:
        self.asked: set[tuple[str | None, str]] = set()

    def answer(self, frame: pl.LazyFrame, answers: Sequence[Answer], schema: pl.Schema) -> pl.LazyFrame:
        rows: pl.DataFrame = ORIGINALS["collect"](frame, engine="in-memory", optimizations=GUARDED)
        for one in answers:
            returns = one.call.returns
            prompts = rows[one.column].alias("prompts")
            items = texts(prompts)["text"] if one.call.listed else prompts
            self.asked.update((returns.schema, p) for p in items.to_list() if p is not None)
            answers = [None if p is None else answer(p, returns.annotation) for p in items.to_list()]
            values = returns.series("text", answers)
            if one.call.listed:
                values = relisted(prompts, texts(prompts).with_columns(values), one.call.dtype)
            rows = rows.with_columns(values.alias(one.column))
            assert rows.schema[one.column] == schema[one.column], "a stage gives the dtypes it has promised"
        return rows.lazy()

    def sieve(self, frame: pl.LazyFrame, predicates: Sequence[Predicate], schema: pl.Schema) -> pl.LazyFrame:
        """The order that was not written: any order must do."""
        for predicate in reversed(predicates):
            slots = {a.column: schema[a.column] for a in predicate.answers}
            answered = self.answer(frame, predicate.answers, pl.Schema({**frame.collect_schema(), **slots}))
            frame = apply(Filter(Scan(answered), predicate.expr), (answered,))
        return frame

    def until(
        self, frame: pl.LazyFrame, step: Callable[[pl.LazyFrame], pl.LazyFrame], rows: int, schema: pl.Schema
    ) -> pl.LazyFrame:
        """The smallest pieces that make sense: as many rows as are missing."""
        whole = ORIGINALS["collect"](frame, engine="in-memory")
        found, offset = schema.to_frame(), 0
        while found.height < rows and offset < whole.height:
            piece = whole.slice(offset, rows - found.height)
            found.extend(ORIGINALS["collect"](step(piece.lazy()), engine="in-memory"))
            offset += piece.height
        return found.lazy()


def lowered(plan: Plan) -> Ran:
    """Run a resolved plan through the lowering that real runs take, with stages that call the pure function."""
    stages = PureStages()
    PURE.asked.clear()  # what no plan reaches, a native leaf, asks through the real engine
    result = ORIGINALS["collect"](lower(plan, stages), engine="in-memory")
    return Ran(result, frozenset({*stages.asked, *PURE.asked}))


def planned(query: Query, frame: pl.LazyFrame, rules: Sequence[Rule] = RULES) -> Ran:
    """Capture, plan and run a query with the pure stages; no rules run the plan as it was written."""
    with asking():
        return lowered(optimize(logical(query, frame), rules))


def engine(query: Query, frame: pl.LazyFrame, rules: Sequence[Rule] = RULES, on: Any = "in-memory") -> Ran:
    """Capture, plan and run a query with the real engine, threads and all, on a provider of our own."""
    with asking():
        plan = plan_of(query(frame, pll.llm))
        result = collected(plan, settings.current(), lambda native: native.collect(engine=on), on, rules)
    assert len(set(PURE.asked)) == len(PURE.asked), "nothing is asked twice in a run"
    return Ran(result, frozenset(PURE.asked))


def assert_same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    """Equal names, dtypes, rows and order of rows."""
    # Polars forgets what a list of nothing but nulls holds when it reverses it.
    lists = [n for n, t in other.schema.items() if t == pl.List(pl.Null) and isinstance(one.schema.get(n), pl.List)]
    other = other.with_columns(pl.col(n).cast(one.schema[n]) for n in lists)
    assert_frame_equal(one, other, check_exact=True, categorical_as_str=True)


def assert_equivalent(
    query: Query, frame: pl.LazyFrame, rules: Sequence[Rule] = RULES, expected: pl.DataFrame | None = None
) -> tuple[int, int]:
    """Run a query by hand, naively, with each rule alone and with all: equal frames, and no rule asks more.

    Returns:
        Requests of the naive plan and of the optimised one.
    """
    if expected is None:
        expected = judged(query, frame)
    with asking():
        plan = logical(query, frame)
        naive = lowered(plan)
        assert_same(naive.frame, expected)
        asked = naive.asked
        for tried in _each_and_all(rules):
            rewritten = optimize(plan, tried)
            if rewritten is plan:
                continue
            ran = lowered(rewritten)
            assert_same(ran.frame, expected)
            names = ", ".join(r.__name__ for r in tried)
            assert ran.asked <= naive.asked, f"{names}: prompts that were not asked for: {ran.asked - naive.asked}"
            asked = ran.asked
    return len(naive.asked), len(asked)


def _each_and_all(rules: Sequence[Rule]) -> Iterable[Sequence[Rule]]:
    """Each rule alone, then all of them."""
    return [*([rule] for rule in rules), rules]
