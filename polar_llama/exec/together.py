"""What one request carries: a prompt, or for embeddings many texts; and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from polar_llama.exec.judge import Invalid, read
from polar_llama.providers.base import Failure, Request, Response, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polar_llama.exec.inflight import Pair
    from polar_llama.exec.job import Batch
    from polar_llama.providers.base import Embeds, Provider, Vectors

HOPELESS = 16
"""So many refused requests without an answer between them, and one bad text is not what is wrong."""


@dataclass(slots=True)
class Try:
    """One request at the lane: a prompt, or the texts of a request for embeddings."""

    batch: Batch
    pairs: list[Pair]
    failures: int = 0
    repair: tuple[str, str] | None = None
    generation: int = 0
    sent_at: float = 0.0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        pairs = self.pairs
        self.size = len(pairs[0][1]) if len(pairs) == 1 else sum(len(prompt) for _, prompt in pairs)


def together(batch: Batch) -> list[Pair]:
    """The next prompts of a batch that one request holds: one of a question, for embeddings what fits."""
    question, waiting = batch.question, batch.waiting
    if not question.ask.embedding:
        return [waiting[0]]
    room = cast("Embeds", question.provider).room(question.ask)
    pairs: list[Pair] = []
    size = 0
    for pair in waiting:
        size += len(pair[1].encode())
        if pairs and (len(pairs) >= room.texts or size > room.size):
            break
        pairs.append(pair)
    return pairs


def halves(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Two requests for one that was refused: the text that is wrong is in one of them."""
    middle = len(pairs) // 2
    return pairs[:middle], pairs[middle:]


async def send(provider: Provider, attempt: Try) -> Response | Vectors | Failure:
    """Send a request, once."""
    ask, timeout = attempt.batch.question.ask, attempt.batch.question.limits.timeout
    if ask.embedding:
        return await cast("Embeds", provider).embed(ask, [prompt for _, prompt in attempt.pairs], timeout)
    return await provider.complete(Request(ask, attempt.pairs[0][1], attempt.repair, timeout))


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
