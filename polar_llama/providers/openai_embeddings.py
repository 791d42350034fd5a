"""OpenAI's embeddings, as OpenAI, Azure, vLLM, llama.cpp, Ollama and many gateways serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polar_llama.providers.base import Failure, Room, Vectors
from polar_llama.providers.conversation import BodyError, json_bytes
from polar_llama.providers.embedding import NoVectorsError, asked, malformed, packed, post, without_empty
from polar_llama.providers.headers import quota
from polar_llama.providers.openai_reply import read_usage
from polar_llama.providers.wire import Credential

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.providers.base import Ask, Connection
    from polar_llama.providers.openai_dialect import Dialect

OPENAI = Room(texts=2048, size=600_000)
"""OpenAI's reference: 2,048 texts and 300,000 tokens; in no language is a token shorter than two bytes on average."""

OTHERS = Room(texts=256, size=200_000)
"""Of servers whose limits are not known. One that takes fewer refuses, and is asked with half as many."""


class Embeddings:
    """The embeddings of one server of chat completions.

    Args:
        host: Who answers, for messages.
        url: Where a call's chat completions are sent; its embeddings go beside them.
        dialect: In what the server differs from others.
        connection: Reads the key when sending, and sends.
    """

    def __init__(self, host: str, url: Callable[[Ask], str], dialect: Dialect, connection: Connection) -> None:
        self.room = OPENAI if dialect.knows_schemas else OTHERS
        self._host, self._url, self._dialect, self._connection = host, url, dialect, connection

    async def embed(self, ask: Ask, texts: Sequence[str], timeout: float) -> Vectors | Failure:
        """Ask once for the vectors of texts."""
        return await without_empty(texts, lambda full: self._embed(ask, full, timeout))

    async def _embed(self, ask: Ask, texts: list[str], timeout: float) -> Vectors | Failure:
        # Packed vectors are a quarter of the bytes, and what OpenAI's own client always asks for.
        body: dict[str, Any] = {"model": ask.model, "input": texts, "encoding_format": "base64"}
        if ask.dimensions is not None:
            body["dimensions"] = ask.dimensions
        key, name = (self._connection.secret(self._dialect.key) or "").strip(), self._dialect.key_header
        shows = Credential(self._dialect.key, key, name, "Bearer " if name == "authorization" else "")
        if not (key.isascii() and key.isprintable()) or (self._dialect.needs_key and not key):
            return Failure(
                "auth", f"not sent to {self._host}: {self._dialect.key} is not set, or is no key", sent=False
            )
        try:
            content = json_bytes(body)
        except BodyError as error:
            return Failure("bad_request", f"not sent to {self._host}: {error}", sent=False)
        url = self._url(ask).replace("/chat/completions", "/embeddings")
        got = await post(
            self._connection, url, self._dialect.headers, content, asked(ask, texts, timeout), shows, self._host
        )
        if isinstance(got, Failure):
            return got
        reply, found = got
        try:
            vectors = tuple(packed(one["embedding"]) for one in sorted(found["data"], key=lambda one: one["index"]))
        except (KeyError, TypeError, NoVectorsError):
            return malformed(self._host, "a body that holds no embeddings")
        return Vectors(
            vectors,
            usage=read_usage(found.get("usage")),
            model=found.get("model"),
            request_id=reply.headers.get("x-request-id"),
            quota=quota(reply.headers),
        )
