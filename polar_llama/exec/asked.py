"""One call in one run: no prompt is asked twice, whatever the cache does.

What is remembered of a prompt is which job answers it. Where the cache is read, only the latest
`REMEMBERED` prompts keep their answers in memory; of older ones just the key stays (about 100
bytes), so that asking the cache again does not count again, and the failures, so that they are not
asked again. Where the cache is not read (`refresh`, `off`, `cache=False`) every answer stays until
the run ends: nothing else could answer the same prompt a second time.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polar_llama.exec.base import Tally
from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from polar_llama.exec.base import Dispatcher, Job, Question
    from polar_llama.exec.budget import Meter
    from polar_llama.exec.keys import Keyer

REMEMBERED = 16_384
"""Prompts whose answers stay in memory where the cache is read."""

COUNTED = 1_000_000
"""Prompts whose keys stay in memory where the cache is read; a prompt that returns later counts again."""


class Claim:
    """Prompts that one job answers.

    Attributes:
        job: The job.
        size: How many prompts it has.
        given_up: Whether the stage that asked has gone: what was not sent has to be asked by others.
    """

    __slots__ = ("given_up", "job", "keys", "size")

    def __init__(self, job: Job, keys: Sequence[bytes]) -> None:
        self.job = job
        self.keys = keys
        self.size = len(keys)
        self.given_up = False

    def value(self, key: bytes) -> object:
        """The outcome of a prompt, once the job is done."""
        return self.job.results[key]

    def lost(self, key: bytes) -> bool:
        """Whether the prompt was not asked because the stage that wanted to has gone."""
        value = self.given_up and self.job.results[key]
        return isinstance(value, Failure) and value.kind == "stopped"

    def answered(self) -> int:
        """How many of its prompts have come to something."""
        if not self.given_up:
            return len(self.job.results)
        return sum(not self.lost(key) for key in self.keys) if self.job.done else 0


@dataclass(frozen=True, slots=True)
class _Kept:
    """A finished job of which only the failures were kept."""

    results: Mapping[bytes, object]
    done: bool = True
    error: Exception | None = None

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        return True

    def cancel(self) -> None:
        pass


class Asked:
    """One call in one run, for all its stages and threads.

    Args:
        question: What the dispatcher is told.
        keyer: Makes the keys.
        dispatcher: Who asks.
        name: `"provider:model"`.
        label: How the prompt was written.
        meter: Counts money, where there is a budget.
        clock: Gives seconds.
    """

    def __init__(
        self,
        question: Question,
        keyer: Keyer,
        dispatcher: Dispatcher,
        *,
        name: str,
        label: str,
        meter: Meter | None,
        clock: Callable[[], float],
    ) -> None:
        self.question = question
        self.tally = question.tally
        self.name = name
        self.label = label
        self.meter = meter
        self.began = self.ended = clock()
        self._clock = clock
        self._keyer = keyer
        self._dispatcher = dispatcher
        self._uncounted = replace(question, tally=Tally())
        self._lock = threading.Lock()
        self._known: dict[bytes, Claim | None] = {}
        self._claims: deque[Claim] = deque()
        self._remembered = 0
        self._open: tuple[int, tuple[Claim, ...]] = (0, ())

    def claim(self, prompts: list[str]) -> tuple[list[bytes], list[Claim], list[Claim]]:
        """Have prompts answered.

        Args:
            prompts: Distinct prompts.

        Returns:
            Their keys; for each the claim that answers it; and the claims that were made for it now.
        """
        keys = self._keyer.digests(prompts)
        with self._lock:
            new, evicted = self._missing(keys)
            self.tally.distinct += sum(keys[i] not in self._known for i in new)
            made = [
                self._submit(question, [keys[i] for i in wanted], [prompts[i] for i in wanted])
                for question, wanted in ((self.question, new), (self._uncounted, evicted))
                if wanted
            ]
            known = self._known
            claims = [known[key] for key in keys]
            if self.question.read:
                self._forget()
        return keys, claims, made  # type: ignore[return-value]  # every key was claimed just now

    def count_rows(self, rows: int, nulls: int) -> None:
        """Count rows, and those of them without a prompt."""
        with self._lock:
            self.tally.rows += rows
            self.tally.null_prompts += nulls

    def seen(self) -> None:
        """Note that answers have just been used."""
        self.ended = self._clock()

    def give_up(self, claim: Claim) -> None:
        """Ask nothing more for a claim: its stage has gone. What is in flight completes."""
        claim.given_up = True
        claim.job.cancel()

    def hurry(self, claim: Claim) -> None:
        """Have a claim answered as it is: its stage has no further prompts that could share its requests."""
        if self.question.ask.embedding and not claim.job.done:
            self._dispatcher.hurry(claim.job)

    def answered(self) -> int:
        """How many prompts have come to something so far; from any thread."""
        before, claims = self._open
        return before + sum(claim.answered() for claim in claims)

    def is_silent(self) -> bool:
        """Whether prompts were asked and not one was answered."""
        tally = self.tally
        return tally.failed > 0 and tally.failed >= tally.distinct - tally.cached

    def _missing(self, keys: list[bytes]) -> tuple[list[int], list[int]]:
        """Positions of keys that have to be submitted: to be counted, and asked before but forgotten."""
        known = self._known
        new: list[int] = []
        evicted: list[int] = []
        for i, key in enumerate(keys):
            claim = known.get(key)
            if claim is None:
                (evicted if key in known else new).append(i)
            elif claim.given_up and not (claim.job.done and not claim.lost(key)):
                new.append(i)
        return new, evicted

    def _submit(self, question: Question, keys: list[bytes], prompts: list[str]) -> Claim:
        if self.meter is not None:
            self.meter.saw(prompts)
        claim = Claim(self._dispatcher.submit(question, keys, prompts), keys)
        self._known.update(dict.fromkeys(keys, claim))
        self._claims.append(claim)
        self._remembered += claim.size
        if question is self.question:
            before, claims = self._open
            done = [c for c in claims if c.job.done]
            still = (*(c for c in claims if c not in done), claim)
            self._open = before + sum(c.answered() for c in done), still
        return claim

    def _forget(self) -> None:
        while self._remembered > REMEMBERED and len(self._claims) > 1 and self._claims[0].job.done:
            claim = self._claims.popleft()
            self._remembered -= claim.size
            results = claim.job.results
            failures = {key: results[key] for key in claim.keys if isinstance(results[key], Failure)}
            kept = Claim(_Kept(failures), tuple(failures))
            kept.given_up = claim.given_up
            for key in claim.keys:
                if self._known.get(key) is claim:
                    self._known[key] = kept if key in failures else None
        if len(self._known) > COUNTED:
            self._known = {key: claim for key, claim in self._known.items() if claim is not None}
