"""Requests whose images are being fetched: before anything is counted, since without its images nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from polar_llama.exec.base import Fetches, Question
    from polar_llama.exec.job import Batch
    from polar_llama.exec.together import Try


AT_ONCE = 16
"""Requests of a lane whose images are fetched at the same time: each holds its own."""


class Fetching:
    """The requests of a lane that wait for images; on the loop's thread only.

    Args:
        spawn: Starts a task.
        go_on: Takes the requests of a call that may be sent now.
        fail: Takes a request that cannot be sent.
    """

    def __init__(
        self,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        go_on: Callable[[Question, list[Try]], None],
        fail: Callable[[Try, Failure], None],
    ) -> None:
        self._spawn, self._go_on, self._fail = spawn, go_on, fail
        self._under_way: list[Try] = []

    def begin(self, attempt: Try, images: Fetches) -> bool:
        """Fetch a request's images; whether there is room for another one's, since each holds its own."""
        self._under_way.append(attempt)
        self._spawn(self._fetch(attempt, images))
        return len(self._under_way) < AT_ONCE

    def take(self, batch: Batch) -> list[bytes]:
        """Give the keys of a batch back: it is not asked any more."""
        return [key for attempt in self._under_way for key in attempt.leave(batch)]

    async def _fetch(self, attempt: Try, images: Fetches) -> None:
        question = attempt.batch.question
        found = await images(attempt.pairs[0][1], question.limits)
        self._under_way = [other for other in self._under_way if other is not attempt]
        if isinstance(found, Failure):
            self._fail(attempt, found)
        attempt.prompt = found if isinstance(found, str) else None
        self._go_on(question, [attempt] if attempt.pairs and attempt.prompt is not None else [])
