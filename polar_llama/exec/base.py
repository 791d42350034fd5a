"""The values the engine's parts hand each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from polar_llama.cache.base import AnswerCache
    from polar_llama.providers.base import Ask, Failure, Provider, Usage
    from polar_llama.settings import CacheMode


@dataclass(slots=True)
class Tally:
    """What one call did in one run. Rows and look-ups are counted by the stage's thread, the rest by the loop's.

    `sent` counts every request, `retried` those of them that repeat one, `replied` those that came to an end,
    `unenforced` the answers whose type was asked for in words or by a tool, because nothing enforced it.
    """

    rows: int = 0
    null_prompts: int = 0
    distinct: int = 0
    cached: int = 0
    shared: int = 0
    sent: int = 0
    retried: int = 0
    replied: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    stored_tokens: int = 0
    unenforced: int = 0

    def count(self, usage: Usage) -> None:
        """Add the tokens of a request."""
        self.input_tokens += usage.input
        self.output_tokens += usage.output
        self.cached_tokens += usage.cached
        self.stored_tokens += usage.cache_write


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user allows per provider and model, and per request."""

    max_concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 600.0
    max_retries: int = 6


class Later:
    """Not now: a budget waits for what requests in flight really cost. On the loop's thread only."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def then(self, go_on: Callable[[], None]) -> None:
        """Have something called once it is worth asking again."""
        self._waiting.append(go_on)

    def over(self) -> None:
        """Call everyone who waits."""
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()


class Gate(Protocol):
    """Says whether one more request may be sent (budgets, cancellation): None, why not, or not yet."""

    def __call__(self) -> Failure | Later | None:
        """Count one more request, or say why there is none."""
        ...


class Fetches(Protocol):
    """Puts the bytes of images into a prompt that names their URLs."""

    async def __call__(self, prompt: str, limits: Limits) -> str | Failure:
        """The prompt with the bytes, or why it has none."""
        ...


def _nothing() -> None:
    """What there is to do where nothing is counted."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Question:
    """One call in one run: everything the dispatcher needs to turn prompts into answers.

    Attributes:
        provider: Who is asked.
        ask: What every request of the call shares.
        parse: Turns an answer's text into the Python value of a row; raises `ValueError`, whose
            text says what is wrong, when the answer does not validate. None: the text is the value.
        limits: The user's limits.
        mode: How the cache is used; `"off"` also for `cache=False` reading (see `write`).
        cache: The store, or None when nothing is read nor written.
        read: Whether answers are looked up before asking.
        write: Whether answers are stored before they are used.
        scope: Separates requests that must not be shared with other runs (reading is off), else "".
        gate: Asked before each request is sent.
        tally: Where this call is counted.
        settled: Called when a request has come to its end and is counted.
        again: Asked before a request that repeats one which the server did not take: as `gate`, and never `Later`.
        refund: Called when a request that passed the gate was not sent after all.
        images: Fetches images for a provider that takes bytes only, where the call allows it.
    """

    provider: Provider
    ask: Ask
    parse: Callable[[str], object] | None
    limits: Limits
    mode: CacheMode
    cache: AnswerCache | None
    gate: Gate
    tally: Tally
    settled: Callable[[], None] = _nothing
    again: Callable[[], Failure | None] = _nothing
    refund: Callable[[], None] = _nothing
    images: Fetches | None = None
    read: bool = True
    write: bool = True
    scope: str = ""


class Job(Protocol):
    """The distinct prompts of one batch, on their way."""

    @property
    def done(self) -> bool:
        """Whether every key has its outcome."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Block until done, or until the timeout (seconds); True when done. An interrupt gets through."""
        ...

    @property
    def results(self) -> Mapping[bytes, object]:
        """Key to value; a `Failure` stands for a row without an answer. Complete when done."""
        ...

    @property
    def error(self) -> Exception | None:
        """What went wrong with the batch as a whole (its answers could not be stored); to be raised once done."""
        ...

    def cancel(self) -> None:
        """Send nothing more of it, from any thread; what is in flight completes and is stored."""
        ...


class Dispatcher(Protocol):
    """Turns prompts into answers on the background loop; one per process."""

    def submit(self, question: Question, keys: Sequence[bytes], prompts: Sequence[str]) -> Job:
        """Claim, look up, queue: from any thread.

        Args:
            question: The call.
            keys: Distinct keys, one per prompt: `keys.Keyer` makes them.
            prompts: The prompts, parallel to the keys.
        """
        ...

    def hurry(self, job: Job) -> None:
        """Wait for nothing more that could share the requests of a job, from any thread."""
        ...
