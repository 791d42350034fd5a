"""An answer is a column like any other: inside every expression, beside every selector, under every name."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs
import pytest
from frame_kit import Color, Person, same, small

import polar_llama as pll

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.testing import Emulator

    Query = Callable[[Any, Any], Any]

pytestmark = pytest.mark.usefixtures("one_cache")

col = pl.col

EXPRESSIONS: dict[str, Query] = {
    "str": lambda lf, llm: lf.with_columns(a=llm("q").str.to_uppercase().str.slice(0, 9)),
    "comparison": lambda lf, llm: lf.with_columns(a=llm("q") == llm(pl.lit("p"))),
    "filter by comparison": lambda lf, llm: lf.filter(llm("q") > "answer 9"),
    "not": lambda lf, llm: lf.filter(~llm("q", returns=bool)),
    "is_in": lambda lf, llm: lf.filter(llm("q", returns=Color).is_in(["red", "blue"])),
    "when": lambda lf, llm: lf.with_columns(a=pl.when(col("v") == 3).then(llm("q")).otherwise(llm("{q}?"))),
    "when it": lambda lf, llm: lf.with_columns(a=pl.when(llm("q", returns=bool)).then(col("g")).otherwise(pl.lit("n"))),
    "when it, unnamed": lambda lf, llm: lf.select(pl.when(llm("q", returns=bool)).then(llm("q")).otherwise(col("g"))),
    "struct": lambda lf, llm: lf.select(pl.struct("i", llm("q"))),
    "named struct fields": lambda lf, llm: lf.select(s=pl.struct(col("i"), x=llm("q"), y=llm("{q}!"))),
    "struct fields": lambda lf, llm: lf.select(
        llm("q", returns=Person).struct.field("name"), llm("q", returns=Person).struct.field("age")
    ),
    "over": lambda lf, llm: lf.with_columns(a=llm("q").first().over("g")),
    "over it": lambda lf, llm: lf.with_columns(a=col("v").sum().over(llm("q", returns=Color))),
    "rank": lambda lf, llm: lf.with_columns(a=llm("q").rank("dense")),
    "chain in an expression": lambda lf, llm: lf.with_columns(a=llm(pl.format("on {}", llm("q")))),
    "chain of three": lambda lf, llm: lf.with_columns(a=llm(pl.format("3 {}", llm(pl.format("2 {}", llm("q")))))),
    "chain of templates": lambda lf, llm: (
        lf.with_columns(a=llm("q")).with_columns(b=llm("on {a}")).with_columns(c=llm("{b} {a}"))
    ),
    "format": lambda lf, llm: lf.select(a=pl.format("{}/{}", llm("q"), "i")),
    "concat_str": lambda lf, llm: lf.with_columns(a=pl.concat_str([llm("q"), col("g")], separator="-")),
    "coalesce": lambda lf, llm: lf.select(pl.coalesce(llm("q"), col("g"))),
    "fill_null": lambda lf, llm: lf.select(llm("q").fill_null("none")),
    "sum of both": lambda lf, llm: lf.select(llm("q", returns=int) + col("v"), "i"),
    "sum the other way": lambda lf, llm: lf.select(col("v") + llm("q", returns=int), "i"),
    "aggregates": lambda lf, llm: lf.select(llm("q", returns=int).sum(), n=pl.len()),
    "cast": lambda lf, llm: lf.select(llm("q", returns=int).cast(pl.Float64)),
    "shift": lambda lf, llm: lf.select(llm("q").shift(1), "i"),
    "sort_by": lambda lf, llm: lf.select(llm("q").sort_by("v", maintain_order=True), "i"),
    "filtered answers": lambda lf, llm: lf.select(llm("q").filter(col("v") == 3)),
    "filtered by answers": lambda lf, llm: lf.select(col("i").filter(llm("q", returns=bool))),
    "explode": lambda lf, llm: lf.select(llm("q").str.split(" ").explode()),
    "map_batches": lambda lf, llm: lf.select(llm("q").map_batches(lambda s: s.str.reverse(), return_dtype=pl.String)),
    "one expression, used thrice": lambda lf, llm: lf.select(
        f(a).alias(f"a{i}") for a in [llm("q")] for i, f in enumerate((pl.Expr.is_null, pl.Expr.n_unique, pl.Expr.len))
    ),
    "filtered prompts": lambda lf, llm: lf.select(llm(col("q").filter(col("v") == 3))),
    "distinct prompts": lambda lf, llm: lf.select(llm(col("q").unique(maintain_order=True))),
    "one prompt of all rows": lambda lf, llm: lf.select(llm(col("q").str.join(","))),
    "a literal prompt": lambda lf, llm: lf.select(llm(pl.lit("hello"))),
    "a literal prompt beside rows": lambda lf, llm: lf.select("i", llm(pl.lit("hello"))),
    "a literal prompt in with_columns": lambda lf, llm: lf.with_columns(llm(pl.lit("hello"))),
    "a shifted prompt": lambda lf, llm: lf.select(llm(col("q").shift(1))),
    "a prompt over groups": lambda lf, llm: lf.with_columns(llm(col("q").first().over("g"))),
    "a prompt of whole rows": lambda lf, llm: lf.with_columns(a=llm(pl.struct(pl.all()).struct.json_encode())),
    "no rows": lambda lf, llm: lf.clear().with_columns(llm("q"), n=llm("q", returns=int)),
    "only nulls": lambda lf, llm: lf.select(z=pl.lit(None)).select(llm("z")),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_answer_in_an_expression(name: str) -> None:
    same(lambda lf, llm: EXPRESSIONS[name](lf, llm).collect())


@pytest.mark.parametrize("name", ["str", "when it", "struct", "over", "aggregates"])
def test_an_answer_in_an_expression_of_an_eager_frame(name: str) -> None:
    same(lambda lf, llm: EXPRESSIONS[name](lf.collect(), llm))


ITERABLES: dict[str, Query] = {
    "a generator": lambda lf, llm: lf.with_columns(llm(f"{{q}} {k}").alias(f"a{k}") for k in range(3)),
    "a generator without calls": lambda lf, llm: lf.with_columns(col(c).alias(f"{c}2") for c in ("i", "v")),
    "a map": lambda lf, llm: lf.select(map(llm, ["q"])),
    "an iterator": lambda lf, llm: lf.select(iter([col("i"), llm("q")])),
    "a chain": lambda lf, llm: lf.select(itertools.chain([col("i")], [llm("q")])),
    "a reversed list": lambda lf, llm: lf.select(reversed([col("i"), llm("q")])),
    "a tuple": lambda lf, llm: lf.select((col("i"), llm("q"))),
    "a deque": lambda lf, llm: lf.select(deque([col("i"), llm("q")])),
    "values": lambda lf, llm: lf.select({"a": col("i"), "b": llm("q")}.values()),
    "predicates": lambda lf, llm: lf.filter(p for p in (llm("q", returns=bool), col("v") > 0)),
    "sort keys": lambda lf, llm: lf.sort((k for k in (llm("q"), col("i"))), nulls_last=True),
    "group keys": lambda lf, llm: lf.group_by(
        (k for k in (llm("q", returns=Color).alias("c"), col("g"))), maintain_order=True
    ).agg(e for e in (col("v").sum(), llm("q").first().alias("z"))),
}


@pytest.mark.parametrize("name", ITERABLES)
def test_expressions_in_any_iterable(name: str) -> None:
    same(lambda lf, llm: ITERABLES[name](lf, llm).collect())


SELECTORS: dict[str, Query] = {
    "all beside": lambda lf, llm: lf.select(pl.all(), a=llm("q")),
    "all beside an expression": lambda lf, llm: lf.select(pl.all(), llm("q").str.to_uppercase()),
    "all in with_columns": lambda lf, llm: lf.with_columns(pl.all(), a=llm("q").str.to_uppercase()),
    "all changed": lambda lf, llm: lf.select("i", "v").select(pl.all() * 2, x=llm("{i}", returns=int) + 1),
    "exclude, changed": lambda lf, llm: lf.select(pl.exclude("l", "q", "g") * 2, x=llm("{i}", returns=int) + 1),
    "numeric, changed": lambda lf, llm: lf.with_columns(cs.numeric() * 2, a=llm("q").str.len_chars()),
    "the last": lambda lf, llm: lf.select(pl.nth(-1), x=llm("{i}", returns=int) + 1),
    "the last but one, changed": lambda lf, llm: lf.select(pl.nth(-2) * 2, x=llm("{i}", returns=int) + 1),
    "several compared": lambda lf, llm: lf.select(cs.string() == llm("q")),
    "several chosen": lambda lf, llm: lf.with_columns(pl.when(llm("q", returns=bool)).then(cs.integer())),
    "struct of all": lambda lf, llm: lf.select(pl.struct(pl.all()).alias("s"), llm("q").str.to_uppercase()),
    "sum of all": lambda lf, llm: lf.select("i", "v").with_columns(
        s=pl.sum_horizontal(pl.all()), b=llm("{i}", returns=int) + 1
    ),
    "sum by dtype": lambda lf, llm: lf.with_columns(s=pl.sum_horizontal(cs.integer()), b=llm("q", returns=int) + 1),
    "filter by all": lambda lf, llm: lf.filter(pl.all_horizontal(cs.integer() < 4), llm("{i}", returns=int) > 5),
    "sort by a sum": lambda lf, llm: lf.select("i", "v").sort(
        pl.sum_horizontal(pl.all()), llm("{i}", returns=int), nulls_last=True
    ),
    "unique by dtype": lambda lf, llm: lf.unique([cs.integer(), llm("{i}", returns=int)], maintain_order=True),
    "top_k by a sum": lambda lf, llm: (
        lf.drop_nulls("v").top_k(2, by=[pl.sum_horizontal(cs.integer()), llm("{i}", returns=int)]).sort("i")
    ),
    "agg of all": lambda lf, llm: (
        lf.select("i", "v").group_by("v", maintain_order=True).agg(pl.all().sum(), x=llm("{i}", returns=int).sum())
    ),
    "agg of a sum": lambda lf, llm: (
        lf.select("i", "v", "g")
        .group_by("g", maintain_order=True)
        .agg(y=pl.sum_horizontal(cs.integer()).sum(), x=llm("{i}", returns=int).sum())
    ),
    "all as keys": lambda lf, llm: (
        lf.select("i", "v").group_by(pl.all(), maintain_order=True).agg(x=llm("{i}", returns=int).sum())
    ),
    "agg of all, by an answer": lambda lf, llm: (
        lf.select("i", "v").group_by(v=llm("{i}", returns=Color), maintain_order=True).agg(pl.all().sum())
    ),
    "having all": lambda lf, llm: (
        lf.select("i", "v", "g")
        .group_by("g", maintain_order=True)
        .having(pl.sum_horizontal(cs.integer()).sum() > 5)
        .agg(x=llm("{i}", returns=int).sum())
    ),
    "prompt of all beside": lambda lf, llm: lf.with_columns(
        a=llm(pl.concat_str(cs.integer())), b=llm("{i}", returns=int) + 1
    ),
    "by the answer's dtype": lambda lf, llm: lf.with_columns(a=llm("q", returns=int)).select(cs.integer()),
    "not by the prompt's dtype": lambda lf, llm: lf.with_columns(a=llm("q", returns=int)).select(cs.string()),
    "dropped by dtype": lambda lf, llm: lf.with_columns(a=llm("q", returns=int)).drop(cs.integer()),
    "the answer is last": lambda lf, llm: lf.with_columns(b=llm("q").str.len_chars()).select(cs.last()),
    "regex": lambda lf, llm: lf.with_columns(a=llm("q"), ab=col("i")).select(col("^a.*$")),
    "struct of all, after": lambda lf, llm: lf.with_columns(a=llm("q")).select(s=pl.struct(pl.all())),
    "filter by all, after": lambda lf, llm: lf.with_columns(a=llm("q")).filter(
        pl.all_horizontal(pl.all().is_not_null())
    ),
}


@pytest.mark.parametrize("name", SELECTORS)
def test_selectors_beside_calls_mean_the_columns_of_the_user(name: str) -> None:
    same(lambda lf, llm: SELECTORS[name](lf, llm).collect())


def test_a_python_function_of_all_columns_beside_a_call_is_refused(emulator: Emulator) -> None:
    lf = small().lazy().select("i", "v")
    lock = threading.Lock()  # cannot be pickled

    def add(a: pl.Series, b: pl.Series) -> pl.Series:
        with lock:
            return a + b

    every = pl.fold(pl.lit(0), add, pl.all())
    with pytest.raises(pll.PlanError, match=r"expands to columns .* Hint: put the call in a verb of its own"):
        lf.with_columns(s=every, b=pll.llm("{i}", returns=int) + 1).collect()
    assert emulator.stats().requests == 0


NAMES: dict[str, tuple[list[str], Callable[[pl.LazyFrame], pl.LazyFrame]]] = {
    "nothing": (["llm"], lambda lf: lf.select(pll.llm("q"))),
    "a method": (["llm"], lambda lf: lf.select(pll.llm("q").str.to_uppercase())),
    "alias": (["y"], lambda lf: lf.select(pll.llm("q").alias("x").alias("y"))),
    "keyword": (["y"], lambda lf: lf.select(y=pll.llm("q"))),
    "keep": (["llm"], lambda lf: lf.select(pll.llm("q").name.keep())),
    "alias, keep": (["llm"], lambda lf: lf.select(pll.llm("q").alias("x").name.keep())),
    "suffix": (["llm_s"], lambda lf: lf.select(pll.llm("q").name.suffix("_s"))),
    "prefix": (["p_llm"], lambda lf: lf.select(pll.llm("q").str.to_uppercase().name.prefix("p_"))),
    "upper": (["LLM"], lambda lf: lf.select(pll.llm("q").name.to_uppercase())),
    "map": (["llm!"], lambda lf: lf.select(pll.llm("q").name.map(lambda n: f"{n}!"))),
    "left operand": (["llm"], lambda lf: lf.select(pll.llm("q") + "x")),
    "right operand": (["literal"], lambda lf: lf.select(pl.lit("x") + pll.llm("q"))),
    "group key": (["llm", "n"], lambda lf: lf.group_by(pll.llm("q")).agg(n=pl.len())),
    "several": (["llm", "b"], lambda lf: lf.select(pll.llm("q"), pll.llm("{q}").alias("b"))),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_reserved_name_never_shows(name: str) -> None:
    names, query = NAMES[name]
    frame = query(small().lazy())
    assert frame.collect_schema().names() == names
    assert frame.collect().columns == names


def test_the_reserved_name_shows_in_no_struct_field_and_no_text() -> None:
    frame = small().lazy().select(s=pl.struct(pll.llm("q"), "i"))
    assert frame.collect_schema()["s"] == pl.Struct({"llm": pl.String, "i": pl.Int64})
    shown = f"{frame.collect()}{frame!r}{frame._repr_html_()}{pll.explain(frame, verbose=True)}{frame.explain()}"
    assert "cannot be used here" not in shown


def test_an_answer_whose_own_name_would_be_a_field_is_refused() -> None:
    frame = small().lazy().select(s=pl.struct(pll.llm("q").name.keep()))
    with pytest.raises(pll.PlanError, match="Hint: give it one") as refused:
        frame.collect()
    assert "cannot be used here" not in str(refused.value)


def test_two_unnamed_calls_collide_as_in_polars(emulator: Emulator) -> None:
    with pytest.raises(pl.exceptions.PolarsError, match=r"'llm'.* duplicate"):
        small().lazy().with_columns(pll.llm("q"), pll.llm("{q}")).collect()
    assert emulator.stats().requests == 0
