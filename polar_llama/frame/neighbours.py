"""Nearest neighbours: as an expression, and as a join of two frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import polars as pl
from polars.io.plugins import register_io_source

from polar_llama.errors import ConfigurationError, PlanError
from polar_llama.frame.inference_frame import native
from polar_llama.frame.nearest import Corpus, Index, Metric, needed
from polar_llama.frame.patch import ORIGINALS
from polar_llama.frame.scope import LEAF, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Frame = TypeVar("Frame", pl.LazyFrame, pl.DataFrame)

How = Literal["inner", "left"]

RANK = "rank"


def knn_hnsw(query: str | pl.Expr, reference: str | pl.Expr, *, k: int = 5) -> pl.Expr:
    """The positions of the vectors that are nearest to each query by their cosine.

    Args:
        query: Vectors: a column's name or an expression of List or Array.
        reference: What is searched: a column of vectors, all of which every query is compared with; or, of lists
            of vectors, each row's own.
        k: How many to find at most.

    Returns:
        List(Int64), the nearest first: positions in the column, or in the row's list. Null for a null query.
        Exact up to 200,000 vectors; beyond that by an HNSW index, which may miss some.

    Raises:
        ConfigurationError: If `k` is wrong or the extra `neighbours` is not installed.
    """
    needed()
    _check_k(k)

    def search(columns: Sequence[pl.Series]) -> pl.Series:
        queries, references = columns
        return pl.Series(queries.name, list(_positions(queries, references, k)), dtype=pl.List(pl.Int64))

    first = pl.col(query) if isinstance(query, str) else query
    second = pl.col(reference) if isinstance(reference, str) else reference
    return pl.map_batches([first, second], search, return_dtype=pl.List(pl.Int64))


def _positions(queries: pl.Series, references: pl.Series, k: int) -> Iterator[list[int] | None]:
    inner = references.dtype.inner if isinstance(references.dtype, pl.List | pl.Array) else None
    if inner == pl.Null:  # an empty list of vectors, taken out of its list: there is none
        references = references.clear()
    if not isinstance(inner, pl.List | pl.Array):
        yield from _searched(Corpus(references, "cosine", "auto"), queries, k)
    elif len(references) == 1:
        yield from _searched(Corpus(references.explode(), "cosine", "auto"), queries, k)
    else:
        for i in range(len(queries)):
            corpus = Corpus(references.slice(i, 1).explode(), "cosine", "auto")
            yield from _searched(corpus, queries.slice(i, 1), k)


def _searched(corpus: Corpus, queries: pl.Series, k: int) -> Iterator[list[int] | None]:
    if not len(corpus) and queries.null_count() < len(queries):
        msg = "there are no vectors to search"
        raise pl.exceptions.ComputeError(msg)
    return (None if found is None else found.positions.tolist() for found in corpus.nearest(queries, k))


def join_nearest(  # noqa: PLR0913 -- a join has options
    left: Frame,
    right: pl.LazyFrame | pl.DataFrame,
    *,
    on: str | None = None,
    left_on: str | None = None,
    right_on: str | None = None,
    k: int = 5,
    threshold: float | None = None,
    how: How = "inner",
    metric: Metric = "cosine",
    index: Index = "auto",
    suffix: str = "_right",
) -> Frame:
    """Join every row with the rows of another frame whose vectors are nearest to its own.

    Args:
        left: The rows to find neighbours for. Read in batches: it may be larger than memory.
        right: The rows to be found. Their vectors are held in memory.
        on: The column of vectors in both.
        left_on: The column of vectors in `left`.
        right_on: The column of vectors in `right`.
        k: How many neighbours a row has at most.
        threshold: The least similarity (of `"euclidean"`: the greatest distance) of a neighbour.
        how: `"inner"` drops rows without a neighbour; `"left"` keeps them, with nulls.
        metric: `"cosine"` or `"dot"` (similarities), or `"euclidean"` (a distance).
        index: `"exact"` compares with all; `"hnsw"` uses an index, which may miss some; `"auto"` is exact up to
            200,000 rows of `right`.
        suffix: For columns of `right` whose name `left` has too.

    Returns:
        A frame as `left` is (lazy or not): its columns, those of `right`, `rank` (UInt32, from 1) and
        `similarity` or `distance` (Float64). Rows in the order of `left`, the nearest first.

    Raises:
        ConfigurationError: If an option is wrong or the extra `neighbours` is not installed.
        PlanError: If a column is missing, is no vector, or a name would be there twice.
    """
    needed()
    _check_k(k)
    for name, value, choices in (
        ("metric", metric, get_args(Metric)),
        ("index", index, get_args(Index)),
        ("how", how, get_args(How)),
    ):
        if value not in choices:
            msg = f"join_nearest({name}=…) must be one of {', '.join(map(repr, choices))}, not {value!r}"
            raise ConfigurationError(msg)
    columns = on or left_on, on or right_on
    if None in columns or (on and (left_on or right_on)):
        msg = "join_nearest() wants on=, or left_on= and right_on=: the columns of vectors"
        raise ConfigurationError(msg)
    sides: list[pl.LazyFrame] = [native(left.lazy()), native(right.lazy())]
    join = _Join(sides[0], sides[1], str(columns[0]), str(columns[1]), k, threshold, how, metric, index, suffix)
    # The tokens of calls in either frame stand in the plan, so that they are asked in the run of the whole query.
    name = " ".join(["nearest neighbours", *(LEAF + token for token in sorted(tokens(sides)))])
    joined = register_io_source(join, schema=join.schema(), explain_name=name)
    return joined.collect() if isinstance(left, pl.DataFrame) else joined


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        msg = f"k must be a whole number of at least 1, not {k!r}"
        raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True, eq=False)
class _Join:
    """What Polars calls to read the joined frame."""

    left: pl.LazyFrame
    right: pl.LazyFrame
    left_on: str
    right_on: str
    k: int
    threshold: float | None
    how: str
    metric: Metric
    index: Index
    suffix: str

    def schema(self) -> pl.Schema:
        """Names and dtypes; asks nothing."""
        left, right = self.left.collect_schema(), self.right.collect_schema()
        for side, schema, column in (("left", left, self.left_on), ("right", right, self.right_on)):
            if column not in schema:
                msg = f"join_nearest() reads the column {column!r}, which the {side} frame does not have"
                raise PlanError(msg)
            if not isinstance(schema[column], pl.List | pl.Array):
                msg = f"join_nearest() wants vectors, but {column!r} of the {side} frame is {schema[column]}"
                raise PlanError(msg)
        pairs = [*left.items(), *((self._named(name, left), dtype) for name, dtype in right.items())]
        pairs += [(RANK, pl.UInt32()), (self._score, pl.Float64())]
        names = [name for name, _ in pairs]
        if twice := {name for name in names if names.count(name) > 1}:
            msg = f"join_nearest() would make the column {min(twice)!r} twice. Hint: rename it, or set suffix="
            raise PlanError(msg)
        return pl.Schema(pairs)

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Answer what the surrounding query wants: its limit, then its predicate, then its columns."""
        right = ORIGINALS["collect"](self.right)
        corpus = Corpus(right[self.right_on], self.metric, self.index)
        for batch in self._batches():
            made = self._joined(batch, right, corpus)
            if n_rows is not None:
                made, n_rows = made.head(n_rows), n_rows - min(n_rows, made.height)
            wanted = made if predicate is None else made.filter(predicate)
            yield wanted if with_columns is None else wanted.select(with_columns)
            if n_rows == 0:
                return

    def _batches(self) -> Iterable[pl.DataFrame]:
        yield self.left.collect_schema().to_frame()
        yield from ORIGINALS["collect_batches"](self.left, maintain_order=True, lazy=True)

    def _joined(self, batch: pl.DataFrame, right: pl.DataFrame, corpus: Corpus) -> pl.DataFrame:
        rows: list[int] = []
        found: list[int | None] = []
        ranks: list[int | None] = []
        scores: list[float | None] = []
        for row, near in enumerate(corpus.nearest(batch[self.left_on], self.k)):
            kept = [] if near is None else [p for p in zip(*map(list, near), strict=True) if self._passes(p[1])]
            rows += [row] * (len(kept) or (self.how == "left"))
            if not kept and self.how == "left":
                found, ranks, scores = [*found, None], [*ranks, None], [*scores, None]
            found += [position for position, _ in kept]
            ranks += range(1, len(kept) + 1)
            scores += [score for _, score in kept]
        left = batch[rows] if rows else batch.clear()
        near_rows = right.select(pl.all().gather(pl.Series(found, dtype=pl.UInt32)))
        renamed = near_rows.rename({name: self._named(name, batch.schema) for name in right.columns})
        score = pl.Series(self._score, scores, dtype=pl.Float64)
        return pl.concat([left, renamed], how="horizontal").with_columns(pl.Series(RANK, ranks, dtype=pl.UInt32), score)

    def _passes(self, score: float) -> bool:
        if self.threshold is None:
            return True
        return score <= self.threshold if self.metric == "euclidean" else score >= self.threshold

    def _named(self, name: str, left: pl.Schema) -> str:
        return name + self.suffix if name in left else name

    @property
    def _score(self) -> str:
        return "distance" if self.metric == "euclidean" else "similarity"
