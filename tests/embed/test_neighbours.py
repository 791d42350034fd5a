"""Nearest neighbours against comparing everything with everything."""

from __future__ import annotations

import importlib.util

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import polar_llama as pll
from polar_llama.frame.embed import embed
from polar_llama.frame.nearest import Corpus
from polar_llama.frame.neighbours import join_nearest, knn_hnsw
from polar_llama.frame.similarity import cosine_similarity, dot_product, euclidean_distance
from polar_llama.testing import Emulator

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("usearch") is None, reason='needs the extra: pip install "polar-llama[neighbours]"'
)

MEASURES = {"cosine": cosine_similarity, "dot": dot_product, "euclidean": euclidean_distance}


def _naive(left: pl.DataFrame, right: pl.DataFrame, metric: str, k: int, threshold: float | None = None):
    """Every pair measured by Polars, the best k kept; ties go to the earlier row."""
    distance = metric == "euclidean"
    name = "distance" if distance else "similarity"
    pairs = left.with_row_index("l").join(right.with_row_index("r"), how="cross")
    pairs = pairs.with_columns(MEASURES[metric]("v", "v_right").alias(name)).drop_nulls(name)
    pairs = pairs.sort("l", name, "r", descending=[False, not distance, False])
    if threshold is not None:
        pairs = pairs.filter(pl.col(name) <= threshold if distance else pl.col(name) >= threshold)
    ranked = pairs.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("l"))
    return ranked.filter(pl.col("rank") <= k).select(*left.columns, "r_name", "v_right", "rank", name)


_VECTORS = st.lists(st.none() | st.lists(st.integers(-3, 3).map(float), min_size=3, max_size=3), max_size=12)


@settings(deadline=None, max_examples=60)
@given(_VECTORS, _VECTORS, st.sampled_from(sorted(MEASURES)), st.integers(1, 4), st.none() | st.floats(-2, 3))
def test_the_join_is_the_naive_one(left, right, metric, k, threshold):
    a = pl.DataFrame({"name": range(len(left)), "v": pl.Series(left, dtype=pl.List(pl.Float64))})
    b = pl.DataFrame({"r_name": range(len(right)), "v": pl.Series(right, dtype=pl.List(pl.Float64))})
    found = join_nearest(a, b, on="v", k=k, metric=metric, threshold=threshold)
    expected = _naive(a, b, metric, k, threshold)
    score = found.columns[-1]
    if metric == "cosine" and threshold is not None:
        # Whether a cosine of exactly the threshold passes hangs on its last digit, which sums in another order change.
        scores = _naive(a, b, metric, len(right) + 1, None)[score]
        assume(not any(abs(value - threshold) < 1e-9 for value in scores))
    if metric == "cosine":  # equal cosines may differ in their last digit, and then in their order
        assert found.height == expected.height
        assert found[score].to_list() == pytest.approx(expected[score].to_list())
        return
    assert_frame_equal(found, expected, check_exact=False)


def _animals() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "doc": ["AI", "cooking", "ML", "recipes"],
            "v": pl.Series([[0.9, 0.1], [0.1, 0.9], [0.85, 0.15], None], dtype=pl.Array(pl.Float32, 2)),
        }
    )


def test_a_left_join_keeps_rows_without_neighbours():
    left = pl.DataFrame({"q": ["a", "b", "c"], "v": [[0.9, 0.1], None, [-1.0, 0.0]]})
    found = join_nearest(left, _animals(), on="v", k=2, threshold=0.5, how="left")
    assert found.select("q", "doc", "rank").rows() == [
        ("a", "AI", 1),
        ("a", "ML", 2),
        ("b", None, None),
        ("c", None, None),
    ]
    assert found.columns == ["q", "v", "doc", "v_right", "rank", "similarity"]
    assert found.schema == join_nearest(left.lazy(), _animals(), on="v").collect_schema()


def test_a_lazy_join_hands_limits_predicates_and_columns_down():
    left = pl.LazyFrame({"q": range(100), "v": [[1.0, float(i)] for i in range(100)]})
    lf = join_nearest(left, _animals().lazy(), left_on="v", right_on="v", k=3)
    assert isinstance(lf, pl.LazyFrame)
    whole = lf.collect()
    assert whole.height == 300
    assert_frame_equal(lf.head(5).collect(), whole.head(5))
    assert_frame_equal(lf.filter(rank=1).select("doc", "q").collect(), whole.filter(rank=1).select("doc", "q"))
    assert lf.select(pl.len()).collect().item() == 300
    assert join_nearest(left.head(0), _animals(), on="v").collect().height == 0
    assert join_nearest(left, _animals().head(0), on="v").collect().height == 0


def test_answers_are_joined_within_one_run(monkeypatch):
    with Emulator() as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        pll.configure(model="openai:gpt-6-luna")
        docs = pl.LazyFrame({"doc": ["a", "b", "c"]}).with_columns(v=embed("doc", dimensions=16))
        asks = pl.LazyFrame({"ask": ["b", "z", "b"]}).with_columns(v=embed("ask", dimensions=16))
        found = join_nearest(asks, docs, on="v", k=1, threshold=0.99).collect()
        assert found.select("ask", "doc", "rank").rows() == [("b", "b", 1), ("b", "b", 1)]
        report = pll.last_run()
        assert report is not None
        assert report.total.distinct == 4
        assert sorted(emulator.stats().prompts) == ["a", "b", "c", "z"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, pll.ConfigurationError, "wants on="),
        ({"on": "v", "left_on": "v"}, pll.ConfigurationError, "wants on="),
        ({"on": "v", "k": 0}, pll.ConfigurationError, "k must be"),
        ({"on": "v", "metric": "l2"}, pll.ConfigurationError, "metric"),
        ({"on": "v", "index": "flat"}, pll.ConfigurationError, "index"),
        ({"on": "v", "how": "outer"}, pll.ConfigurationError, "how"),
        ({"on": "w"}, pll.PlanError, "'w', which the left frame"),
        ({"on": "doc"}, pll.PlanError, "wants vectors"),
        ({"on": "v", "suffix": ""}, pll.PlanError, "twice"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(options, error, message):
    with pytest.raises(error, match=message):
        join_nearest(_animals().lazy(), _animals(), **options).collect_schema()


def test_vectors_of_unequal_lengths_are_an_error():
    with pytest.raises(pl.exceptions.ShapeError, match="3 numbers, those searched 2"):
        list(Corpus(pl.Series([[1.0, 2.0]]), "dot", "exact").nearest(pl.Series([[1.0, 2.0, 3.0]]), 1))
    with pytest.raises(pl.exceptions.ShapeError, match="of one length"):
        Corpus(pl.Series([[1.0], [1.0, 2.0]]), "dot", "exact")


def test_the_expression_searches_a_column_or_each_rows_own_list():
    df = _animals()
    queries = df.select("doc", near=knn_hnsw("v", pl.col("v"), k=2))
    assert queries["near"].to_list() == [[0, 2], [1, 2], [2, 0], None]
    own = pl.DataFrame({"q": [[1.0, 0.0], [0.0, 1.0]], "c": [[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0]]]})
    assert own.select(knn_hnsw("q", "c", k=3))["q"].to_list() == [[1, 0], [0]]
    one = pl.DataFrame({"q": [[1.0, 0.0], [0.0, 1.0], None]})
    corpus = pl.lit([[[0.0, 1.0], [1.0, 0.0]]]).list.first()
    assert one.select(knn_hnsw("q", corpus, k=1))["q"].to_list() == [[1], [0], None]


def test_an_empty_corpus_is_an_error_and_no_queries_are_none():
    df = pl.DataFrame({"q": [[1.0]], "c": pl.Series([None], dtype=pl.List(pl.Float64))})
    with pytest.raises(pl.exceptions.ComputeError, match="no vectors"):
        df.select(knn_hnsw("q", "c"))
    assert df.head(0).select(knn_hnsw("q", "c")).schema == {"q": pl.List(pl.Int64)}
    with pytest.raises(pll.ConfigurationError, match="k must be"):
        knn_hnsw("q", "c", k=True)


@pytest.mark.parametrize("metric", sorted(MEASURES))
def test_the_index_finds_what_comparing_everything_finds(metric):
    corpus = pl.Series([[float(i % 50), float(i // 50), 1.0] for i in range(2_000)])
    queries = corpus.gather_every(97)
    exact = list(Corpus(corpus, metric, "exact").nearest(queries, 5))
    near = list(Corpus(corpus, metric, "hnsw").nearest(queries, 5))
    same = [
        len({round(s, 5) for s in a.scores} & {round(s, 5) for s in b.scores}) / len({round(s, 5) for s in a.scores})
        for a, b in zip(exact, near, strict=True)
        if a is not None and b is not None
    ]
    assert sum(same) / len(same) > 0.95


@pytest.mark.parametrize("reference", [pl.lit([[]]).list.first(), pl.lit([], dtype=pl.List(pl.List(pl.Float64)))])
def test_where_there_is_nothing_to_search_that_is_said(reference):
    """As where a filter before has left no row: the list of its vectors is empty, and of no dtype."""
    df = pl.DataFrame({"v": [[1.0, 2.0]]})
    with pytest.raises(pl.exceptions.ComputeError, match="no vectors to search"):
        df.select(pll.knn_hnsw("v", reference))
