"""Realistic queries: requests as written, optimised, and the fewest that determine the result, found by brute force.

The table in `docs/planner.md` is made here: `python tests/planner/test_minimum.py` prints it.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest
from planner_kit import PLAIN, Color, Person, answer, answered_by, assert_equivalent, engine, judged, planned

from polar_llama.types import answer_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from planner_kit import Query

TICKETS = pl.LazyFrame(
    {
        "id": range(10),
        "text": ["late", "late", "broken", "thanks", None, "refund", "late", "broken", "how", "where"],
        "lang": ["en", "de", "en", "en", "de", None, "en", "de", "en", "de"],
        "stars": [1, 2, 1, 5, 4, None, 2, 1, 3, 4],
        "who": ["ann", "bob", "ann", "cem", "bob", "ann", "dee", "cem", "ann", "bob"],
        "note": ["known", None, None, "praise", None, None, "known", None, "known", None],
        "tags": [["a"], ["a", "b"], [], ["c"], ["a"], ["b"], [], ["c"], ["a"], ["b"]],
    }
)
PEOPLE = pl.LazyFrame({"who": ["bob", "cem", "eve"], "plan": ["pro", "free", "pro"], "about": ["b", "c", "e"]})
STARS, LANG = pl.col("stars"), pl.col("lang")
ON: Any = {"on": "who", "maintain_order": "left_right"}


class Row(NamedTuple):
    """A line of the table."""

    text: str
    query: Query


ROWS = [
    Row("`with_columns(a=llm(..))`", lambda lf, llm: lf.with_columns(a=llm("text"))),
    Row("… then `filter(stars > 3)`", lambda lf, llm: lf.with_columns(a=llm("text")).filter(STARS > 3)),
    Row("… then `head(3)`", lambda lf, llm: lf.with_columns(a=llm("text")).head(3)),
    Row("… then `tail(2)`", lambda lf, llm: lf.with_columns(a=llm("text")).tail(2)),
    Row(
        '… then `sort("stars")` and `head(2)`',
        lambda lf, llm: lf.with_columns(a=llm("text")).sort("stars", "id", nulls_last=True).head(2),
    ),
    Row('… then `top_k(3, by="stars")`', lambda lf, llm: lf.with_columns(a=llm("text")).top_k(3, by=["stars", "id"])),
    Row('… then `select("id")`', lambda lf, llm: lf.with_columns(a=llm("text")).select("id")),
    Row(
        "… then the prompt's column overwritten, and a filter",
        lambda lf, llm: lf.with_columns(a=llm("text")).with_columns(text=pl.lit("-")).filter(LANG == "de"),
    ),
    Row(
        "… then `with_row_index()` and a filter on it",
        lambda lf, llm: lf.with_columns(a=llm("text")).with_row_index("n").filter(pl.col("n") % 4 == 0),
    ),
    Row(
        '… then `unique("who")`',
        lambda lf, llm: lf.with_columns(a=llm("text")).unique("who", keep="first", maintain_order=True),
    ),
    Row('… then `explode("tags")`', lambda lf, llm: lf.with_columns(a=llm("text")).explode("tags").drop_nulls("tags")),
    Row(
        "… then an inner join that keeps few rows",
        lambda lf, llm: lf.with_columns(a=llm("text")).join(PEOPLE, **ON),
    ),
    Row(
        "… then a semi join",
        lambda lf, llm: lf.with_columns(a=llm("text")).join(
            PEOPLE.filter(plan="free"), on="who", how="semi", maintain_order="left"
        ),
    ),
    Row(
        "… then computed from it, and an inner join that keeps few rows",
        lambda lf, llm: lf.with_columns(a=llm("text")).with_columns(n=pl.col("a").str.len_chars()).join(PEOPLE, **ON),
    ),
    Row(
        "left join with answers on the right side",
        lambda lf, llm: lf.join(PEOPLE.with_columns(a=llm("{about}{plan}")), how="left", **ON),
    ),
    Row('… then `group_by("who")` without the answer', lambda lf, llm: lf.with_columns(a=llm("text")).group_by(
        "who", maintain_order=True).agg(STARS.mean())),
    Row(
        '`group_by("who").agg(llm(texts joined))`, then `head(2)`',
        lambda lf, llm: lf.group_by("who", maintain_order=True).agg(a=llm(pl.col("text").str.join(";"))).head(2),
    ),
    Row("`filter(stars < 3, llm(..))`", lambda lf, llm: lf.filter(STARS < 3, llm("{text}", returns=bool))),
    Row("`filter(llm(..) & (stars < 3))`", lambda lf, llm: lf.filter(llm("{text}", returns=bool) & (STARS < 3))),
    Row(
        '`filter(llm(..))`, then `filter(lang == "en")`',
        lambda lf, llm: lf.filter(llm("{text}", returns=bool)).filter(LANG == "en"),
    ),
    Row("`filter((stars < 3) \\| llm(..))`", lambda lf, llm: lf.filter((STARS < 3) | llm("{text}", returns=bool))),
    Row('`remove((lang == "en") & llm(..))`', lambda lf, llm: lf.remove((LANG == "en") & llm("{text}", returns=bool))),
    Row(
        "`when(stars < 3).then(llm(..)).otherwise(llm(..))`",
        lambda lf, llm: lf.with_columns(o=pl.when(STARS < 3).then(llm("sorry {text}")).otherwise(llm("thank {text}"))),
    ),
    Row(
        "`when/then` of three calls",
        lambda lf, llm: lf.select(
            o=pl.when(LANG == "en").then(llm("{text}")).when(LANG == "de").then(llm("auf deutsch {text}")).otherwise(
                llm("? {text}"))
        ),
    ),
    Row('`coalesce("note", llm(..))`', lambda lf, llm: lf.with_columns(note=pl.coalesce("note", llm("text")))),
    Row(
        '`coalesce("note", llm(..))`, then `filter(llm(..))`',
        lambda lf, llm: lf.with_columns(note=pl.coalesce("note", llm("{text} {id}"))).filter(
            llm("{stars}", returns=bool)
        ),
    ),
    Row(
        '`coalesce("note", llm(..))`, then `sort`, `select` and `head(3)`',
        lambda lf, llm: lf.with_columns(note=pl.coalesce("note", llm("{text} {id}")))
        .sort("stars", "id", nulls_last=True)
        .select("id", "note")
        .head(3),
    ),
    Row(
        "two answers, `filter` on the first",
        lambda lf, llm: lf.with_columns(a=llm("text", returns=Color), b=llm("reply to {text}")).filter(
            pl.col("a") == "red"
        ),
    ),
    Row(
        "an answer made from an answer, `filter` on the first",
        lambda lf, llm: lf.with_columns(a=llm("text", returns=Color))
        .with_columns(b=llm("{text} is {a}"))
        .filter(pl.col("a") != "red"),
    ),
    Row(
        "`concat` of two frames with answers, then `head(3)`",
        lambda lf, llm: pl.concat([lf.with_columns(a=llm("text")), lf.with_columns(a=llm("more {text}"))]).head(3),
    ),
    Row(
        '`filter(llm(..))`, then `select(k="stars")` and `filter(k < 2)`',
        lambda lf, llm: lf.filter(llm("{text}", returns=bool)).select("text", k="stars").filter(pl.col("k") < 2),
    ),
    Row(
        "`filter(llm(..))`, then `with_columns(k=2 * stars)` and `filter(k < 4)`",
        lambda lf, llm: lf.filter(llm("{text}", returns=bool)).with_columns(k=STARS * 2).filter(pl.col("k") < 4),
    ),
    Row(
        "`filter(llm(..))`, then `fill_null(0)` of the stars, `sort` and `filter(stars < 1)`",
        lambda lf, llm: lf.filter(llm("{text}", returns=bool)).with_columns(STARS.fill_null(0)).sort("id").filter(
            STARS < 1
        ),
    ),
    Row(
        '`filter(llm(..))`, then `explode("tags")` and `drop_nulls("stars")`',
        lambda lf, llm: lf.filter(llm("{text}", returns=bool)).explode("tags").drop_nulls("stars"),
    ),
    Row("… then `drop_nulls()`", lambda lf, llm: lf.with_columns(a=llm("text")).drop_nulls()),
    Row(
        "`sort` by answers, then `filter(stars > 3)`",
        lambda lf, llm: lf.with_columns(a=llm("{text} {id}", returns=int)).sort("a", "id").filter(STARS > 3),
    ),
    Row(
        "an answer of several fields, `unnest`, then `filter(stars < 2)`",
        lambda lf, llm: lf.with_columns(p=llm("text", returns=Person)).unnest("p").filter(STARS < 2),
    ),
    Row(
        "computed from an answer under other names, `sort` and `head(2)`",
        lambda lf, llm: lf.select(k="id", b=llm("text").str.to_uppercase()).sort("k").head(2),
    ),
    Row(
        "computed from two answers, `filter` on the first",
        lambda lf, llm: lf.select("id", b=llm("text").str.len_chars(), c=llm("re {text}").str.to_uppercase()).filter(
            pl.col("b") > 5
        ),
    ),
    Row(
        '`group_by("lang")` with answers, then `filter(lang == "de")`',
        lambda lf, llm: lf.with_columns(a=llm("text", returns=int))
        .group_by("lang", maintain_order=True)
        .agg(pl.col("a").sum())
        .filter(LANG == "de"),
    ),
    Row(
        '`unique()` with answers, then `filter(lang == "en")`',
        lambda lf, llm: lf.select("lang", a=llm("text")).unique(maintain_order=True).filter(LANG == "en"),
    ),
    Row(
        "`filter(llm(..))`, then an inner join that keeps few rows",
        lambda lf, llm: lf.filter(llm("{text}", returns=bool)).join(PEOPLE, **ON),
    ),
    Row(
        "`filter(llm(..))`, then an anti join",
        lambda lf, llm: lf.filter(llm("{text}", returns=bool)).join(
            PEOPLE, on="who", how="anti", maintain_order="left"
        ),
    ),
    Row(
        "`filter(llm(..))`, then a left join and a filter on its columns",
        lambda lf, llm: lf.filter(llm("{text}", returns=bool)).join(PEOPLE, how="left", **ON).filter(plan="pro"),
    ),
    Row(
        "an inner join with `filter(llm(..))` on the right side, then `filter(stars < 2)`",
        lambda lf, llm: PEOPLE.join(lf.filter(llm("{text}", returns=bool)), **ON).filter(STARS < 2),
    ),
    Row(
        "`concat` of two frames with computed answers, then `filter(stars < 2)`",
        lambda lf, llm: pl.concat(
            [
                lf.select("stars", a=llm("text").str.to_uppercase()),
                lf.select("stars", a=llm("{lang}").str.to_uppercase()),
            ]
        ).filter(STARS < 2),
    ),
    Row(
        '`group_by("who").agg(when(len() > 2).then(llm(texts joined)))`',
        lambda lf, llm: lf.group_by("who", maintain_order=True).agg(
            a=pl.when(pl.len() > 2).then(llm(pl.col("text").str.join(";"))).otherwise(pl.col("text").first())
        ),
    ),
]  # fmt: skip

GUESSES = [
    Row("`filter(llm(..)).head(2)`", lambda lf, llm: lf.filter(llm("{text}", returns=bool)).head(2)),
    Row(
        "`filter(llm(..), llm(..))`",
        lambda lf, llm: lf.filter(llm("{id}", returns=bool), llm("or {id}", returns=Color) == "red"),
    ),
]
"""Where the plan has to guess how many rows will pass."""

Known = frozenset[tuple[str | None, str]]


def world(known: Known, seed: int) -> Callable[..., pl.Expr]:
    """A model that answers as ours where `known` says, and as it likes elsewhere."""

    def function(prompt: str, returns: Any) -> Any:
        told = (answer_type(returns).schema, prompt) in known
        return answer(prompt if told else f"{seed} {prompt}", returns)

    return answered_by(function)


def determines(known: Known, query: Query, expected: pl.DataFrame) -> bool:
    """Whether the result is the same whatever is answered to all other prompts."""
    worlds = (query(TICKETS, world(known, seed)).collect(optimizations=PLAIN) for seed in range(12))
    return all(result.equals(expected) for result in worlds)


def minimum(query: Query, naive: Known) -> int:
    """The size of the smallest set of requests that determines the result.

    Those without which it is not determined are in every such set; of the others, all sets are tried.
    """
    expected = judged(query, TICKETS)
    needed = frozenset(one for one in naive if not determines(naive - {one}, query, expected))
    for size in range(len(naive) + 1):
        for more in itertools.combinations(sorted(naive - needed, key=str), size):
            if determines(needed | set(more), query, expected):
                return len(needed) + size
    raise AssertionError("all answers determine the result")


def numbers(row: Row) -> tuple[int, int, int]:
    """Requests as written, optimised, at least."""
    naive = planned(row.query, TICKETS, ())
    optimised = engine(row.query, TICKETS)
    assert optimised.asked <= naive.asked
    return len(naive.asked), len(optimised.asked), minimum(row.query, naive.asked)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
def test_no_request_could_be_saved(row: Row) -> None:
    _, optimised, least = numbers(row)
    assert optimised == least
    assert assert_equivalent(row.query, TICKETS)[1] == least


@pytest.mark.parametrize("row", GUESSES, ids=lambda row: row.text)
def test_guesses_stay_between_the_least_and_the_naive(row: Row) -> None:
    naive, optimised, least = numbers(row)
    assert least <= optimised <= naive


DOCUMENT = Path(__file__).parents[2] / "docs" / "planner.md"


def table(rows: Iterable[Row]) -> list[str]:
    """Lines of Markdown."""
    return [f"| {row.text} | {' | '.join(map(str, numbers(row)))} |" for row in rows]


def test_the_table_in_the_document_is_what_is_measured() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [line for line in table([*ROWS, *GUESSES]) if line not in lines] == []


if __name__ == "__main__":
    sys.stdout.write("\n".join(table([*ROWS, *GUESSES])) + "\n")
