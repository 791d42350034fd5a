"""Who asks what right now: no two runs of a process pay for the same answer.

A key belongs to the batch that claimed it first, until its outcome is known; other batches share
that outcome. Claim first, look into the cache afterwards: an answer that was committed in between
is found there, so none is paid for twice.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from polar_llama.exec.judge import Invalid, read
from polar_llama.providers.base import FATAL, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polar_llama.exec.base import Question
    from polar_llama.exec.job import Batch

Space = tuple[str, int]
Pair = tuple[bytes, str]

NOT_SHARED = FATAL | {"stopped", "replay"}
"""Failures that speak of the run that asked (its budget, credentials, mode), not of the row."""


class Outcome(NamedTuple):
    """What a key came to; the text is the raw answer, or None for a failure."""

    key: bytes
    value: object
    text: str | None


class InFlight:
    """The claims of one process.

    Args:
        ask_again: Takes prompts whose claimer was stopped: their batch asks for itself.
    """

    def __init__(self, ask_again: Callable[[Batch, list[Pair]], None]) -> None:
        self._ask_again = ask_again
        self._lock = threading.Lock()
        self._owners: dict[Space, dict[bytes, Batch]] = {}
        self._sharers: dict[tuple[Space, bytes], list[tuple[Batch, str]]] = {}

    def __len__(self) -> int:
        """The number of keys in flight."""
        return sum(map(len, self._owners.values()))

    def claim(self, batch: Batch, keys: Sequence[bytes], prompts: Sequence[str], *, again: bool = False) -> list[Pair]:
        """The prompts this batch has to see to itself; the others are on their way and will be shared.

        Args:
            batch: Who asks.
            keys: Keys, one per prompt.
            prompts: The prompts.
            again: Whether they were counted as shared before.
        """
        space = _space(batch.question)
        mine = []
        with self._lock:
            owners = self._owners.setdefault(space, {})
            for pair in zip(keys, prompts, strict=True):
                key = pair[0]
                if owners.setdefault(key, batch) is batch:
                    mine.append(pair)
                else:
                    self._sharers.setdefault((space, key), []).append((batch, pair[1]))
            batch.question.tally.shared += (0 if again else len(keys)) - len(mine)
        return mine

    def release(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Give up claims whose outcome is known, and hand it to everyone who waits for it."""
        space = _space(batch.question)
        sharing = []
        with self._lock:
            owners = self._owners[space]
            for outcome in outcomes:
                del owners[outcome.key]
                if self._sharers:
                    sharing += [(outcome, *s) for s in self._sharers.pop((space, outcome.key), ())]
            if not owners:
                del self._owners[space]
        batch.settle((key, value) for key, value, _ in outcomes)
        for outcome, sharer, prompt in sharing:
            self._share(batch, outcome, sharer, prompt)

    def leave(self, batch: Batch, failure: Failure) -> None:
        """Stop waiting for what others have claimed: the batch was cancelled."""
        space = _space(batch.question)
        left = []
        with self._lock:
            for (where, key), sharers in list(self._sharers.items()):
                if where == space and any(b is batch for b, _ in sharers):
                    left.append(key)
                    sharers[:] = [s for s in sharers if s[0] is not batch]
        batch.settle((key, failure) for key in left)

    def batches(self) -> set[Batch]:
        """Every batch that waits for something."""
        with self._lock:
            owners = {batch for space in self._owners.values() for batch in space.values()}
            return owners | {batch for sharers in self._sharers.values() for batch, _ in sharers}

    def _share(self, owner: Batch, outcome: Outcome, sharer: Batch, prompt: str) -> None:
        key, value, text = outcome
        if text is not None and sharer.question.parse is not owner.question.parse:
            value = read(sharer.question, text)
        if isinstance(value, Invalid) or (isinstance(value, Failure) and value.kind in NOT_SHARED):
            self._ask_again(sharer, [(key, prompt)])
            return
        if isinstance(value, Failure):
            sharer.question.tally.failed += 1
        sharer.error = sharer.error or owner.error
        sharer.settle([(key, value)])


def _space(question: Question) -> Space:
    return question.scope, id(question.cache)


def outcomes(pairs: Iterable[Pair], value: object) -> list[Outcome]:
    """The same outcome for many prompts."""
    return [Outcome(key, value, None) for key, _ in pairs]
