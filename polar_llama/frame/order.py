"""In which order several predicates are asked: the cheapest for what it drops first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from polar_llama.call import Call
    from polar_llama.planner.sieve import Predicate


class Order:
    """Ranks predicates by their cost a row over the share of rows they drop, as seen so far.

    That order costs least when predicates are independent (Hellerstein and Stonebraker, 1993). A share
    is counted from one row passed and one dropped, so that nothing is certain before it has been seen.

    Args:
        predicates: The predicates.
        rate: What asking a call costs for a prompt of so many bytes, in any unit.
    """

    def __init__(self, predicates: Sequence[Predicate], rate: Callable[[Call, float], float]) -> None:
        self._predicates = predicates
        self._rate = rate
        self._seen = {id(p): (1, 2) for p in predicates}

    def of(self, piece: pl.DataFrame) -> list[Predicate]:
        """The predicates in order, for a piece whose slots are rendered; ties stay as written."""
        return sorted(self._predicates, key=lambda p: self._cost(p, piece) / self._dropping(p))

    def saw(self, predicate: Predicate, rows: int, passed: int) -> None:
        """Remember how many of the rows asked have passed."""
        before, asked = self._seen[id(predicate)]
        self._seen[id(predicate)] = before + passed, asked + rows

    def _dropping(self, predicate: Predicate) -> float:
        passed, asked = self._seen[id(predicate)]
        return max(1 - passed / asked, 1e-9)

    def _cost(self, predicate: Predicate, piece: pl.DataFrame) -> float:
        total = 0.0
        for answer in predicate.answers:
            # Polars runs a Series' methods as expressions on its name, and a reserved one would be captured.
            prompts = piece.get_column(answer.column).alias("prompt").drop_nulls().unique()
            size = int(prompts.str.len_bytes().sum()) / max(1, len(prompts))
            total += len(prompts) * self._rate(answer.call, size)
        return total / max(1, piece.height)
