"""Budgets: whether one more request may be sent, decided before it is sent.

Requests are counted exactly. Money is what came back at its price, plus an estimate for every
request in flight; where a request turns out dearer than the estimate, those in flight at that
moment are the most a run can exceed `max_cost` by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from polar_llama.exec.base import Tally
    from polar_llama.exec.price import Price

BYTES_A_TOKEN = 4
"""UTF-8 bytes: what providers' guides give as a rule of thumb for English; replaced by what they count."""

FIRST_ANSWER = 256
"""Tokens: what an answer is taken to have until the first has come, where the call sets no `max_tokens`."""


@dataclass(slots=True, eq=False)
class Meter:
    """What one call has cost and is about to cost.

    Attributes:
        tally: What came back.
        price: What tokens cost.
        overhead: UTF-8 bytes that every request of the call carries besides its prompt.
        max_tokens: The most tokens of an answer, or None.
        prompts: How many prompts there were.
        prompt_bytes: Their UTF-8 bytes.
    """

    tally: Tally
    price: Price
    overhead: int
    max_tokens: int | None
    prompts: int = 0
    prompt_bytes: int = 0

    def saw(self, prompts: list[str]) -> None:
        """Learn from prompts how large they are."""
        self.prompts += len(prompts)
        self.prompt_bytes += sum(map(len, map(str.encode, prompts)))

    def committed(self, more: int = 0) -> float:
        """US dollars: what came back, what is on its way, and `more` requests."""
        tally = self.tally
        answers = max(0, tally.replied - tally.retried - tally.failed)
        coming = (tally.sent - tally.replied + more) * self._guess(answers)
        if answers and not tally.input_tokens:  # the server does not count: every answer at the estimate
            return coming + answers * self._guess(0)
        return coming + self.price.of(tally)

    def _guess(self, answers: int) -> float:
        size = self.overhead + self.prompt_bytes / max(1, self.prompts)
        read = max(1.0, size / BYTES_A_TOKEN)
        written: float = FIRST_ANSWER if self.max_tokens is None else self.max_tokens
        if answers and self.tally.input_tokens:
            read = self.tally.input_tokens / answers
            if self.max_tokens is None:
                written = self.tally.output_tokens / answers
        return read * self.price.input + written * self.price.output


class Budget:
    """What one run may send and spend, all its calls together. Asked on the loop's thread only."""

    def __init__(self, max_requests: int | None, max_cost: float | None) -> None:
        self.reason: str | None = None
        self._max_requests = max_requests
        self._max_cost = max_cost
        self._requests = 0
        self._meters: list[Meter] = []

    def add(self, meter: Meter) -> None:
        """Watch what one more call costs."""
        self._meters.append(meter)

    def admit(self, meter: Meter | None) -> Failure | None:
        """Count one more request, or say why it must not be sent; then nothing more is.

        Args:
            meter: The call's, when money is counted.
        """
        if self.reason is None:
            self.reason = self._exceeded(meter)
        if self.reason is not None:
            return Failure("stopped", self.reason)
        self._requests += 1
        return None

    def _exceeded(self, meter: Meter | None) -> str | None:
        if self._max_requests is not None and self._requests >= self._max_requests:
            return f"max_requests={self._max_requests:,} is reached"
        if self._max_cost is not None and meter is not None:
            with_it = sum(other.committed(more=int(other is meter)) for other in self._meters)
            if with_it > self._max_cost:
                return f"one more request could exceed max_cost=${self._max_cost:,.6g} ({self._requests:,} were sent)"
        return None
