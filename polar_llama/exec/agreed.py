"""What the runs that ask one provider and model allow together: the least that any of them does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.exec.tokens import most_around

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from polar_llama.exec.base import Limits, Question
    from polar_llama.exec.limits import Limiter


def agree(limiter: Limiter, questions: Collection[Question], now: float) -> None:
    """Set a limiter to what calls allow together.

    Args:
        limiter: The limiter.
        questions: The calls that are asked now, one at least.
        now: The time.
    """
    at_once, requests, tokens = strictest(question.limits for question in questions)
    limiter.allow(at_once, requests, tokens, now)
    if tokens is not None:
        limiter.guess.around(*most_around({question.ask: question.provider.identity for question in questions}))


def strictest(every: Iterable[Limits]) -> tuple[int | None, int | None, int | None]:
    """The least that any run allows: requests at once, requests a minute, tokens a minute."""
    rows = [(limits.max_concurrency, limits.requests_per_minute, limits.tokens_per_minute) for limits in every]
    at_once, requests, tokens = (min(filter(None, column), default=None) for column in zip(*rows, strict=True))
    return at_once, requests, tokens
