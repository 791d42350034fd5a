"""Random queries, drawn as Python source: a counterexample can be pasted into a test as it is printed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import planner_kit as kit
import polars as pl
import polars.selectors as cs
from hypothesis import strategies as st

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)

POOL = pl.DataFrame(
    {
        "k": [1, 1, 2, 2, 3, None, 1, None, 2],
        "v": [3, 3, 1, 2, None, 2, 0, 1, 3],
        "q": ["p", "p", "r", "s", None, "t", "", "r", "{q}"],
        "s": ["1", "2", "zz", None, "3", "1", "2", None, "1"],
        "c": [True, False, None, True, None, False, True, None, False],
        "f": [0.5, -0.0, 0.0, None, 1.5, 2.5, float("nan"), 0.5, 1.5],
        "e": pl.Series(["hi", "lo", "hi", None, "mid", "lo", "lo", "hi", "mid"], dtype=pl.Enum(["lo", "mid", "hi"])),
        "d": pl.Series([Decimal("1.50"), None, Decimal("2.25"), *[Decimal("0.10")] * 6], dtype=pl.Decimal(10, 2)),
        "t": [_NOON, None, *[_NOON + dt.timedelta(hours=i) for i in range(7)]],
        "l": [[1, 2], [], None, [3], [1, None], [4], [5, 6, 7], [], [8]],
        "m": [{"x": 1, "y": "m"}, None, {"x": None, "y": "n"}, *[{"x": 2, "y": "o"}] * 6],
        "g": pl.Series(["u", "w", None, "u", "u", "w", "u", None, "w"], dtype=pl.Categorical),
        "b": [b"1", b"2", None, *[b"3"] * 6],
    }
)
"""The rows that frames are made of: nulls, duplicates, an empty string, braces, and odd dtypes."""

VERBS = (
    *("answered", "answered", "filter", "filter", "filter", "with_columns", "with_columns", "select", "rows", "rows"),
    *("names", "sort", "top", "join", "join", "unique", "shape", "group_by", "concat", "fill", "every_column"),
    *("frames", "windows", "derived", "derived"),
)
"""The methods of `Step`, as often as they should be drawn."""

NARROW = ("k", "v", "q", "s", "c")

OTHER = pl.LazyFrame(
    {"k": [2, 3, None, 1], "z": ["x", "y", "z", "x"], "a": ["A", "B", "C", "D"], "q": ["R2", "R3", "Rn", "R1"]}
)
"""What frames are joined with: its names collide with theirs."""


@dataclass(frozen=True, slots=True)
class Case:
    """A query over `POOL[rows]`: verbs after `lf`."""

    verbs: tuple[str, ...]
    rows: tuple[int, ...] = tuple(range(9))
    wide: bool = False

    @property
    def source(self) -> str:
        """The query, to be pasted into a test."""
        return "lf" + "".join(self.verbs)

    @property
    def frame(self) -> pl.LazyFrame:
        """The frame the query is run on."""
        return table(self.rows, wide=self.wide)

    def query(self, lf: pl.LazyFrame, llm: Callable[..., pl.Expr]) -> pl.LazyFrame:
        """The query as a function."""
        return evaluated(self.source, lf, llm)

    def smaller(self) -> Iterator[Case]:
        """The same without one of its verbs or rows."""
        for i in range(len(self.verbs)):
            yield replace(self, verbs=(*self.verbs[:i], *self.verbs[i + 1 :]))
        for i in range(len(self.rows)):
            yield replace(self, rows=(*self.rows[:i], *self.rows[i + 1 :]))


def smallest(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Leave out verbs and rows as long as the case still fails.

    Hypothesis would have to draw every smaller query anew; taken from the text it is a few tries.
    """
    for smaller in case.smaller():
        if fails(smaller):
            return smallest(smaller, fails)
    return case


def table(rows: Sequence[int], *, wide: bool) -> pl.LazyFrame:
    """Some rows of the pool under a unique `i`."""
    frame = POOL[list(rows)] if rows else POOL.clear()
    return frame.select(pl.int_range(pl.len()).alias("i"), *(POOL.columns if wide else NARROW)).lazy()


def evaluated(source: str, lf: pl.LazyFrame, llm: Callable[..., pl.Expr]) -> pl.LazyFrame:
    """Evaluate a query's source."""
    names: dict[str, Any] = {"pl": pl, "cs": cs, "lf": lf, "llm": llm, "other": OTHER}
    names |= {"Color": kit.Color, "Person": kit.Person}
    result: pl.LazyFrame = eval(source, names)
    return result


def cases(verbs: tuple[str, ...] = (), least: int = 1) -> st.SearchStrategy[Case]:
    """Chains of up to six verbs, at least one of which holds a call; of some verbs, or of all.

    Drawn from a seed: Hypothesis likes to repeat parts of what it has drawn, which made half of the plans equal.
    """
    return st.integers(0, 2**63).map(lambda seed: _case(Random(seed), verbs or VERBS, least))


def _case(rng: Random, kinds: Sequence[str], least: int) -> Case:
    rows = tuple(rng.choices(range(POOL.height), k=rng.randint(0, 7)))
    wide = rng.random() < 1 / 5
    lf = table((), wide=wide)
    verbs: list[str] = []
    for _ in range(rng.randint(least, 6)):
        verb = Step(rng, lf.collect_schema()).step(kinds)
        try:
            longer = evaluated("lf" + verb, lf, kit.by_hand)
            longer.collect_schema()
        except BaseException as error:
            if not isinstance(error, Exception) and "Panic" not in type(error).__name__:
                raise
            # Names collide or dtypes do not fit: Polars refuses, or panics, which spoils the frame below too.
            lf = evaluated("lf" + "".join(verbs), table((), wide=wide), kit.by_hand)
            continue
        lf = longer
        verbs.append(verb)
    if not any("llm" in verb for verb in verbs):
        verbs.append(".with_row_index('n').with_columns(a=llm('{n}'))")
    return Case(tuple(verbs), rows, wide)


def _writable(dtype: pl.DataType) -> bool:
    """Whether the judge can write a value into a prompt as Polars does, alone or inside of another."""
    match dtype:
        case pl.List():
            return _writable(pl.Series(dtype=dtype).explode().dtype)
        case pl.Struct():
            return all(_writable(pl.Series(dtype=field.dtype).dtype) for field in dtype.fields)
        case _:
            return dtype.is_integer() or dtype in (pl.String, pl.Boolean, pl.Enum)


class Step:
    """Draws one verb for a frame of a known schema."""

    def __init__(self, rng: Random, schema: pl.Schema) -> None:
        self.rng = rng
        self.schema = schema
        self.per_row = False

    # --- drawing

    def one(self, *choices: T) -> T:
        return self.rng.choice(choices)

    def number(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def named(self, *dtypes: Any) -> str | None:
        """A column of one of these dtypes."""
        found = [n for n, t in self.schema.items() if t.base_type() in dtypes]
        return self.one(*found) if found else None

    def column(self) -> str:
        return self.one(*self.schema) if len(self.schema) else "nothing"

    def some(self, most: int = 3) -> list[str]:
        names = list(self.schema)
        return self.rng.sample(names, self.number(1, min(most, len(names)))) if names else ["nothing"]

    # --- calls

    def prompt(self, depth: int) -> str:
        """The first argument of a call."""
        text = self.named(pl.String)
        writable = [n for n, t in self.schema.items() if _writable(t) or isinstance(t, pl.Decimal | pl.Datetime)]
        field = self.one(*writable) if writable else None
        kind = self.number(0, 11)
        if kind <= 4 and field is not None:
            other = self.one(*writable)
            return self.one(f"'{{{field}}}'", f"'{{{field}}}?'", f"'{{{field}}}-{{{other}}}'")
        if kind <= 7 and text is not None:
            return f"'{text}'"
        if kind == 8 and text is not None:
            return self.one(
                f"pl.col('{text}').fill_null('none')",
                f"pl.col('{text}').shift()",
                f"pl.col('{text}').first().over('{self.column()}')",
                f"pl.format('{{}}/{{}}', '{text}', pl.col('{text}').count())",
                *([] if self.per_row else [f"pl.col('{text}').max()"]),
            )
        if kind == 9 and depth > 0:
            return f"pl.format('on {{}}', {self.moved(lambda: self.text(depth - 1))})"
        # Of a struct it raises in some rows, which a condition may guard.
        castable = [n for n, t in self.schema.items() if not t.is_nested()]
        return f"pl.col('{self.one(*castable)}').cast(pl.String)" if self.per_row and castable else "pl.lit('c')"

    def moved(self, drawn: Callable[[], str]) -> str:
        """Where heights tell, every call has a prompt a row: by hand, an answer to one prompt has one row."""
        self.per_row, before = True, self.per_row
        text = drawn()
        self.per_row = before
        return text

    def call(self, returns: str = "str", depth: int = 0) -> str:
        prompt = self.prompt(depth)
        return f"llm({prompt})" if returns == "str" else f"llm({prompt}, returns={returns})"

    # --- expressions

    def boolean(self, depth: int) -> str:
        if depth <= 0:
            return self.condition()

        def sub() -> str:
            return self.boolean(depth - 1)

        forms: tuple[Callable[[], str], ...] = (
            lambda: f"({sub()} & {sub()})",
            lambda: f"({sub()} & {sub()})",
            lambda: f"({sub()} | {sub()})",
            lambda: f"(~{sub()})",
            lambda: f"({sub()} ^ {sub()})",
            lambda: f"pl.any_horizontal({sub()}, {sub()}, {sub()})",
            lambda: f"pl.all_horizontal({sub()}, {sub()})",
            lambda: f"pl.when({sub()}).then({sub()}).otherwise({sub()})",
            lambda: f"pl.when({sub()}, {sub()}).then({sub()})",
            lambda: f"pl.coalesce({sub()}, {sub()})",
            lambda: f"{sub()}.fill_null({sub()})",
            lambda: f"{sub()}.is_null()",
            lambda: f"{sub()}.eq_missing({sub()})",
            lambda: f"{self.moved(sub)}.shift()",
            lambda: f"({self.text(depth - 1)} == {self.text(depth - 1)})",
            lambda: f"{self.text(depth - 1)}.is_in(['p', 'p!', 'c!'])",
            lambda: f"({self.integer(depth - 1)} > {self.number(0, 3)})",
        )
        return self.one(*forms)()

    def condition(self) -> str:
        """A predicate of one term, with or without a call."""
        number, text, flag = self.named(pl.Int64), self.named(pl.String), self.named(pl.Boolean)
        kind = self.number(0, 9)
        if kind <= 3:
            return self.one(
                self.call("bool"),
                self.call("bool | None"),
                f"({self.call('Color')} == 'red')",
                f"({self.call('int')} > 1)",
            )
        if kind <= 6 and number is not None:
            return self.one(
                f"(pl.col('{number}') > {self.number(0, 2)})",
                f"pl.col('{number}').is_in([1, 2])",
                f"(pl.col('{number}') >= pl.col('{number}').mean())",
                f"pl.col('{number}').is_duplicated()",
                f"(pl.col('{number}').cum_sum() < 6)",
                "(pl.len() > 2)",
            )
        if kind == 7 and text is not None:
            return self.one(
                f"(pl.col('{text}').str.len_chars() < 2)",
                f"pl.col('{text}').str.contains('p|R')",
                f"(pl.col('{text}').cast(pl.Int64) > 1)",
                f"(pl.col('{text}') != 'p!')",
            )
        if kind == 8 and flag is not None:
            return f"pl.col('{flag}')"
        return self.one(f"pl.col('{self.column()}').is_null()", f"pl.col('{self.column()}').is_not_null()")

    def text(self, depth: int) -> str:
        if depth <= 0:
            text = self.named(pl.String)
            bare = [f"pl.col('{text}')"] if text is not None else ["pl.lit('x')"]
            return self.one(*bare, self.call(depth=depth), self.call("str | None"))

        def sub() -> str:
            return self.text(depth - 1)

        forms: tuple[Callable[[], str], ...] = (
            lambda: self.call(depth=depth),
            lambda: f"pl.when({self.boolean(depth - 1)}).then({sub()}).otherwise({sub()})",
            lambda: f"pl.when({self.condition()}).then({sub()}).when({self.condition()}).then({sub()})",
            lambda: f"pl.coalesce({sub()}, {sub()}, {sub()})",
            lambda: f"{sub()}.fill_null({sub()})",
            lambda: f"({sub()} + {sub()})",
            lambda: f"{sub()}.str.to_uppercase()",
            lambda: f"{sub()}.first()",
            lambda: f"{self.moved(sub)}.first().over('{self.column()}')",
            lambda: f"{self.moved(sub)}.shift(-1)",
        )
        return self.one(*forms)()

    def integer(self, depth: int) -> str:
        number = self.named(pl.Int64)
        bare = [f"pl.col('{number}')", f"pl.col('{number}').cum_sum()"] if number is not None else []
        forms = [f"{self.text(depth - 1)}.str.len_chars()", self.call("int", depth), *bare]
        return self.one(*forms)

    def value(self) -> str:
        """Any expression, named, for `with_columns`."""
        name = self.one("a", "b", "x", "q", "v", "s")
        forms: tuple[Callable[[], str], ...] = (
            lambda: self.call(depth=1),
            lambda: self.call(self.one("bool", "int", "Color", "Person", "list[str]", "bool | None")),
            lambda: self.text(self.number(1, 2)),
            lambda: self.boolean(self.number(0, 2)),
            lambda: self.integer(1),
            lambda: f"pl.col('{self.column()}')",
            lambda: self.one("pl.lit('new')", "pl.len()", "pl.int_range(pl.len())"),
        )
        return f"{name}={self.one(*forms)()}"

    # --- verbs

    def step(self, verbs: Sequence[str]) -> str:
        text: str = getattr(self, self.one(*verbs))()
        return text

    def answered(self) -> str:
        """The plainest use: an answer of its own name, which may replace a column."""
        returns = self.one("str", "str", "str", "bool", "int", "Color", "Person")
        return f".with_columns({self.one('a', 'b', 'q', 'v')}={self.call(returns, depth=1)})"

    def filter(self) -> str:
        verb = self.one("filter", "filter", "filter", "remove")
        if self.number(0, 3) == 0:
            return f".{verb}({self.boolean(1)}, {self.boolean(1)})"
        return f".{verb}({self.boolean(self.number(0, 3))})"

    def with_columns(self) -> str:
        values = {v.split("=", 1)[0]: v for v in (self.value() for _ in range(self.number(1, 3)))}
        return f".with_columns({', '.join(values.values())})"

    def select(self) -> str:
        kept = ", ".join(f"'{n}'" for n in self.some(6))
        value = self.value()
        return self.one(
            f".select({kept})",
            f".select({kept})",
            f".select({value})",
            f".select(pl.all().exclude('{value.split('=')[0]}'), {value})",
            f".select('{self.column()}', {value})",
            ".select(pl.len())",
            f".select({self.call()})",
            f".select(n=pl.len(), a={self.call()})",
            f".select('{self.column()}', a=pl.col('{self.named(pl.String) or 'q'}') + llm(pl.lit('c')))",
            f".select(a=pl.when(pl.col('i') > 1).then(llm(pl.lit('c'))).otherwise({self.text(0)}))",
        )

    def rows(self) -> str:
        n, offset = self.number(1, 4), self.number(-4, 4)
        return self.one(
            f".head({n})",
            f".head({n})",
            f".tail({n})",
            f".slice({offset}, {n})",
            f".slice({offset})",
            ".reverse()",
            ".gather_every(2)",
            f".shift({offset})",
            ".first()",
            ".last()",
        )

    def names(self) -> str:
        one, two = self.column(), self.column()
        swap = f"{{'{one}': '{two}', '{two}': '{one}'}}" if one != two else f"{{'{one}': 'new'}}"
        return self.one(
            f".rename({{'{one}': '{self.one('a', 'b', 'q', 'n1')}'}})",
            f".rename({swap})",
            f".drop('{one}')",
            f".drop({self.some()!r})",
            f".drop(cs.{self.one('string', 'integer', 'boolean')}())",
            f".with_row_index('{self.one('a', 'r1', 'r2')}')",
        )

    def sort(self) -> str:
        by = [f"'{n}'" for n in self.some(2) if self.schema.get(n, pl.Int64()).base_type() not in (pl.List, pl.Struct)]
        keys = self.one(by or ["'i'"], [*by, self.text(0)], [self.call(self.one("int", "Color", "bool")), *by])
        options = self.one("", ", descending=True", ", nulls_last=True", ", descending=True, nulls_last=True")
        return f".sort({', '.join(keys)}{options}, maintain_order=True)"

    def top(self) -> str:
        key = self.one(f"'{self.named(pl.Int64) or 'i'}'", self.call("int"), self.text(0))
        return (
            f".with_row_index('_r').{self.one('top_k', 'bottom_k')}({self.number(1, 4)}, by=[{key}, '_r']).drop('_r')"
        )

    def join(self) -> str:
        how = self.one("inner", "left", "right", "full", "semi", "anti", "cross")
        order = "left" if how in ("semi", "anti") else "left_right"
        coalesce = self.one("", "", ", coalesce=True", ", coalesce=False") if how in ("left", "right", "full") else ""
        nulls = self.one("", "", ", nulls_equal=True") if how in ("inner", "semi", "anti") else ""
        key = self.one("k", "k", "k", "v") if how != "cross" else None
        on = "" if key is None else f"left_on='{key}', right_on='k', " if key != "k" else "on='k', "
        options = f"{on}how='{how}'{coalesce}{nulls}, maintain_order='{order}'"
        other = self.one(
            "other",
            "other.with_columns(a=llm('{z}'))",
            "other.with_columns(a=llm(pl.lit('const')), q=llm('{k}-{q}'))",
            "other.filter(llm('z', returns=bool))",
            "other.head(2)",
        )
        same = f"on='i', how='{self.one('inner', 'left', 'full')}', maintain_order='left_right'"
        return self.one(
            f".join({other}, {options})",
            f".join({other}, {options})",
            f".pipe(lambda d: {other}.with_columns(v=pl.col('k')).join(d, {options}))",
            f".pipe(lambda d: d.join(d, {same}))",
            f".join(other, left_on={self.call()}, right_on='z', how='{self.one('inner', 'left', 'semi')}'"
            ", maintain_order='left')",
            f".join(other, left_on='q', right_on=llm('{{z}}'), how='{self.one('inner', 'left', 'anti')}'"
            ", maintain_order='left')",
        )

    def unique(self) -> str:
        keep = f"keep='{self.one('first', 'last', 'none')}', maintain_order=True"
        return self.one(
            f".unique({self.some(2)!r}, {keep})",
            f".unique({self.some(2)!r}, {keep})",
            f".unique({keep})",
            f".unique([{self.call('int')}, '{self.column()}'], {keep})",
        )

    def shape(self) -> str:
        """Verbs that change what a row is."""
        listed, struct = self.named(pl.List), self.named(pl.Struct)
        by_variable = ".sort('variable', maintain_order=True)"  # its order is not the streaming engine's
        if listed is not None and self.number(0, 1):
            return f".explode('{listed}')"
        if struct is not None and self.number(0, 1):
            return f".unnest('{struct}')"
        return self.one(
            ".with_columns(n=pl.int_ranges(0, pl.col('v').fill_null(1).clip(0, 3))).explode('n')",
            f".unpivot(on=['{self.named(pl.Int64)}', '{self.named(pl.Int64)}'], index='{self.column()}'){by_variable}",
            f".unpivot(on=['{self.named(pl.String)}'], index={self.some(2)!r}){by_variable}",
            f".with_columns(p={self.call('Person')}).unnest('p')",
            f".with_columns(p={self.call('list[str]')}).explode('p')",
            f".select({self.some()!r}, w=pl.struct({self.some()!r}))",
        )

    def group_by(self) -> str:
        text = self.named(pl.String) or "q"
        key = self.one(
            f"'{self.named(pl.Int64, pl.Boolean) or 'k'}'",
            f"'{text}'",
            f"g={self.moved(lambda: self.call(self.one('bool', 'int', 'Color')))}",
        )
        aggregations = [
            "pl.all().first()",
            f"pl.col('{self.column()}').last()",
            f"n=pl.len(), b={self.call()}.first()",
            f"a=llm(pl.col('{text}').str.join(',')), v=pl.col('v').sum()",
            f"a={self.call()}",
            f"a=llm(pl.lit('c')), b=pl.col('{self.column()}').first()",
            f"a={self.text(1)}.first()",
            f"a=pl.format('{{}}: {{}}', pl.col('{text}').first(), llm(pl.col('{text}').str.join(',')))",
            f"a=pl.when(pl.len() > 1).then(llm(pl.col('{text}').str.join(','))).otherwise(pl.col('{text}').first())",
            f"a=pl.struct(n=pl.len(), a=llm(pl.col('{text}').first(), returns=int)), b=llm(pl.col('{text}').first())",
            f"a=llm(pl.format('{{}}', '{text}').unique(maintain_order=True), returns={self.one('str', 'bool')})",
            f"a=llm(pl.format('{{}}', '{text}').filter({self.boolean(0)}))",
            f"a=pl.col('{self.column()}').filter({self.boolean(0)}).first()",
            f"a=llm(pl.format('{{}} of {{}}', pl.col('{text}').first(), pl.len()), returns=bool)",
        ]
        having = self.one("", "", "", ".having(pl.len() > 1)", f".having({self.call('bool')}.first())")
        return f".group_by({key}, maintain_order=True){having}.agg({self.one(*aggregations)})"

    def concat(self) -> str:
        return self.one(
            ".pipe(lambda d: pl.concat([d, d]))",
            f".pipe(lambda d: pl.concat([d, d.filter({self.boolean(0)})]))",
            f".pipe(lambda d: pl.concat([d.head(2), d.tail(2)]).head({self.number(1, 4)}))",
            ".pipe(lambda d: pl.concat([d, other.with_columns(a=llm('{z}'))], how='diagonal'))",
            ".pipe(lambda d: pl.concat([d, other.select(z1='z')], how='horizontal_extend'))",
            ".pipe(lambda d: pl.concat([d, d.reverse()], how='vertical_relaxed'))",
        )

    def fill(self) -> str:
        return self.one(
            ".fill_null('z')",
            ".fill_null(7)",
            ".fill_null(strategy='forward')",
            ".drop_nulls()",
            f".drop_nulls('{self.column()}')",
            f".cast({{'{self.column()}': pl.String}})",
            ".cast({cs.integer(): pl.Int32})",
            ".count()",
            ".max()",
            ".fill_nan(0)",
            ".map_batches(lambda d: d.head(3))",
        )

    def frames(self) -> str:
        """Verbs of two frames, and of a frame as a whole."""
        number, text = self.named(pl.Int64) or "i", self.named(pl.String) or "q"
        other = self.one("other", "other.with_columns(a=llm('{z}'))", "other.with_columns(a=llm('z', returns=int))")
        keyed = "drop_nulls('k').sort('k', maintain_order=True)"
        first = "unique('k', keep='first', maintain_order=True)"
        return self.one(
            f".pivot(on='{text}', on_columns=['p', 'r', 'p!'], index='i', values='{self.column()}', "
            f"aggregate_function='{self.one('first', 'len')}', maintain_order=True)",
            f".pivot(on='c', on_columns=[True], values='{number}', aggregate_function='max', maintain_order=True)",
            f".unpivot(index={self.some(2)!r}).sort('variable', maintain_order=True)",
            f".{keyed}.join_asof({other}.{keyed}, on='k', strategy='{self.one('backward', 'forward', 'nearest')}'"
            f"{self.one('', ', tolerance=0', ', allow_exact_matches=False', ', coalesce=False')})",
            f".{keyed}.join_asof({other}.{keyed}, on='k', by='{self.one('q', text)}')",
            f".join_where({other}, pl.col('i') > pl.col('k_right')).sort(pl.all(), maintain_order=True)",
            ".with_row_index('_r').pipe(lambda d: d.merge_sorted(d.head(2), key='_r')).drop('_r')",
            f".update({other}.select('k', '{self.one('q', 'z')}').{first}{self.one('', '.drop_nulls()')}, on='k', "
            f"how='{self.one('left', 'left', 'full')}', maintain_order='left_right')",
            f".update({other}.select('q'))",
            f".shift({self.one(1, -1)}, fill_value={self.one('0', repr('z'), 'pl.lit(None)')})",
            ".drop(cs.boolean()).interpolate()",  # Polars breaks on Booleans
            ".lazy()",
            ".clone()",
            ".pipe(lambda d: d)",
            ".map_batches(lambda d: d.reverse())",
            ".null_count()",
            f".with_columns_seq(a={self.text(1)}, x={self.boolean(1)})",
            f".select_seq('{self.column()}', a={self.text(1)})",
            ".pipe(lambda d: pl.SQLContext(t=d).execute('select *, upper(q) as u from t where i > 0'))",
            ".pipe(lambda d: pl.SQLContext(t=d).execute('select k, min(i) as i from t group by k order by i, k'))",
            f".with_row_index('_r').top_k({self.number(1, 3)}, by=['{number}', '_r'], "
            f"reverse=[{self.one('True', 'False')}, False])",
            f".with_row_index('_r').bottom_k({self.number(1, 3)}, by=['{number}', '_r'])",
            ".pipe(lambda d: pl.concat([d.select('i', 'q'), d.select(pl.exclude('i', 'q'))], how='horizontal'))",
            ".pipe(lambda d: pl.concat([d, other.with_columns(a=llm('{k}'))], how='align_left'))",
            ".pipe(lambda d: pl.align_frames(d, other, on='k', how='left')[0])",
            f".limit({self.number(0, 4)})",
            ".set_sorted('i')",
            f".with_columns(j=pl.int_range(pl.len())).filter(pl.col('j') % 2 == 0, {self.boolean(0)})",
        )

    def windows(self) -> str:
        """Values that look at other rows."""
        number, text = self.named(pl.Int64) or "i", self.named(pl.String) or "q"
        key = self.one("k", "c", "v", text)
        moved = self.moved(lambda: self.text(1))
        flag = self.moved(lambda: self.boolean(0))
        return self.one(
            f".with_columns(w=pl.col('{text}').sort().over('{key}', mapping_strategy='join'))",  # of more it may crash
            f".with_columns(w={self.moved(self.call)}.sort().over('{key}', mapping_strategy='group_to_rows'))",
            f".with_columns(w=pl.col('{text}').sort_by('{number}', maintain_order=True).over('{key}'))",
            f".with_columns(w=pl.col('{number}').rank('ordinal').over('{key}', order_by='i'))",
            f".with_columns(w=pl.col('{number}').max().over(pl.when({flag}).then(1).otherwise(2)))",
            f".with_columns(w=pl.col('{text}').filter({flag}).first().over('{key}'))",
            f".with_columns(w=pl.col('{number}').rolling_sum(2))",
            ".with_columns(w=pl.col('v').sum().rolling(index_column='i', period='2i'))",
            f".rolling(index_column='i', period='3i').agg(w=pl.col('{text}').last(), n=pl.len())",
            f".rolling(index_column='i', period='2i', group_by='{key}').agg(pl.col('{text}').first())",
            f".group_by_dynamic('i', every='2i').agg(pl.col('{text}').first(), n=pl.len())",
            ".group_by_dynamic('i', every='2i').agg(pl.all().last())",
            f".filter(pl.col('{number}') == pl.col('{number}').max().over('{key}'))",
            f".filter({flag}, pl.col('{number}').rank('dense') <= 2)",
            f".filter({flag}.any().over('{key}'))",
            f".with_columns(w=pl.when({flag}).then(pl.col('{number}').cum_count()))",
            f".with_columns(w={moved}.shift(1, fill_value='z'))",
            f".with_columns(w={moved}.forward_fill(), x=pl.col('{number}').backward_fill())",
            f".group_by('{key}', maintain_order=True).agg(w={moved}.reverse().last(), f={flag}.all())",
            f".group_by('{key}', maintain_order=True).map_groups(lambda d: d.head(1), schema=None)",
            f".with_columns(w=pl.concat_list({moved}, '{text}').list.first())",
            f".with_columns(w=pl.struct({moved}.alias('y'), '{text}')).unnest('w')"
            if text != "y"
            else f".with_columns(w={moved})",
        )

    def derived(self) -> str:
        """Columns under other names, or computed from others: what is filtered or ordered by them may run below."""
        number, text, other = self.named(pl.Int64) or "i", self.named(pl.String) or "q", self.column()
        value = self.one(
            f"pl.col('{number}')",
            f"pl.col('{number}') * 2 - 1",
            f"pl.col('{number}').cast(pl.Int8) + pl.when(pl.col('{number}') > 1).then(100).otherwise(120)",
            f"pl.when(pl.col('{number}') > 1).then(1).otherwise(2)",
            f"pl.col('{number}').fill_null(0)",
            f"pl.col('{text}').str.len_chars()",
            f"pl.col('{text}').cast(pl.Int64)",
            f"pl.struct('{number}', '{text}').struct.field('{number}')",
            f"{self.text(0)}.str.len_chars()",
            "pl.lit(2)",
        )
        test = self.one(
            "filter(pl.col('n1') < 3)",
            "filter((pl.col('n1') + pl.lit(10, pl.Int8)) < 100)",
            f"filter((pl.col('n1') > 1) | {self.boolean(0)})",
            f"filter(pl.struct('n1', n2='{number}') == pl.struct(n1=pl.lit(2, pl.Int64), n2=pl.lit(2, pl.Int64)))",
            f"filter(pl.col('n1') == pl.col('{number}').max())",
            "sort('n1', maintain_order=True).head(2)",
            "with_row_index('_r').top_k(2, by=['n1', '_r'])",
            "unique('n1', keep='first', maintain_order=True)",
            "unique('n1', keep='none', maintain_order=True).filter(pl.col('n1') > 0)",
            "unique(keep='first', maintain_order=True).filter(pl.col('n1') > 0)",
            f"group_by('n1', 'c', maintain_order=True).agg(a={self.call()}.first(), i=pl.col('i').sum())"
            ".filter(pl.col('n1') > 0)",
            f"group_by(n2='n1', maintain_order=True).having(pl.len() > 1).agg(a={self.call('int')}.max())"
            ".filter(pl.col('n2') < 3)",
            "drop_nulls('n1')",
            "rename({'n1': 'n2'}).filter(pl.col('n2') < 3)",
            f"cast({{'n1': pl.Float64}}).filter(pl.col('n1') < {self.number(1, 3)})",
        )
        names = ", ".join(f"'{n}'" for n in dict.fromkeys(("i", number, text, "c", other)))
        step = self.one(f"with_columns(n1={value})", f"with_columns(n1={value})", f"select({names}, n1={value})")
        return f".{step}.{test}"

    def every_column(self) -> str:
        """Selectors and everything that stands for several columns."""
        return self.one(
            ".with_columns(cs.string().str.to_uppercase())",
            ".with_columns(cs.string().fill_null('none').name.suffix('_f'))",
            ".select(pl.all())",
            f".select(cs.exclude('{self.column()}'))",
            ".select(pl.all().first())",
            f".with_columns(pl.all().shift(), b={self.call()})",
            f".filter(pl.all_horizontal(cs.integer() > 0), {self.boolean(0)})",
            f".filter(pl.any_horizontal(cs.boolean(), {self.call('bool')}))",
            f".select(cs.numeric(), a={self.call('int')})",
            f".sort(cs.integer(), {self.call('int')}, maintain_order=True)",
            ".select(pl.col('^[a-q]$'))",
            ".select(pl.nth(0, -1))",
            f".select(pl.coalesce(cs.string(), {self.call()}))",
            f".filter(cs.by_name('i', 'v', require_all=False) < 3, {self.boolean(0)})",
            f".filter(pl.any_horizontal(cs.integer() > {self.number(0, 5)}, {self.boolean(0)}))",
            f".remove(pl.any_horizontal(cs.boolean() & {self.boolean(0)}))",
            f".with_columns(pl.when({self.boolean(0)}).then(cs.integer()).otherwise({self.number(0, 9)}))",
            ".with_columns(cs.integer() * 2)",
            ".sort(cs.integer(), cs.string(), descending=[True, False], maintain_order=True)",
            ".group_by(cs.boolean() | cs.by_name('k'), maintain_order=True).agg(cs.integer().sum(), cs.all().first())",
            f".group_by(cs.boolean(), 'k', maintain_order=True).agg(cs.string().max(), n={self.call('int')}.first())",
            f".with_row_index('_r').top_k({self.number(1, 4)}, by=[{self.call('int')}, cs.unsigned_integer()])",
            ".unique(cs.string(), keep='first', maintain_order=True)",
            f".with_columns(pl.concat_str(cs.string(), {self.call()}).alias('a'))",
            f".with_columns(m=pl.max_horizontal(cs.integer(), {self.call('int')}))",
        )
