"""Questions that people asked, and a shop in the shape of TPC-H, against plain DuckDB."""

# ruff: noqa: E501 -- queries stand on one line

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from shop import shop
from sql_kit import MODEL, Bench

from polar_llama import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

QUESTIONS = (
    "SELECT text, llm(text) FROM banking LIMIT 20",
    "SELECT text FROM banking WHERE category = 'card_arrival' AND llm_bool('Is this urgent? ' || text)",
    "SELECT category, count(*) AS n FROM banking WHERE category < 'c' AND llm_bool(text) GROUP BY category ORDER BY 1",
    """SELECT llm_class(text, ['card', 'other', 'transfer']) AS topic, count(*) AS n, min(length(text)) AS shortest
       FROM banking WHERE category LIKE 'card_a%' GROUP BY topic ORDER BY topic""",
    """SELECT category, llm('Summarise: ' || string_agg(text, ' ' ORDER BY text)) AS summary FROM banking
       WHERE category LIKE 'a%' GROUP BY category HAVING count(*) > 10 ORDER BY category""",
    """WITH asked AS (SELECT *, llm_bool(text) AS urgent FROM banking WHERE category LIKE 'b%')
       SELECT category, count(*) FILTER (WHERE urgent) AS urgent, count(*) AS n FROM asked GROUP BY 1 ORDER BY 1""",
    "SELECT DISTINCT category FROM banking WHERE category < 'b' AND llm_bool(category) ORDER BY 1",
    "SELECT category, llm(category) FROM (SELECT DISTINCT category FROM banking) ORDER BY 1 LIMIT 5",
    """SELECT text, category FROM banking WHERE category IN ('atm_support', 'age_limit')
       QUALIFY row_number() OVER (PARTITION BY category ORDER BY length(text), text) <= 2 AND llm_bool(text) ORDER BY 2, 1""",
    "SELECT question, llm(question, returns := 'BIGINT') AS answer FROM gsm8k ORDER BY length(question), question LIMIT 7",
    """SELECT count(*) AS n, sum(llm(question, returns := 'BIGINT')) AS s FROM gsm8k
       WHERE length(question) < 100 AND NOT llm_bool(question)""",
    """SELECT g.question, b.text FROM gsm8k AS g JOIN banking AS b
       ON length(g.question) = length(b.text) AND llm_bool(g.question || b.text) WHERE length(b.text) BETWEEN 90 AND 95""",
    """SELECT CASE WHEN length(question) < 80 THEN llm(question) WHEN question LIKE '%train%' THEN llm('T ' || question)
       ELSE 'not asked' END AS a, count(*) AS n FROM gsm8k GROUP BY ALL ORDER BY ALL LIMIT 10""",
    "SELECT split_part(answer, '#### ', 2) = llm(question) AS right, count(*) FROM gsm8k WHERE length(question) < 90 GROUP BY 1",
    """SELECT * FROM (SELECT category, llm_bool(text) AS urgent FROM banking WHERE category LIKE 'ca%')
       PIVOT (count(*) FOR urgent IN (true, false)) ORDER BY category""",
    """SELECT category, count(*) AS n FROM banking WHERE category LIKE 't%' GROUP BY category
       HAVING llm_bool('Worth a look? ' || category) AND count(*) > 5 ORDER BY category""",
    """SELECT category, avg(llm(text, returns := 'BIGINT'))::DOUBLE AS score FROM banking WHERE category < 'c'
       GROUP BY category HAVING count(*) > 120 ORDER BY category""",
    """SELECT 'bank' AS source, text AS q, llm(text) AS a FROM banking WHERE category = 'age_limit' AND length(text) < 40
       UNION ALL SELECT 'maths', question, llm(question) FROM gsm8k WHERE length(question) < 80 ORDER BY 1, 2""",
    """SELECT category, string_agg(DISTINCT llm_class(text, ['x', 'y']), ',' ORDER BY llm_class(text, ['x', 'y'])) AS k
       FROM banking WHERE category LIKE 'at%' GROUP BY category ORDER BY 1""",
    """SELECT g.question, b.text FROM gsm8k AS g LEFT JOIN (SELECT text FROM banking WHERE llm_bool(text)) AS b
       ON length(g.question) = length(b.text) WHERE length(g.question) < 85 ORDER BY ALL""",
    """WITH scored AS (SELECT category, llm(text, returns := 'BIGINT') AS s FROM banking WHERE category < 'b')
       SELECT category, avg(s)::DOUBLE AS m, rank() OVER (ORDER BY avg(s) DESC, category) AS place FROM scored
       GROUP BY category QUALIFY place <= 2 ORDER BY place""",
    """SELECT text, llm('Translate: ' || llm('Shorten: ' || text)) AS t FROM banking WHERE category = 'age_limit'
       ORDER BY length(text) DESC, text LIMIT 4""",
)

SHOP = (
    """SELECT n_name, sum(o_totalprice) AS revenue, count(*) AS n FROM customer JOIN orders ON c_custkey = o_custkey
       JOIN nation ON c_nationkey = n_nationkey WHERE o_orderdate < DATE '1996-06-01' AND llm_bool('Angry? ' || o_comment)
       GROUP BY n_name ORDER BY revenue DESC, n_name""",
    """SELECT l_returnflag, sum(l_quantity) AS q, avg(l_extendedprice * (1 - l_discount))::DOUBLE AS p, count(*) AS n
       FROM lineitem WHERE llm_class(l_comment, ['good', 'bad', 'neutral']) <> 'good' GROUP BY l_returnflag ORDER BY 1""",
    """SELECT c_custkey, c_name, c_acctbal, llm(c_comment) AS a FROM customer
       WHERE c_acctbal > (SELECT avg(c_acctbal) FROM customer) ORDER BY c_acctbal DESC, c_custkey LIMIT 5""",
    """SELECT o_orderstatus, llm_class(o_comment, ['x', 'y']) AS c, count(*) AS n, max(o_totalprice) AS m FROM orders
       GROUP BY CUBE (o_orderstatus, c) ORDER BY ALL""",
    """SELECT c_name, (SELECT count(*) FROM orders WHERE o_custkey = c_custkey AND llm_bool(o_comment)) AS n
       FROM customer WHERE c_custkey < 6 ORDER BY c_custkey""",
    """SELECT o_orderkey FROM orders WHERE EXISTS (SELECT 1 FROM lineitem WHERE l_orderkey = o_orderkey
       AND l_quantity > 40 AND llm_bool(l_comment || ' ' || o_comment)) ORDER BY o_orderkey""",
    """SELECT o_orderkey FROM orders WHERE o_orderkey NOT IN (SELECT l_orderkey FROM lineitem WHERE llm_bool(l_comment))
       AND o_orderkey < 100 ORDER BY 1""",
    """SELECT c_custkey, o_orderkey, o_comment FROM customer LEFT JOIN orders
       ON c_custkey = o_custkey AND llm_bool(o_comment) WHERE c_custkey BETWEEN 30 AND 36 ORDER BY ALL""",
    """WITH late AS (SELECT o_custkey, llm(o_comment) AS a FROM orders WHERE o_orderdate > DATE '1996-12-01')
       SELECT c_name, a FROM customer JOIN late ON c_custkey = o_custkey WHERE c_mktsegment = 'BUILDING' ORDER BY ALL""",
    """WITH per AS (SELECT c_nationkey AS k, string_agg(c_comment, '; ' ORDER BY c_custkey) AS t FROM customer GROUP BY 1)
       SELECT n_name, llm('Nation: ' || t) AS a FROM per JOIN nation ON k = n_nationkey WHERE n_regionkey = 1 ORDER BY 1""",
    """SELECT c_mktsegment, o_orderstatus, max(llm(o_comment)) AS a FROM customer JOIN orders ON c_custkey = o_custkey
       WHERE o_totalprice > 4000 GROUP BY ROLLUP (c_mktsegment, o_orderstatus) ORDER BY ALL""",
    """SELECT c_custkey, c_acctbal, rank() OVER (PARTITION BY llm_class(c_comment, ['p', 'q']) ORDER BY c_acctbal, c_custkey) AS r
       FROM customer QUALIFY r <= 2 ORDER BY 1""",
    """SELECT o_orderkey, sum(o_totalprice) OVER (ORDER BY o_orderkey ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s
       FROM orders WHERE llm_bool(o_comment) ORDER BY 1""",
    """SELECT l_comment, count(*) AS n FROM lineitem GROUP BY l_comment HAVING llm_bool('Common? ' || l_comment) ORDER BY 1""",
    """SELECT r_name, n_name, llm(r_name || '/' || n_name) AS a FROM region JOIN nation ON r_regionkey = n_regionkey
       WHERE r_name IN ('ASIA', 'EUROPE') ORDER BY 1, 2""",
    "SELECT o_comment FROM orders WHERE llm_bool(o_comment) INTERSECT SELECT c_comment FROM customer",
    "SELECT c_comment FROM customer EXCEPT SELECT o_comment FROM orders WHERE NOT llm_bool(o_comment)",
    """SELECT status, llm('All: ' || list_aggregate(list_sort(comments), 'string_agg', ',')) AS a FROM (
       SELECT o_orderstatus AS status, list(DISTINCT o_comment) AS comments FROM orders WHERE o_totalprice < 500 GROUP BY 1)
       ORDER BY 1""",
    """SELECT year(o_orderdate) AS y, month(o_orderdate) AS m, count(*) FILTER (WHERE llm_bool(o_comment)) AS n FROM orders
       GROUP BY y, m ORDER BY y, m""",
    """SELECT DISTINCT ON (o_custkey) o_custkey, o_orderkey, llm(o_comment) AS a FROM orders WHERE o_custkey < 5
       ORDER BY o_custkey, o_orderdate DESC, o_orderkey""",
    """SELECT * EXCLUDE (c_acctbal, c_mktsegment) REPLACE (llm(c_comment) AS c_comment) FROM customer
       WHERE c_custkey < 3 ORDER BY c_custkey""",
    "SELECT COLUMNS('c_.*key'), llm(c_comment) FROM customer WHERE c_custkey < 3 ORDER BY c_custkey",
    """SELECT o_orderkey, x.a FROM orders, LATERAL (SELECT llm(o_comment || ' ' || n_name) AS a FROM nation
       WHERE n_nationkey = o_orderkey % 8) AS x WHERE o_orderkey < 6 ORDER BY 1""",
    """SELECT count(*) AS n FROM customer WHERE c_mktsegment IS NULL OR (c_acctbal < 500 AND llm_bool(c_comment))""",
)


@pytest.fixture(scope="module")
def shop_bench() -> Iterator[Bench]:
    bench = Bench(shop())
    yield bench
    bench.con.close()


@pytest.fixture(scope="module")
def question_bench() -> Iterator[Bench]:
    if not DATA.exists():
        pytest.skip("the questions are not here")
    banking = pl.read_csv(DATA / "banking77.csv", infer_schema=False)
    gsm8k = pl.read_ndjson(DATA / "gsm8k_test.jsonl").select("question", "answer")
    bench = Bench({"banking": banking, "gsm8k": gsm8k})
    yield bench
    bench.con.close()


def ask(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_configured", {"model": MODEL, "cache": "off"})


@pytest.mark.parametrize("query", SHOP)
def test_the_shop(shop_bench: Bench, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    ask(shop_bench, monkeypatch)
    shop_bench.same(query)


@pytest.mark.parametrize("query", QUESTIONS)
def test_the_questions(question_bench: Bench, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    ask(question_bench, monkeypatch)
    question_bench.same(query)
