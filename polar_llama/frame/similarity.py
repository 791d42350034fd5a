"""How alike two vectors are: plain Polars expressions over List and Array columns."""

from __future__ import annotations

import polars as pl

Vector = str | pl.Expr
"""A column's name, or an expression of vectors."""


def cosine_similarity(a: Vector, b: Vector) -> pl.Expr:
    """The cosine of the angle between two vectors, row by row.

    Args:
        a: Vectors: List or Array of numbers. A literal, such as one query's vector, goes with every row.
        b: Vectors of the same lengths.

    Returns:
        Float64 from -1 to 1, named as `a`; 0.0 where a vector is all zeros; null where a vector is null or
        holds a null.

    Raises:
        polars.exceptions.ShapeError: When collected, if the two vectors of a row differ in length.

    Examples:
        >>> df = pl.DataFrame({"a": [[1.0, 0.0], [1.0, 1.0]], "b": [[2.0, 0.0], [0.0, 0.0]]})
        >>> df.select(cosine_similarity("a", "b"))["a"].to_list()
        [1.0, 0.0]
    """
    left, right = _vector(a), _vector(b)
    lengths = (left * left).list.sum().sqrt() * (right * right).list.sum().sqrt()
    cosine = dot_product(left, right) / pl.when(lengths > 0).then(lengths).otherwise(1.0)
    return cosine.clip(-1.0, 1.0)  # rounding may lead a hair beyond


def dot_product(a: Vector, b: Vector) -> pl.Expr:
    """The sum of the products of two vectors' elements, row by row.

    Args:
        a: Vectors: List or Array of numbers. A literal goes with every row.
        b: Vectors of the same lengths.

    Returns:
        Float64, named as `a`; null where a vector is null or holds a null.

    Raises:
        polars.exceptions.ShapeError: When collected, if the two vectors of a row differ in length.

    Examples:
        >>> df = pl.DataFrame({"a": [[1.0, 2.0], None], "b": [[3.0, 4.0], [1.0, 1.0]]})
        >>> df.select(dot_product("a", "b"))["a"].to_list()
        [11.0, None]
    """
    left = _vector(a)
    return _sum(left * _vector(b), left)


def euclidean_distance(a: Vector, b: Vector) -> pl.Expr:
    """The straight-line distance between two vectors, row by row.

    Args:
        a: Vectors: List or Array of numbers. A literal goes with every row.
        b: Vectors of the same lengths.

    Returns:
        Float64 from 0, named as `a`; null where a vector is null or holds a null.

    Raises:
        polars.exceptions.ShapeError: When collected, if the two vectors of a row differ in length.

    Examples:
        >>> df = pl.DataFrame({"a": [[3.0, 4.0]], "b": [[0.0, 0.0]]})
        >>> df.select(euclidean_distance("a", "b"))["a"].to_list()
        [5.0]
    """
    left = _vector(a)
    difference = left - _vector(b)
    return _sum(difference * difference, left).sqrt()


def _vector(vector: Vector) -> pl.Expr:
    expr = pl.col(vector) if isinstance(vector, str) else vector
    # `pl.lit([series])` was one vector to the seed, and is a list of vectors to today's Polars.
    if expr.meta.is_literal() and isinstance(dtype := pl.select(expr).dtypes[0], pl.List) and dtype.inner.is_nested():
        expr = expr.list.first()
    return expr.cast(pl.List(pl.Float64))


def _sum(products: pl.Expr, named: pl.Expr) -> pl.Expr:
    """The sum of each row's products, under the name of the first vector; a null among them is no zero."""
    name = named.meta.output_name(raise_if_undetermined=False) or "literal"
    return pl.when(~products.list.contains(None)).then(products.list.sum()).alias(name)
