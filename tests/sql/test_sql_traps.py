"""Traps of deferral in SQL, one a name: the rows and names of plain DuckDB, and no prompt too many."""

# ruff: noqa: E501 -- queries stand on one line

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest
from cases import D, U
from sql_kit import MODEL, Bench

from polar_llama import settings
from polar_llama.frame.llm import llm
from polar_llama.sqlfront import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sql_kit import Oracle

ODD = pl.DataFrame(
    {
        "i": [0, 1, 2, 3],
        "f": [1.0, float("nan"), -0.0, 1e20],
        "f0": [0.0, 0.0, 0.0, None],
        "q": ["p", "q", None, "r"],
        "ok": [True, False, None, True],
        "s": ["1", "x", "3", None],
        "l": [["a"], ["a", "b"], [], None],
        "d": [dt.date(2024, 1, 1), None, dt.date(2024, 1, 3), None],
        "n": [Decimal("1.50"), Decimal("2.00"), None, Decimal("0.10")],
    }
)

TRAPS: tuple[tuple[str, int, str], ...] = (
    ("null_order", 4, "select i, llm(q) a from t order by a, i"),
    ("null_order_descending", 4, "select i, llm(q) a from t order by a desc, i"),
    ("null_order_free", 1, "select i, llm(q) a from t order by v desc, i desc limit 3"),
    ("names", 1, "select CASE WHEN v > 2 THEN llm(q) ELSE 'e' END from t"),
    ("names_of_operators", 4, "select (llm(q) || 'x'), LLM(Q), coalesce(g, llm(q)) from t"),
    ("names_of_subqueries", 2, "select (select llm(u.w || t.q) from u where u.i = t.i and n < 30) from t"),
    ("unnest_together", 4, "select i, z[1], z[2] from (select i, unnest(list_zip([llm(q), 'x'], [g])) as z from t)"),
    ("unnest_after_window", 4, "select unnest([1, 2]), w from (select row_number() over (order by llm(q), i) w from t)"),
    ("names_of_unnested", 6, "select i, unnest([llm(q), 'x']), unnest([llm(g)]) from t"),
    ("duplicate_names", 4, "select q, q, llm(q) as q_1, llm(q) as q from t"),
    ("duplicate_names_of_a_star", 2, "select *, llm(q) from t join u on t.i = u.i"),
    ("where_or", 3, "select i from t where v > 2 or llm_bool(q)"),
    ("not_and", 2, "select i from t where not (v > 2 and llm_bool(q))"),
    ("not_in_null", 2, "select i from t where q not in (select llm(g) from t)"),
    ("not_in_null_listed", 4, "select i from t where llm(q) not in ('p~1', null)"),
    ("case_null", 2, "select i, case when v > 1 then llm(q) else 'else' end c from t order by i"),
    ("limit_unordered", 2, "select i, llm(q) from t limit 3"),
    ("limit_percent", 4, "select i from t where llm_bool(q) limit 50%"),
    ("limit_query", 1, "select i, llm(q) from t limit (select 2)"),
    ("limit_offset", 2, "select i, llm(q) from t limit 3 offset 2"),
    ("limit_ties", 2, "select i, llm(q) from t order by v, i limit 3"),
    ("order_limit_inner", 1, "select i, llm(q) from t order by i limit 2"),
    ("order_limit_after_where", 3, "select i from t where llm_bool(q) order by i desc limit 2"),
    ("order_limit_after_qualify", 3, "select i from t qualify row_number() over (partition by g order by i) = 1 and llm_bool(q) order by i limit 1"),
    ("order_limit_after_distinct", 4, "select distinct llm(q) a from t order by a limit 2"),
    ("order_limit_by_answer", 4, "select i from t order by llm(q) desc, i limit 2"),
    ("distinct_on", 3, "select distinct on (g) g, llm(q) from t order by g, i"),
    ("distinct_on_answer", 4, "select distinct on (g) g, i from t order by g, llm(q), i"),
    ("distinct_answer", 4, "select distinct llm_bool(q) from t"),
    ("union", 8, "select llm(q) a from t union select llm(w) from u"),
    ("except", 4, "select llm(q) a from t except select 'p~2'"),
    ("intersect", 4, "select llm(q) a from t intersect select 'p~2'"),
    ("union_all", 2, "select llm(q) a from t where v > 1 and i < 4 union all select null"),
    ("union_by_name", 4, "select i, llm(q) a from t union all by name select i, w from u"),
    ("window_beside_where", 4, "select i, row_number() over (order by i) r from t where llm_bool(q)"),
    ("filter_over_subquery_window", 3, "select i, rn from (select *, row_number() over (partition by g order by i) rn from t) where llm_bool(q) and rn = 1"),
    ("qualify", 4, "select i from t qualify row_number() over (partition by g order by llm(q), i) = 1"),
    ("agg_filter", 4, "select count(*) filter (where llm_bool(q)), count(*), sum(v) from t"),
    ("agg_empty", 0, "select llm(max(q)) from t where false"),
    ("agg_empty_after_answers", 0, "select llm(max(q)), count(*) from t where llm_bool(q) and i < 0"),
    ("constant_call", 1, "select llm('c') from t"),
    ("having", 2, "select g, count(*) from t group by g having count(*) > 1 and llm_bool(max(q))"),
    ("having_rollup", 2, "select g, count(*) from t group by rollup (g) having llm_bool(g) or g is null"),
    ("join_on_llm", 1, "select t.i, w from t join u on t.i = u.i and llm_bool(t.q || u.w) and u.n > 20"),
    ("left_join_on_llm", 2, "select t.i, w from t left join u on t.i = u.i and llm_bool(t.q)"),
    ("left_join_literal", 1, "select t.i, a from t left join (select i, llm('const') a from u) x using (i)"),
    ("right_join_literal", 1, "select x.i, a from (select i, llm('const') a from u) x right join t using (i)"),
    ("full_join_literal", 1, "select i, a from t full join (select i, llm('const') a from u) x using (i)"),
    ("using_right", 3, "select i, llm(i::varchar) from t right join u using (i)"),
    ("using_full", 7, "select i, llm(i::varchar) from t full join u using (i)"),
    ("using_full_sides", 7, "select i, llm(t.i::varchar), llm(u.i::varchar) from t full join u using (i)"),
    ("natural", 4, "select *, llm(w) a, llm(q) b from t natural join u where v = 3 or n > 20"),
    ("star", 4, "select *, llm(q) from t"),
    ("star_exclude", 4, "select * exclude (v, q), llm(q) from t"),
    ("star_replace", 4, "select * replace (llm(q) as q) from t"),
    ("columns", 4, "select columns('q|g'), llm(q) from t"),
    ("columns_in_call", 6, "select llm(columns('^[qg]$')) from t"),
    ("columns_in_prompt", 6, "select llm(columns('^[qg]$') || '!') from t"),
    ("lateral_alias", 4, "select g q, llm(q) a from t"),
    ("lateral_alias_where", 1, "select g q, llm(q) a from t where q = 'p'"),
    ("lateral_alias_pure", 4, "select llm(q) a, a || '!' b from t where a is not null"),
    ("order_by_ordinal", 4, "select i, llm(q) from t order by 2 desc, 1"),
    ("order_by_unselected", 4, "select i from t order by llm(q) || g, i"),
    ("order_by_all", 4, "select g, llm_bool(q) from t order by all"),
    ("group_by_all", 4, "select llm_bool(q) b, count(*) from t group by all"),
    ("group_by_ordinal", 4, "select llm_bool(q), count(*) from t group by 1"),
    ("group_by_alias", 4, "select llm_bool(q) b, count(*) from t group by b"),
    ("volatile_cte", 0, "with x as (select i, llm(q) a, random() r from t) select count(*) from x join x y on x.r = y.r"),
    ("volatile_cte_read", 4, "with x as (select i, llm(q) a, random() r from t) select count(*), max(x.a) from x join x y on x.r = y.r"),
    ("volatile_cte_filtered", 4, "with x as (select *, random() r from t), y as (select * from x where llm_bool(q)) select count(*) from y a join y b on a.r = b.r"),
    ("cte_not_materialized", 4, "with x as not materialized (select i, llm(q) a from t) select x.a, y.a from x join x y using (i)"),
    ("unused_cte_column", 0, "with x as (select i, llm(q) a from t) select count(*) from x join u using (i)"),
    ("correlated", 2, "select i, (select llm(u.w || t.q) from u where u.i = t.i and n < 30) from t"),
    ("exists", 2, "select i from t where exists (select 1 from u where u.i = t.i and n < 30 and llm_bool(w))"),
    ("in_subquery", 2, "select i from t where i in (select i from u where n < 30 and llm_bool(w))"),
    ("null_concat", 4, "select 'a' || null, llm('a' || q) from t"),
    ("null_concat_function", 5, "select llm(concat('a', q)) from t"),
    ("limit_zero", 0, "select llm(q) from t limit 0"),
    ("no_from", 1, "select llm('x')"),
    ("recursive_cte", 3, "with recursive r as (select 1 n union all select n + 1 from r where n < 3) select n, llm(n::varchar) from r"),
    ("pivot", 4, "select * from (select g, llm_class(q, ['a', 'b']) c, v from t) pivot (sum(v) for c in ('a', 'b'))"),
    ("whole_row", 4, "select x from (select i, llm(q) a from t) x"),
    ("whole_row_of_a_cte", 4, "with x as (select i, llm(q) a from t) select x from x"),
    ("whole_row_filtered", 4, "select x from (select * from t where llm_bool(q)) x"),
    ("whole_row_below", 4, "select i, (select count(*) from u where x is not null and u.i = x.i) from (select i, llm(q) a from t) x"),
    ("whole_row_before_alias", 4, "select w c0, llm(c0::varchar) from u c0"),
    ("exclude_of_one_table", 4, "select * exclude (x.a) from (select i, llm(q) a from t) x join (select i, llm(w) a from u) y using (i)"),
    ("recursion_over_answers", 4, "with recursive y as (select i, llm(q) a from t), r as (select 1 n, 'x' a union all select n + 1, y.a from r join y on y.i = r.n where n < 4) select * from r"),
    ("recursive_reads_a_table", 4, "with recursive t as (select q || 'x' q from t), r as (select 1 n union all select n + 1 from r where n < 3) select llm(q), n from t, r"),
    ("unread_cte", 4, "with x as (select nope from u), y as (select * from x) select llm(q) from t"),
    ("names_of_unnest", 4, "with x as (select list(q) l from t) select llm(unnest(l)) from x"),
    ("names_of_unnest_of_answers", 4, "select unnest([llm(q)]) from t"),
    ("unnest_side_by_side", 6, "select llm(unnest([q, g])), unnest([g]) from t"),
    ("unnest_of_answers_in_a_cte", 4, "with x as materialized (select q, g, [llm(q), 'z', 'k'] l from t) select unnest([q, g]), unnest(l) from x"),
    ("lambda_over_answers", 4, "select list_transform(['k'], lambda e: e || x.a) from (select llm(q) a from t) x"),
    ("if_as_else", 4, "select case when v > 1 then 'x' else if(llm_bool(q), 'k', g) end, case when llm_bool(q) then 'x' else if(v > 1, 'a', g) end from t"),
    ("if_as_subject", 4, "select case if(v > 1, llm(q), 'z') when 'z' then 1 else 2 end, llm(q) from t"),
    ("if_lifted_into_a_case", 4, "with p as (select if(llm_bool(q), g, null) as s, i from t) select m.s from p as u join p as m using (i) where case when m.s = 'y' then u.s else m.s end like 'y'"),
    ("names_of_ours", 4, "with polar_llama_table_0 as (select i, llm(q) a from t) select a, g from polar_llama_table_0 join t using (i)"),
    ("names_of_ours_in_text", 4, "select llm('polar_llama_table_9 ' || q) from t"),
    ("join_in_parentheses", 4, "select * from ((t join (select i, llm(w) a from u) x using (i)) join u using (i)) where a > 'b'"),
    ("join_in_parentheses_beside", 4, "select * from (t join u using (i)), (select llm(q) a from t) x"),
    ("lateral_unsaid", 4, "select * from t, (select llm(t.q) a) x"),
    ("lateral_unsaid_of_a_lateral", 6, "select * from t, (select t.i + 1 as j) x, (select llm(x.j::varchar) b) y"),
    ("semi_join_before_another", 3, "select t.i, z.w from t semi join u on t.i = u.i and llm_bool(u.w) join u z on z.i = t.i"),
    ("limit_by_a_table", 1, "select llm(q) from t order by i limit (select count(*) from u where n > 20)"),
    ("limit_by_a_cte", 1, "with x as (select * from u where n > 20) select llm(q) from t where v > 1 order by i desc limit (select count(*) from x)"),
    ("having_hidden_alias", 4, "select sum(v) as v, max(llm(q)) from t group by g having v > 3"),
    ("having_hidden_alias_and_key", 3, "select sum(v) as v, upper(g) as g, max(llm(q)) as q from t group by g having g > 'a' and v > 3 and q <> max(q)"),
    ("group_by_other_names", 6, "select llm_bool(t.G) as g, max(llm(q)) from t group by g"),
    ("group_by_names_of_semi_join", 2, "select i, llm_bool(g) b, count(*) from t x semi join u on x.i = u.i group by i, b"),
    ("group_by_names_of_using", 7, "select i, llm(i::varchar), llm(t.i::varchar), count(*) from t full join u using (i) group by i, t.i"),
    ("group_by_number", 0, "select 1 as o, llm(max(q)) from t where false group by 1"),
    ("group_by_all_numbers", 4, "select 3, g, count(*), max(llm(q)) from t group by all"),
    ("group_by_all_constants", 0, "select exists (select 1 from t), max(llm(q)) from t where i > 9 group by all"),
    ("group_by_all_having", 2, "select i % 2 as p, max(llm(q)) from t group by all having p = 0"),
    ("group_by_all_having_column", 1, "select max(llm(q)) as a from t group by all having g = 'x'"),
    ("order_by_constant", 4, "select 9 as k, llm(q) from t order by k, i"),
    ("order_by_all_constant", 1, "select distinct llm('x'), 'k' from t order by all"),
    ("number_of_rows", 0, "select u.w from (select upper(llm(q)) a, i from t) x, u"),
    ("correlated_list_order", 3, "select i, (select list(llm(w) order by n desc) from u where u.i = t.i) from t"),
    ("unpivot", 6, "select k, z from (select i, llm(q) a, llm(g) b from t) unpivot (z for k in (a, b))"),
)  # fmt: skip

ODD_TRAPS: tuple[tuple[str, int, str], ...] = (
    ("guard_case", 1, "select i, case when ok then llm(s || 'x') end from o"),
    ("guard_case_cast", 1, "select i, case when s <> 'x' then llm((10 // s::int)::varchar) end from o where i = 0"),
    ("text_of_floats", 4, "select llm(f::varchar) from o"),
    ("text_of_values", 8, "select llm(d::varchar), llm(n::varchar), llm(l::varchar) from o"),
    ("float_compare_nan", 2, "select i, llm(q) from o where f > 1"),
    ("float_compare_nan_equal", 1, "select i, llm(q) from o where f = 'nan'::double"),
    ("float_compare_zero", 4, "select distinct f + f0 as z, llm_bool(coalesce(q, 'none')) from o"),
    ("lists_and_dates", 3, "select l, d, n, llm(q) from o where llm_bool(q) or true"),
    ("unnest", 2, "select i, e, llm(e) from (select i, unnest(l) as e from o)"),
)


@pytest.fixture(scope="module")
def traps() -> Iterator[Bench]:
    bench = Bench({"t": D, "u": U, "o": ODD})
    yield bench
    bench.con.close()


@pytest.mark.parametrize(("name", "requests", "query"), [*TRAPS, *ODD_TRAPS], ids=[t[0] for t in [*TRAPS, *ODD_TRAPS]])
def test_trap(traps: Bench, monkeypatch: pytest.MonkeyPatch, name: str, requests: int, query: str) -> None:
    monkeypatch.setattr(settings, "_configured", {"model": MODEL, "cache": "off"})
    assert len(traps.same(query)) == requests, name


def test_dtypes(oracle: Oracle) -> None:
    """`sql_dtypes`: what comes after the answers sees DuckDB's own types again."""
    query = """SELECT DISTINCT {} AS x, llm_bool(q) AS b FROM (
        SELECT q, i::HUGEINT AS h, 'a'::ENUM('a', 'b') AS e, uuid() AS u, INTERVAL 1 DAY AS v, sum(i) OVER () AS s,
        {{'k': i}} AS st, i::UTINYINT AS ut, '1'::BIT AS bits, '{{}}'::JSON AS j, TIMESTAMP_NS '2024-01-01' AS ns FROM t)"""
    for column in ("h", "e", "u", "v", "s", "st", "ut", "bits", "j", "ns"):
        found = sql(query.format(f"typeof({column})"), t=D).collect()["x"].unique().to_list()
        with duckdb.connect(":memory:") as con:
            con.register("t", D)
            plain = con.execute(query.format(f"typeof({column})").replace("llm_bool(q)", "true")).fetchall()
        assert found == [row[0] for row in plain], column


def test_limit_ties_are_refused(oracle: Oracle) -> None:
    with pytest.raises(duckdb.ParserException, match=r"near .WITH"):
        sql("SELECT llm(q) FROM t ORDER BY v FETCH FIRST 2 ROWS WITH TIES", t=D)
    assert not oracle.asked


def test_ambiguous(oracle: Oracle) -> None:
    with pytest.raises(duckdb.BinderException, match="Ambiguous"):
        sql("SELECT llm(i::VARCHAR) FROM t JOIN u ON t.i = u.i", t=D, u=U)


def test_correlated_with_several_rows(oracle: Oracle) -> None:
    """The error of a scalar subquery survives."""
    with pytest.raises(duckdb.InvalidInputException, match="More than one row"):
        sql("SELECT (SELECT llm(u.w || t.q) FROM u WHERE u.i = t.i) FROM t", t=D, u=U).collect()


def test_guard(oracle: Oracle) -> None:
    """No guard is promised by AND: DuckDB raises whatever stands before; so does ours, before anything is asked."""
    with pytest.raises(duckdb.ConversionException):
        sql("SELECT i FROM o WHERE llm_bool(q) AND s::INT > 0 AND i >= 0", o=ODD).collect()
    assert not oracle.asked


def test_volatile_clock(oracle: Oracle) -> None:
    query = "SELECT now() AS a, (SELECT max(now()) FROM t WHERE llm_bool(q) OR true) AS b FROM t WHERE llm(q) <> ''"
    done = sql(query, t=D).collect()
    assert done["a"].equals(done["b"])


def test_text_of_values_is_shared_where_both_write_the_same(oracle: Oracle) -> None:
    """A plain text column is one prompt in both forms; a float is written by DuckDB, and is another one."""
    sql("SELECT llm(q), llm(f::VARCHAR) FROM o", o=ODD).collect()
    asked = len(oracle.asked)
    ODD.lazy().select(llm("q")).collect()
    assert len(oracle.asked) == asked
    assert {"nan", "-0.0", "1e+20", "1.0"} < set(oracle.asked)
