"""What one request carries: a prompt, or for embeddings many texts; and what becomes of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

from polar_llama.exec.judge import Invalid, read
from polar_llama.exec.tokens import IMAGE, sized
from polar_llama.providers.base import Failure, Request, Response, Usage
from polar_llama.transport.base import MAX_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
    from typing import Any

    from polar_llama.exec.inflight import Pair
    from polar_llama.exec.job import Batch
    from polar_llama.exec.token_pace import Entry
    from polar_llama.providers.base import Embeds, Provider, Vectors

    Sender = Callable[
        [Provider, "Try", Callable[["Try"], Awaitable[Failure | None]]],
        Coroutine[Any, Any, Response | Vectors | Failure],
    ]

GRACE = 5.0
"""Seconds after its timeout that a request of a provider not of this package may take."""

HOPELESS = 16
"""So many refused requests without an answer between them, and one bad text is not what is wrong."""


@dataclass(slots=True)
class Try:
    """One request at the lane: a prompt, or the texts of a request for embeddings.

    Attributes:
        batch: Whose it is; of several, whose the first text is.
        pairs: Keys and texts.
        owners: Key to batch, for the texts of embeddings, which may be of several batches of one question; else None.
        failures: How often it has failed.
        excused: How often of these it was refused while the server answered others.
        refused_at: When it was refused last.
        prompt: The prompt with the bytes of its images, where those had to be fetched.
    """

    batch: Batch
    pairs: list[Pair]
    owners: dict[bytes, Batch] | None = None
    failures: int = 0
    excused: int = 0
    refused_at: float = 0.0
    prompt: str | None = None
    repair: tuple[str, str] | None = None
    generation: int = 0
    spent: Entry | None = None
    sent_at: float = 0.0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        pairs = self.pairs
        self.size = len(pairs[0][1]) if len(pairs) == 1 else sum(len(prompt) for _, prompt in pairs)
        if self.size > IMAGE and self.owners is None:
            self.size = sized(pairs[0][1])
        self._anchor()

    @property
    def reserved(self) -> int:
        """Tokens that some servers set aside for its answer."""
        return self.batch.question.ask.max_tokens or 0

    def owner(self, key: bytes) -> Batch:
        """Whose a text is."""
        return self.batch if self.owners is None else self.owners[key]

    def refuse(self, now: float, answered_at: float, most: int) -> None:
        """Note a refusal; it does not count as a try where others were answered since the last one, `most` times."""
        self.excused += self.excused < most and answered_at > self.refused_at
        self.refused_at = now

    def leave(self, batch: Batch) -> list[bytes]:
        """Take a batch's texts out; their keys."""
        gone = [key for key, _ in self.pairs if self.owner(key) is batch]
        if gone:
            self.pairs = [pair for pair in self.pairs if self.owner(pair[0]) is not batch]
            self._anchor()
        return gone

    def part(self) -> list[tuple[Batch, bytes, Failure]]:
        """Take out the texts of those of several batches that are not asked any more; whose they are, and why."""
        several = dict.fromkeys((self.owners or {}).values())
        return [(one, key, why) for one in several if (why := one.stopped) is not None for key in self.leave(one)]

    def _anchor(self) -> None:
        if self.owners and self.pairs:
            self.batch = self.owners[self.pairs[0][0]]


def together(line: Sequence[Batch]) -> tuple[Try, bool]:
    """The next texts of a question's waiting batches that one request for embeddings holds; whether it is full."""
    question = line[0].question
    room = cast("Embeds", question.provider).room(question.ask)
    pairs: list[Pair] = []
    owners: dict[bytes, Batch] = {}
    size, full = 0, False
    for batch, pair in ((one, pair) for one in line for pair in one.waiting):
        size += len(pair[1].encode())
        full = bool(pairs) and (len(pairs) >= room.texts or size > room.size)
        if full:
            break
        pairs.append(pair)
        owners[pair[0]] = batch
    return Try(line[0], pairs, owners), full or len(pairs) >= room.texts


def halves(attempt: Try) -> tuple[Try, Try]:
    """Two requests for one that was refused: the text that is wrong is in one of them."""
    batch, pairs, owners = attempt.batch, attempt.pairs, attempt.owners
    middle = len(pairs) // 2
    return Try(batch, pairs[:middle], owners), Try(batch, pairs[middle:], owners)


async def send(
    provider: Provider, attempt: Try, another: Callable[[Try], Awaitable[Failure | None]]
) -> Response | Vectors | Failure:
    """Send a request, once; one with a schema may find out by further requests how the model takes schemas.

    Args:
        provider: Who is asked.
        attempt: The request.
        another: Lets a further one be sent.
    """
    ask, timeout = attempt.batch.question.ask, attempt.batch.question.limits.timeout
    if ask.embedding:
        return await cast("Embeds", provider).embed(ask, [prompt for _, prompt in attempt.pairs], timeout)
    prompt = attempt.pairs[0][1] if attempt.prompt is None else attempt.prompt
    return await provider.complete(Request(ask, prompt, attempt.repair, timeout, partial(another, attempt)))


async def send_watched(
    provider: Provider, attempt: Try, another: Callable[[Try], Awaitable[Failure | None]]
) -> Response | Vectors | Failure:
    """The same, to a provider of which it is not known that it keeps to the timeout: it is given up after `GRACE`."""
    timeout = min(attempt.batch.question.limits.timeout, MAX_SECONDS)
    loop = asyncio.get_running_loop()

    async def unhurried(attempt: Try) -> Failure | None:
        watch.reschedule(None)
        try:
            return await another(attempt)
        finally:
            watch.reschedule(loop.time() + timeout + GRACE)

    try:
        async with asyncio.timeout(timeout + GRACE) as watch:
            return await send(provider, attempt, unhurried)
    except TimeoutError:
        return Failure("timeout", f"the provider for {provider.host} did not keep to its timeout of {timeout:g} s")


def sender(provider: Provider) -> Sender:
    """How a provider's requests are sent: those of this package keep to their timeout, and cost less."""
    return send if type(provider).__module__.startswith("polar_llama.") else send_watched


def each(attempt: Try, vectors: Vectors) -> Iterator[tuple[bytes, object, Response | None]]:
    """The outcome of every text of a request: its key, and its value with its response or a `Failure` with None."""
    usage = vectors.usage and Usage(input=vectors.usage.input // len(vectors.texts))
    for (key, _), text in zip(attempt.pairs, vectors.texts, strict=True):
        if isinstance(text, Failure):
            yield key, text, None
            continue
        value = read(attempt.batch.question, text)
        if isinstance(value, Invalid):
            yield key, Failure("invalid", value.problem), None
        else:
            yield key, value, Response(text, usage, vectors.model, request_id=vectors.request_id)
