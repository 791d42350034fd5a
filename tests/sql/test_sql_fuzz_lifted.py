"""Random derived tables and CTEs that compute with answers, under random readers, against plain DuckDB."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sql_kit import Bench

ASKED = ("llm(q)", "llm('x' || q)", "llm(g)", "llm('y' || llm(q))")
JUDGED = ("llm_bool(q)", "llm_bool(g)", "llm_bool(q || v)")
FORMS = (
    *("trim({a})", "lower({a}) || g", "coalesce({a}, 'none')", "{b}::int", "{a} || {a2}", "{a}", "[{a}, g]"),
    *("case when v > 1 then {a} else 'e' end", "case when {b} then 'yes' else 'no' end"),
    *("not {b}", "{b} and v > 1", "{b} or g is null", "{a} is null", "coalesce(not {b}, v > 1)"),
)
JOINS = ("join", "left join", "right join", "full join")
CHUNK = 40


class Writer:
    """Writes queries over `t(i, g, q, v)` and `u(i, w, n)`."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def item(self) -> str:
        return self.pick(*FORMS).format(a=self.pick(*ASKED), a2=self.pick(*ASKED), b=self.pick(*JUDGED))

    def derived(self) -> str:
        items = ", ".join(f"{self.item()} as c{n}" for n in range(3))
        where = self.pick("", "", " where v > 1", " where llm_bool(q)", " where i < 4 and llm_bool(g)")
        tail = self.pick("", "", " order by i limit 3", " order by v, i")
        return f"select {self.pick('i, v, g', '*', 't.*', 'v, i')}, {items} from t{where}{tail}"

    def query(self) -> str:
        derived, one = self.derived(), self._random.random() < 0.5
        source = "x" if one else f"({derived}) x"
        column, join = f"x.c{self._random.randrange(3)}", self.pick(*JOINS)
        tables = self.pick(
            source,
            f"{source} {join} u on u.i = x.i",
            f"u {join} {source} on u.i = x.i",
            f"{source} {join} {'x' if one else f'({self.derived()})'} y on y.i = x.i + 1",
        )
        where = self.pick(
            "", " where x.v > 1", f" where {column} is not null", f" where x.i > 0 and {column} is not null"
        )
        body = self.pick(
            f"select x.i, {column} from {tables}{where}",
            f"select x.* from {tables}{where}",
            f"select {column} as k, count(*) as n from {tables}{where} group by 1",
            f"select distinct {column} from {tables}{where}",
            f"select count({column}) as n, max(x.i) as m from {tables}{where}",
            f"select case when x.v > 1 then {column} end as k, x.i from {tables}{where}",
        )
        return f"with x as ({derived}) {body}" if one else body


@pytest.mark.parametrize("seed", range(6))
def test_what_is_computed_from_answers_is_the_same_wherever_it_is_asked(bench: Bench, seed: int) -> None:
    writer = Writer(Random(seed))
    for _ in range(CHUNK):
        bench.same(writer.query())
