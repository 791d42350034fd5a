"""Gemini's batchEmbedContents."""

from __future__ import annotations

from math import hypot
from typing import TYPE_CHECKING, Any

from polar_llama.providers.base import Failure, Room, Vectors
from polar_llama.providers.conversation import BodyError, json_bytes
from polar_llama.providers.embedding import NoVectorsError, asked, malformed, packed, post, without_empty
from polar_llama.providers.wire import WireProvider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.providers.base import Ask, Request
    from polar_llama.providers.wire import Credential
    from polar_llama.transport.base import Reply

ROOM = Room(texts=100, size=400_000)
"""Google's guide: 100 texts. The tokens of all together are not limited there; this bounds what is sent again."""


class GeminiProvider(WireProvider):
    """Gemini with its embeddings."""

    wants_bytes = True

    def room(self, ask: Ask) -> Room:  # noqa: ARG002
        """What fits into one request."""
        return ROOM

    async def embed(self, ask: Ask, texts: Sequence[str], timeout: float) -> Vectors | Failure:
        """Ask once for the vectors of texts."""
        return await without_empty(texts, lambda full: self._embed(ask, full, timeout))

    async def _embed(self, ask: Ask, texts: list[str], timeout: float) -> Vectors | Failure:
        model = ask.model if "/" in ask.model else f"models/{ask.model}"
        shared: dict[str, Any] = {"model": model}
        if ask.dimensions is not None:
            shared["outputDimensionality"] = ask.dimensions
        shows = self._wire.credential(self._connection.secret)
        if (wrong := self._wrong_key(shows)) is not None:
            return wrong
        try:
            content = json_bytes({"requests": [{**shared, "content": {"parts": [{"text": text}]}} for text in texts]})
        except BodyError as error:
            return Failure("bad_request", f"not sent to {self.host}: {error}", sent=False)
        url = self._at.url(self._wire.path(ask).replace(":generateContent", ":batchEmbedContents"))
        request = asked(ask, texts, timeout)
        got = await post(self._connection, url, {}, content, request, shows, self.host, self._judged)
        if isinstance(got, Failure):
            return got
        try:
            found = [one["values"] for one in got[1]["embeddings"]]
            # Vectors that were cut shorter by gemini-embedding-001 have lost their length of 1.
            vectors = tuple(packed(v if ask.dimensions is None else _unit(v)) for v in found)
        except (KeyError, TypeError, NoVectorsError):
            return malformed(self.host, "a body that holds no embeddings")
        return Vectors(vectors, model=ask.model)

    def _judged(self, reply: Reply, request: Request, shows: Credential) -> Failure:
        return self._failed(reply, request, shows)[0]


def _unit(vector: list[float]) -> list[float]:
    length = hypot(*vector) or 1.0
    return [x / length for x in vector]
