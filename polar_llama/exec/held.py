"""Requests that wait until their run's budget knows what others have really cost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.exec.base import Later, Question
    from polar_llama.exec.job import Batch
    from polar_llama.exec.together import Try


class Held:
    """The requests of a lane that were told to come later; on the loop's thread only.

    Args:
        go_on: Takes the requests of a call that may be sent now.
    """

    def __init__(self, go_on: Callable[[Question, list[Try]], None]) -> None:
        self._go_on = go_on
        self._held: dict[Question, list[Try]] = {}

    def add(self, attempt: Try, later: Later) -> None:
        """Keep a request until later."""
        question = attempt.batch.question
        if question not in self._held:
            self._held[question] = []
            later.then(partial(self._over, question))
        self._held[question].append(attempt)

    def take(self, batch: Batch) -> list[bytes]:
        """Give the keys of a batch back: it is not asked any more."""
        held = self._held.get(batch.question, [])
        taken = [key for attempt in held for key in attempt.leave(batch)]
        held[:] = [attempt for attempt in held if attempt.pairs]
        return taken

    def _over(self, question: Question) -> None:
        self._go_on(question, self._held.pop(question, []))
