"""In which order several predicates are asked: the cheapest for what it drops first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from polar_llama.call import Call
    from polar_llama.planner.sieve import Predicate


LEAST_ROWS, MOST_ROWS = 8, 4_096
"""Rows that are asked at a time: enough to learn from, and enough to keep a provider busy."""


class Order:
    """Picks the next predicate by its cost a row over the share of rows it drops, as seen so far.

    That order costs least when predicates are independent (Hellerstein and Stonebraker, 1993). They may
    not be, so what is seen of a predicate is kept apart by which others had passed before. A predicate
    that was never first is taken to drop everything, so that each is tried first once unless its price
    forbids. A share is counted from one row passed and one dropped: nothing is certain soon.

    Args:
        predicates: The predicates.
        rate: What asking a call costs for a prompt of so many bytes, in any unit.
    """

    def __init__(self, predicates: Sequence[Predicate], rate: Callable[[Call, float], float]) -> None:
        self._predicates = predicates
        self._rate = rate
        self._seen: dict[tuple[int, frozenset[int]], tuple[int, int]] = {}
        self._pieces = 0

    def rows(self, window: int) -> int:
        """How many rows to ask next: few while each predicate is tried first, then ever more."""
        count = len(self._predicates)
        doublings, self._pieces = self._pieces - count, self._pieces + 1
        small = max(LEAST_ROWS, window // count)
        return small if doublings < 0 else min(max(small, window) << min(doublings, 12), MOST_ROWS)

    def next(self, piece: pl.DataFrame, done: Sequence[Predicate]) -> Predicate | None:
        """The predicate to ask next for the rows that have passed those done; ties stay as written."""
        left = [p for p in self._predicates if not any(p is d for d in done)]
        return min(left, key=lambda p: self._cost(p, piece) / self._dropping(p, done), default=None)

    def saw(self, predicate: Predicate, done: Sequence[Predicate], rows: int, passed: int) -> None:
        """Remember how many of the rows asked have passed."""
        key = self._key(predicate, done)
        before, asked = self._seen.get(key, (1, 2))
        self._seen[key] = before + passed, asked + rows

    def _dropping(self, predicate: Predicate, done: Sequence[Predicate]) -> float:
        seen = self._seen.get(self._key(predicate, done)) or self._seen.get(self._key(predicate, ()))
        if seen is None:
            return 1.0 if not done else 0.5
        passed, asked = seen
        return max(1 - passed / asked, 1e-9)

    def _key(self, predicate: Predicate, done: Sequence[Predicate]) -> tuple[int, frozenset[int]]:
        return id(predicate), frozenset(map(id, done))

    def _cost(self, predicate: Predicate, piece: pl.DataFrame) -> float:
        total = 0.0
        for answer in predicate.answers:
            # Polars runs a Series' methods as expressions on its name, and a reserved one would be captured.
            prompts = piece.get_column(answer.column).alias("prompt").drop_nulls().unique()
            size = int(prompts.str.len_bytes().sum()) / max(1, len(prompts))
            total += len(prompts) * self._rate(answer.call, size)
        return total / max(1, piece.height)
