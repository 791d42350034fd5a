"""The least number of requests that determine a query's rows, found by trying in plain DuckDB, which knows no planner.

A set of answers determines the rows if they are the same whatever is answered to all other prompts. The answers
without which that does not hold are in every such set; of the others, all sets are tried, the smallest first.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from cases import CASES, D, U
from sql_kit import answer_bool, answer_class, answer_int, answer_text, in_any_order, plain, typed
from sqlglot import parse_one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Asked = tuple[str, ...]
    Known = frozenset[Asked]

WORLDS = 12


class Worlds:
    """Plain DuckDB, whose model answers as ours does where that is known, and as it likes elsewhere."""

    def __init__(self) -> None:
        self.asked: set[Asked] = set()
        self._known: Known | None = None
        self._seed = 0
        self.con = duckdb.connect(":memory:")
        special: Any = {"null_handling": "special"}
        for name, answer, kind in (
            ("llm", answer_text, "VARCHAR"),
            ("llm_int", answer_int, "BIGINT"),
            ("llm_bool", answer_bool, "BOOLEAN"),
        ):
            self.con.create_function(name, self._one(name, answer), ["VARCHAR"], kind, **special)
        self.con.create_function("llm_class", self._classed, ["VARCHAR", "VARCHAR[]"], "VARCHAR", **special)
        for name, frame in (("t", D), ("u", U)):
            self.con.register(f"{name}_source", frame)
            self.con.execute(f"CREATE TABLE {name} AS FROM {name}_source")

    def _one(self, name: str, answer: Callable[[str], Any]) -> Callable[[str | None], Any]:
        return lambda prompt: None if prompt is None else answer(self._told(name, prompt))

    def _classed(self, prompt: str | None, labels: Any) -> str | None:
        told = list(labels)
        return None if prompt is None else answer_class(self._told("llm_class", prompt, *told), told)

    def _told(self, *asked: str) -> str:
        self.asked.add(asked)
        return asked[1] if self._known is None or asked in self._known else f"{self._seed} {asked[1]}"

    def rows(self, query: str, known: Known | None = None, seed: int = 0) -> list[tuple[Any, ...]]:
        """What DuckDB gives if only some answers are known."""
        self._known, self._seed = known, seed
        rows = [tuple(map(plain, row)) for row in self.con.execute(typed(query)).fetchall()]
        return rows if parse_one(query, read="duckdb").args.get("order") else in_any_order(rows)

    def least(self, query: str) -> int:
        """The size of the smallest set of answers that determines the rows."""
        self.asked.clear()
        wanted = self.rows(query)
        every = frozenset(self.asked)

        def determine(known: Known) -> bool:
            return all(self.rows(query, known, seed) == wanted for seed in range(WORLDS))

        needed = frozenset(one for one in every if not determine(every - {one}))
        others = sorted(every - needed)
        for size in range(len(others) + 1):
            if any(determine(needed | set(more)) for more in itertools.combinations(others, size)):
                return len(needed) + size
        raise AssertionError("all answers determine the rows")


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    made = Worlds()
    yield made
    made.con.close()


@pytest.mark.parametrize("case", CASES, ids=[case[1] for case in CASES])
def test_the_least_that_a_query_needs(worlds: Worlds, case: tuple[int, str] | tuple[int, str, int]) -> None:
    """`test_sql_oracle.py` holds that as many are asked as a case says; here, that no fewer would do."""
    requests, query, least = case if len(case) == 3 else (*case, case[0])
    assert least <= requests
    assert worlds.least(query) == least


def test_most_queries_ask_no_more_than_they_need() -> None:
    assert sum(len(case) == 2 for case in CASES) > 250
