"""How alike two vectors are: plain Polars expressions over List and Array columns.

A null inside a vector counts as zero.
"""

from __future__ import annotations

import polars as pl

Vector = str | pl.Expr
"""A column's name, or an expression of vectors."""

_SMALLEST = 5e-324


def cosine_similarity(a: Vector, b: Vector) -> pl.Expr:
    """The cosine of the angle between two vectors, row by row.

    Args:
        a: Vectors: List or Array of numbers. A literal, such as one query's vector, goes with every row.
        b: Vectors of the same lengths.

    Returns:
        Float64 from -1 to 1, named as `a`; 0.0 where a vector is all zeros, null where a vector is null or
        holds a null.

    Raises:
        polars.exceptions.ShapeError: When collected, if the two vectors of a row differ in length.

    Examples:
        >>> df = pl.DataFrame({"a": [[1.0, 0.0], [1.0, 1.0]], "b": [[2.0, 0.0], [0.0, 0.0]]})
        >>> df.select(cosine_similarity("a", "b"))["a"].to_list()
        [1.0, 0.0]
    """
    left, right = _vector(a), _vector(b)
    lengths = _length(left) * _length(right)
    # Where a vector is all zeros, 0 / SMALLEST is 0; and rounding may lead a hair beyond 1. (A when/then around a
    # strict cast fails in Polars 2.1: the rows it hides are null to the cast.)
    return ((left * right).list.sum() / lengths.clip(lower_bound=_SMALLEST)).clip(-1.0, 1.0)


def dot_product(a: Vector, b: Vector) -> pl.Expr:
    """The sum of the products of two vectors' elements, row by row.

    Args:
        a: Vectors: List or Array of numbers. A literal goes with every row.
        b: Vectors of the same lengths.

    Returns:
        Float64, named as `a`; null where a vector is null.

    Raises:
        polars.exceptions.ShapeError: When collected, if the two vectors of a row differ in length.

    Examples:
        >>> df = pl.DataFrame({"a": [[1.0, 2.0], None], "b": [[3.0, 4.0], [1.0, 1.0]]})
        >>> df.select(dot_product("a", "b"))["a"].to_list()
        [11.0, None]
    """
    return (_vector(a) * _vector(b)).list.sum()


def euclidean_distance(a: Vector, b: Vector) -> pl.Expr:
    """The straight-line distance between two vectors, row by row.

    Args:
        a: Vectors: List or Array of numbers. A literal goes with every row.
        b: Vectors of the same lengths.

    Returns:
        Float64 from 0, named as `a`; null where a vector is null.

    Raises:
        polars.exceptions.ShapeError: When collected, if the two vectors of a row differ in length.

    Examples:
        >>> df = pl.DataFrame({"a": [[3.0, 4.0]], "b": [[0.0, 0.0]]})
        >>> df.select(euclidean_distance("a", "b"))["a"].to_list()
        [5.0]
    """
    difference = _vector(a) - _vector(b)
    return (difference * difference).list.sum().sqrt()


def _vector(vector: Vector) -> pl.Expr:
    expr = pl.col(vector) if isinstance(vector, str) else vector
    return _literal(expr) if expr.meta.is_literal() else expr.cast(pl.List(pl.Float64))


def _length(vector: pl.Expr) -> pl.Expr:
    length = (vector * vector).list.sum().sqrt()
    return pl.lit(pl.select(length).item()) if vector.meta.is_literal() and vector.meta.is_scalar() else length


def _literal(vector: pl.Expr) -> pl.Expr:
    """A literal of the right dtype: a cast of a literal is no literal to the planner."""
    value = pl.select(vector).to_series()
    if isinstance(value.dtype, pl.List) and value.dtype.inner.is_nested():
        # `pl.lit([series])` was one vector to the polar-llama of old, and is a list of vectors to today's Polars.
        value = value.list.first()
    if len(value) != 1:
        return pl.lit(value.cast(pl.List(pl.Float64)))
    return pl.lit(value.cast(pl.List(pl.Float64)).to_list()[0], dtype=pl.List(pl.Float64))
