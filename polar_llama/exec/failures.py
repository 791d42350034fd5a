"""What becomes of the rows without an answer: counted and sampled while they pass, raised at the end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polar_llama.errors import AnswerError, BudgetError, ProviderError
from polar_llama.exec.splice import describe, title
from polar_llama.providers.base import FATAL, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.errors import PolarLlamaError
    from polar_llama.exec.budget import Budget
    from polar_llama.settings import CacheMode

SAMPLE = 5
"""Row numbers that are told of each cause."""

ADVICE = {
    "auth": "Check the provider's API key, and what it may do",
    "quota": "Check the account's credit and spend limits",
    "unknown_model": "Check the model's name",
    "network": "Check the connection and the base URL",
}


@dataclass(slots=True)
class _Cause:
    failure: Failure
    model: str
    count: int = 0
    rows: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        rows = ", ".join(map(str, self.rows))
        what = f"row {rows}" if self.count == 1 else f"e.g. rows {rows}"
        return f"{self.count:,} × {title(self.failure)} ({self.failure.message}), {what}"  # noqa: RUF001


class Failures:
    """The failed rows of a run's calls with `on_error="raise"`.

    Args:
        cache: How the run uses the cache: whether what came back is kept.
        budget: The run's budget.
    """

    def __init__(self, cache: CacheMode, budget: Budget) -> None:
        self._cache = cache
        self._budget = budget
        self._rows = 0
        self._causes: dict[tuple[str, str], _Cause] = {}
        self._unreachable: set[str] = set()
        self._lock = threading.Lock()

    def passed(self, rows: int) -> None:
        """Count rows, answered or not."""
        with self._lock:
            self._rows += rows

    def add(self, failure: Failure, model: str, count: int, rows: Sequence[int]) -> None:
        """Record rows that failed for the same cause.

        Args:
            failure: The cause.
            model: Who was asked.
            count: How many rows.
            rows: The first of their numbers, in the stage's input.
        """
        with self._lock:
            cause = self._causes.setdefault((title(failure), model), _Cause(failure, model))
            cause.count += count
            cause.rows += rows[: SAMPLE - len(cause.rows)]

    def unreachable(self, model: str) -> None:
        """Record that a model answered nothing at all."""
        self._unreachable.add(model)

    def is_hopeless(self, failure: Failure) -> bool:
        """Whether nothing that is asked after this failure will be answered."""
        return failure.kind in FATAL or self._is_over_budget(failure)

    def raise_error(self) -> None:
        """Raise one error that counts and samples the causes, if any row failed.

        Raises:
            ProviderError: If a provider refused for good, or none of its answers came.
            BudgetError: If the budget stopped the run.
            AnswerError: If rows failed for other reasons.
        """
        with self._lock:
            causes = sorted(self._causes.values(), key=lambda cause: -cause.count)
        if causes:
            raise self._error(causes)

    def _error(self, causes: list[_Cause]) -> PolarLlamaError:
        failed = sum(cause.count for cause in causes)
        told = f"{failed:,} of {self._rows:,} rows have no answer"
        fatal = [cause for cause in causes if cause.failure.kind in FATAL or self._is_unreachable(cause)]
        if fatal:
            first = fatal[0].failure
            what = f"{fatal[0].model}: {describe(first).rstrip('.')}. {ADVICE[first.kind]}."
            return ProviderError(f"{what} {told}: {_listed(causes)}. {self._way_on('run again')}")
        if any(self._is_over_budget(cause.failure) for cause in causes):
            others = _listed([cause for cause in causes if not self._is_over_budget(cause.failure)])
            more = f" ({others})" if others else ""
            return BudgetError(f"{self._budget.reason}: {told}{more}. {self._way_on('raise the budget and run again')}")
        return AnswerError(f"{told}: {_listed(causes)}. {self._way_on('run again')}")

    def _is_over_budget(self, failure: Failure) -> bool:
        return self._budget.reason is not None and failure.message == self._budget.reason

    def _is_unreachable(self, cause: _Cause) -> bool:
        return cause.failure.kind == "network" and cause.model in self._unreachable

    def _way_on(self, what: str) -> str:
        match self._cache:
            case "replay":
                return 'cache="replay" never asks: run once with cache="use".'
            case "off":
                return f'The other answers are not kept, because cache="off": set cache="use", then {what}.'
            case "refresh":
                return f'All other answers are cached: {what}, with cache="use", to ask only for the rest.'
            case "use":
                return f"All other answers are cached: {what} to ask only for the rest."


def _listed(causes: list[_Cause]) -> str:
    return "; ".join(map(str, causes))
