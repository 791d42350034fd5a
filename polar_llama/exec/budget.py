"""Budgets: whether one more request may be sent, decided before it is sent.

Requests are counted exactly. Money is what came back at its price, plus what every request in flight
may cost. Where one more would not fit only because of those in flight, it waits for them: what they
really cost may leave room.

What a request of text may cost is bounded if its call sets `max_tokens`: a prompt has no more tokens
than bytes (each token of a byte-level vocabulary stands for one byte at least), and `AROUND`. Then a
run does not exceed `max_cost`. Of any other request it is an estimate: the input tokens of an average
one, the output tokens of the longest answer so far. A call that sets no `max_tokens` asks once first,
to learn how long its answers are. A run exceeds `max_cost` by what those in flight are longer than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polar_llama.exec.base import Later
from polar_llama.exec.tokens import BYTES_A_TOKEN, FIRST_ANSWER, sized
from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from polar_llama.call import Call
    from polar_llama.exec.base import Tally
    from polar_llama.exec.price import Price


AROUND = 1_024
"""Tokens around a prompt: the chat's template, the description of a tool, what was wrong with an answer."""


@dataclass(slots=True, eq=False)
class Meter:
    """What one call has cost and is about to cost.

    Attributes:
        tally: What came back.
        price: What tokens cost.
        overhead: UTF-8 bytes that every request of the call carries besides its prompt.
        max_tokens: The most tokens of an answer, or None.
        is_bounded: Whether requests hold nothing but text, a prompt each, and say `max_tokens`.
        prompts: How many prompts there were.
        prompt_bytes: Their UTF-8 bytes.
        largest: The UTF-8 bytes of the largest.
        longest: The most output tokens that came at once.
    """

    tally: Tally
    price: Price
    overhead: int
    max_tokens: int | None
    is_bounded: bool = False
    prompts: int = 0
    prompt_bytes: int = 0
    largest: int = 0
    longest: int = 0
    _written: int = 0

    @classmethod
    def of(cls, call: Call, tally: Tally, price: Price) -> Meter:
        """The meter of a call: an embedding writes nothing, and of media bytes tell little."""
        overhead = sum(len((text or "").encode()) for text in (call.system, call.returns.schema, call.examples))
        is_bounded = call.max_tokens is not None and not (call.embedding or call.conversation)
        max_tokens = 0 if call.embedding else call.max_tokens
        return cls(tally, price, overhead=overhead, max_tokens=max_tokens, is_bounded=is_bounded)

    def saw(self, prompts: list[str]) -> None:
        """Learn from prompts how large they are."""
        self.prompts += len(prompts)
        self.prompt_bytes += sum(map(sized, prompts))
        self.largest = max(self.largest, *(len(prompt.encode()) for prompt in prompts), 0)

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        return self.tally.sent - self.tally.replied

    @property
    def is_blind(self) -> bool:
        """Whether nothing is known of how long answers are."""
        return self.max_tokens is None and self.tally.output_tokens == 0 and self.tally.replied == 0

    @property
    def spent(self) -> float:
        """US dollars: what came back."""
        return self.price.of(self.tally)

    def replied(self) -> None:
        """Learn from an answer that has just been counted how long answers are."""
        self.longest = max(self.longest, self.tally.output_tokens - self._written)
        self._written = self.tally.output_tokens

    def committed(self, more: int = 0) -> float:
        """US dollars: what came back, what is on its way, and `more` requests."""
        tally = self.tally
        answers = max(0, tally.replied - tally.retried - tally.failed)
        coming = (self.in_flight + more) * (self._at_most() if self.is_bounded else self._guess(answers))
        if answers and not tally.input_tokens:  # the server does not count: every answer at the estimate
            return coming + answers * self._guess(0)
        return coming + self.spent

    def _at_most(self) -> float:
        """US dollars of one request; an answer that does not validate may be among its input."""
        written = self.max_tokens or 0
        read = self.overhead + self.largest + written + AROUND
        return read * max(self.price.input, self.price.stored or 0.0) + written * self.price.output

    def _guess(self, answers: int) -> float:
        size = self.overhead + self.prompt_bytes / max(1, self.prompts)
        read = max(1.0, size / BYTES_A_TOKEN)
        written: float = FIRST_ANSWER if self.max_tokens is None else self.max_tokens
        if answers and self.tally.input_tokens:
            read = self.tally.input_tokens / answers
            if self.max_tokens is None:
                written = max(self.longest, self.tally.output_tokens / answers)
        return read * self.price.input + written * self.price.output


class Budget:
    """What one run may send and spend, all its calls together. Asked on the loop's thread only."""

    def __init__(self, max_requests: int | None, max_cost: float | None) -> None:
        self.reason: str | None = None
        self._max_requests = max_requests
        self._max_cost = max_cost
        self._requests = 0
        self._meters: list[Meter] = []
        self._later = Later()

    def add(self, meter: Meter) -> None:
        """Watch what one more call costs."""
        self._meters.append(meter)

    def admit(self, meter: Meter | None) -> Failure | Later | None:
        """Count one more request, or say why it must not be sent, or that it has to wait for those in flight.

        Args:
            meter: The call's, when money is counted.

        Returns:
            None when it is counted; a failure, after which nothing more is sent; or `Later`.
        """
        if self.reason is None and self._max_requests is not None and self._requests >= self._max_requests:
            self.reason = f"max_requests={self._max_requests:,} is reached"
        if self.reason is None and self._max_cost is not None and meter is not None:
            if meter.is_blind and meter.in_flight:
                return self._later
            if not self._fits(meter, self._max_cost):
                if any(other.in_flight for other in self._meters):
                    return self._later
                self.reason = self._spent(self._max_cost)
        if self.reason is not None:
            return Failure("stopped", self.reason)
        self._requests += 1
        return None

    def again(self) -> Failure | None:
        """Count a request that repeats one which the server did not take, or say why it must not be sent.

        What the first one might have cost is what this one may cost.
        """
        return self.admit(None)  # type: ignore[return-value]  # without a meter there is nothing to wait for

    def refund(self) -> None:
        """Note that a request was not sent after all."""
        self._requests -= 1

    def settled(self, meter: Meter | None) -> None:
        """Note that a request has come to its end and is counted: those that wait may fit now."""
        if meter is not None:
            meter.replied()
            self._later.over()

    def _fits(self, meter: Meter, max_cost: float) -> bool:
        return sum(other.committed(more=int(other is meter)) for other in self._meters) <= max_cost

    def _spent(self, max_cost: float) -> str:
        spent = sum(other.committed() for other in self._meters)
        return (
            f"one more request could exceed max_cost=${max_cost:,.6g} "
            f"(${spent:,.6g} were spent on {self._requests:,} requests)"
        )
