"""Similarities against the textbook, on Lists and Arrays, with nulls, zeros and unequal lengths."""

from __future__ import annotations

from math import isnan, nan, sqrt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polar_llama.frame.similarity import cosine_similarity, dot_product, euclidean_distance
from polar_llama.planner.exprs import row_wise

DTYPES = [pl.List(pl.Float64), pl.List(pl.Float32), pl.Array(pl.Float32, 3), pl.Array(pl.Float64, 3), pl.List(pl.Int32)]
EVERY = [cosine_similarity, dot_product, euclidean_distance]


def _pairs(left, right) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "a": pl.Series([[1, 0, 0], [1, 2, 3], [3, 4, 0], [-1, 0, 0], None, [1, 1, 1]], dtype=left),
            "b": pl.Series([[1, 0, 0], [2, 4, 6], [0, 0, 0], [1, 0, 0], [1, 1, 1], None], dtype=right),
        }
    )


@pytest.mark.parametrize("right", DTYPES, ids=str)
@pytest.mark.parametrize("left", DTYPES, ids=str)
def test_every_pair_of_dtypes_gives_the_textbook_values(left, right):
    found = _pairs(left, right).select(
        c=cosine_similarity("a", "b"), d=dot_product(pl.col("a"), "b"), e=euclidean_distance("a", pl.col("b"))
    )
    assert found["c"].to_list() == pytest.approx([1.0, 1.0, 0.0, -1.0, None, None])
    assert found["d"].to_list() == [1.0, 28.0, 0.0, -1.0, None, None]
    assert found["e"].to_list() == pytest.approx([0.0, sqrt(14), 5.0, 2.0, None, None])
    assert set(found.dtypes) == {pl.Float64}


def test_a_null_inside_a_vector_counts_as_zero():
    df = pl.DataFrame({"a": [[3.0, None]], "b": [[4.0, 1.0]]})
    assert df.select(dot_product("a", "b")).item() == 12.0
    assert df.select(cosine_similarity("a", "b")).item() == pytest.approx(12 / (3 * sqrt(17)))


@pytest.mark.parametrize("similarity", EVERY)
def test_vectors_of_unequal_lengths_are_an_error(similarity):
    df = pl.DataFrame({"a": [[1.0, 2.0, 3.0]], "b": [[1.0, 2.0]]})
    with pytest.raises(pl.exceptions.ShapeError, match="3 != 2"):
        df.select(similarity("a", "b"))


@pytest.mark.parametrize("similarity", EVERY)
def test_one_literal_vector_goes_with_every_row(similarity):
    df = _pairs(pl.List(pl.Float64), pl.List(pl.Float64))
    expected = df.with_columns(q=pl.Series([[1.0, 2.0, 3.0]] * 6)).select(x=similarity("q", "b"))["x"]
    for query in (pl.lit([1.0, 2.0, 3.0]), pl.lit([pl.Series([1.0, 2.0, 3.0])]), pl.lit(pl.Series([[1.0, 2.0, 3.0]]))):
        assert df.select(x=similarity(query, "b"))["x"].to_list() == expected.to_list()
        assert df.select(x=similarity("b", query))["x"].to_list() == expected.to_list()


@pytest.mark.parametrize("similarity", EVERY)
def test_nan_stays_nan_and_the_name_is_the_first_vectors(similarity):
    df = pl.DataFrame({"a": [[nan, 1.0]], "b": [[1.0, 1.0]]}).select(similarity("a", "b"))
    assert df.columns == ["a"]
    assert isnan(df["a"].item())


@pytest.mark.parametrize("similarity", EVERY)
def test_the_planner_sees_that_each_row_stands_alone(similarity):
    assert row_wise(similarity("a", "b"))
    assert row_wise(similarity(pl.lit([1.0, 2.0]), "b"))


_FLOATS = st.floats(-1e6, 1e6, width=32)


@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(_FLOATS, min_size=n, max_size=n), min_size=2, max_size=2)))
def test_cosine_stays_in_its_range_and_is_symmetric(pair):
    df = pl.DataFrame({"a": [pair[0]], "b": [pair[1]]})
    there, back = df.select(there=cosine_similarity("a", "b"), back=cosine_similarity("b", "a")).row(0)
    assert -1.0 <= there <= 1.0
    assert there == pytest.approx(back)


def test_no_rows_and_empty_vectors():
    none = pl.DataFrame(schema={"a": pl.List(pl.Float32), "b": pl.List(pl.Float32)})
    assert none.select(cosine_similarity("a", "b")).height == 0
    empty = pl.DataFrame({"a": [[]], "b": [[]]}, schema=none.schema)
    assert empty.select(c=cosine_similarity("a", "b"), e=euclidean_distance("a", "b")).row(0) == (0.0, 0.0)
