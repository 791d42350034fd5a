"""Random queries, against plain DuckDB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sql_kit import expected

if TYPE_CHECKING:
    from random import Random

    from sql_kit import Bench


class Writer:
    """Writes random queries over `t(i, g, q, v)` and `u(i, w, n)`."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def text(self, depth: int, t: str = "t") -> str:
        if depth == 0:
            return self.pick(f"{t}.q", f"{t}.g", f"'k' || {t}.q", f"concat({t}.g, '-', {t}.q)", f"{t}.v::varchar")
        inner = self.text(depth - 1, t)
        return self.pick(
            f"llm({inner})",
            f"llm({inner})",
            f"upper({inner})",
            f"coalesce({self.text(0, t)}, {inner})",
            f"case when {self.truth(depth - 1, t)} then {inner} else {self.text(0, t)} end",
            f"({inner} || {self.text(0, t)})",
            f"nullif({inner}, 'p~2')",
            f"llm_class({inner}, ['a', 'b'])::varchar",
            f"substr({inner}, 1, 2)",
        )

    def truth(self, depth: int, t: str = "t") -> str:
        if depth == 0:
            return self.pick(
                f"{t}.v > 1",
                f"{t}.g = 'x'",
                f"{t}.q is null",
                f"{t}.v = 3",
                f"llm_bool({t}.q)",
                f"{t}.i < 4",
                f"llm_bool({t}.g)",
            )
        return self.pick(
            f"llm_bool({self.text(depth - 1, t)})",
            f"({self.truth(depth - 1, t)} and {self.truth(0, t)})",
            f"({self.truth(depth - 1, t)} or {self.truth(0, t)})",
            f"not {self.truth(depth - 1, t)}",
            f"({self.text(depth - 1, t)} is null)",
            f"({self.text(depth - 1, t)} like '%1')",
            f"({self.text(0, t)} in ({self.text(depth - 1, t)}, 'p'))",
            f"exists (select 1 from u where u.i = {t}.i and llm_bool(u.w || {t}.g))",
            f"{t}.i in (select u.i from u where llm_bool(u.w))",
        )

    def rows(self) -> str:
        items = [f"{self.text(self._random.randint(0, 2))} as x{n}" for n in range(self._random.randint(1, 3))]
        source = self.pick(
            "t",
            "t",
            f"(select *, {self.text(1)} as a, {self.truth(1)} as b from t) as t",
            "t join u on t.i = u.i",
            f"t left join u on t.i = u.i and {self.truth(1)}",
            f"(select * from t where {self.truth(1)} order by i limit 4) as t",
            f"t join u on t.i = u.i and {self.truth(1)}",
            f"(select * from t where {self.truth(1)}) as t join u using (i)",
            f"u right join (select *, {self.text(1)} as a from t where {self.truth(1)}) as t on t.i = u.i",
            f"(select *, {self.text(0)} as a from t where {self.truth(1)}) as t",
        )
        where = f" where {self.truth(self._random.randint(0, 2))}" if self._random.random() < 0.6 else ""
        distinct = "distinct " if self._random.random() < 0.15 else ""
        return f"select {distinct}t.i, {', '.join(items)} from {source}{where}"

    def groups(self) -> str:
        key, where = self.pick("t.g", self.text(1), self.truth(1)), self.truth(self._random.randint(0, 1))
        aggregates = [
            self.pick(
                "count(*)",
                f"count(*) filter (where {self.truth(1)})",
                f"max({self.text(1)})",
                f"string_agg({self.text(1)}, ',' order by t.i)",
                "llm('s: ' || string_agg(t.q, ',' order by t.i))",
                f"sum(case when {self.truth(1)} then t.v end)",
                "llm_bool(max(t.q))",
            )
            for _ in range(self._random.randint(1, 2))
        ]
        having = f" having {self.pick('count(*) > 1', 'llm_bool(max(t.q))', 'max(t.v) > 1 and llm_bool(min(t.q))')}"
        having = having if self._random.random() < 0.3 else ""
        listed = ", ".join(f"{a} as y{n}" for n, a in enumerate(aggregates))
        return f"select {key} as k, {listed} from t where {where} group by k{having}"

    def windows(self) -> str:
        over = f"over (partition by {self.pick('t.g', self.truth(1))} order by t.i)"
        item = self.pick(
            f"row_number() {over}", f"lag({self.text(1)}) {over}", f"count(*) filter (where {self.truth(1)}) {over}"
        )
        where = f" where {self.truth(1)}" if self._random.random() < 0.4 else ""
        qualify = self.pick(
            "", f" qualify row_number() {over} = 1", f" qualify row_number() {over} < 3 and {self.truth(0)}"
        )
        return f"select t.i, {item} as w, {self.text(1)} as x from t{where}{qualify}"

    def query(self) -> str:
        body = self._random.choice([self.rows, self.rows, self.groups, self.windows])()
        shape = self._random.random()
        if shape < 0.08:
            where = self.truth(1)
            read = re.sub(r"from t\b", "from r as t", body)
            return f"with r as (select * from t where {where}) {read} order by all"
        if shape < 0.15:
            return f"with c as ({body}) select * from c order by all limit 3"
        if shape < 0.25:
            return f"select count(*) as n from ({body}) as c"
        if shape < 0.35:
            return f"select * from ({body}) as c union all select * from ({body}) as d order by all"
        return f"{body} order by all" + ("" if shape < 0.8 else " limit 2 offset 1")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_random_queries_give_the_rows_of_duckdb(bench: Bench, random: Random) -> None:
    query = Writer(random).query()
    try:
        expected(bench.con, query)
    except duckdb.Error:
        return  # not a query of DuckDB's
    bench.same(query)


def test_most_random_queries_are_queries(bench: Bench) -> None:
    from random import Random

    done = 0
    for seed in range(60):
        try:
            expected(bench.con, Writer(Random(seed)).query())
        except duckdb.Error:
            continue
        done += 1
    assert done > 40, pytest.fail("the writer of queries mostly writes none")
