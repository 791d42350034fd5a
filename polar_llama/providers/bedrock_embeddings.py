"""Embeddings on Bedrock: InvokeModel, with a body for each family of models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from polar_llama.providers.base import Failure, Room, Usage, Vectors
from polar_llama.providers.bedrock_errors import CREDENTIALS, ERRORS, failed
from polar_llama.providers.bedrock_session import unlogged
from polar_llama.providers.embedding import NoVectorsError, asked, malformed, packed, without_empty
from polar_llama.transport.base import MAX_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from polar_llama.providers.base import Ask, Connection

TITAN = Room(texts=1, size=200_000)
"""Amazon's reference: one text a request."""

COHERE = Room(texts=96, size=400_000)
"""Cohere's reference: 96 texts."""


def room(ask: Ask) -> Room:
    """What fits into one request."""
    return COHERE if _is_cohere(ask.model) else TITAN


class Embeddings:
    """The embeddings of Bedrock in one region.

    Args:
        host: Who answers, for messages.
        opened: Gives a client.
        connection: Reads the credentials, which no message may show.
    """

    def __init__(self, host: str, opened: Callable[[], Awaitable[Any]], connection: Connection) -> None:
        self._host, self._opened, self._connection = host, opened, connection

    async def embed(self, ask: Ask, texts: Sequence[str], timeout: float) -> Vectors | Failure:
        """Ask once for the vectors of texts."""
        return await without_empty(texts, lambda full: self._embed(ask, full, timeout))

    async def _embed(self, ask: Ask, texts: list[str], timeout: float) -> Vectors | Failure:
        try:
            with unlogged():
                async with asyncio.timeout(min(timeout, MAX_SECONDS)):
                    client = await self._opened()
                    reply = await client.invoke_model(
                        modelId=ask.model, body=to_json(_body(ask, texts)), contentType="application/json"
                    )
                    # What the session read; the body around it knows the streams of two other libraries only.
                    found = from_json(await reply["body"].raw_stream.read())
            vectors = tuple(map(packed, _vectors(found)))
        except (NoVectorsError, KeyError, TypeError):
            return malformed(self._host, "a body that holds no embeddings")
        except ERRORS as error:
            secrets = [value for name in CREDENTIALS if (value := self._connection.secret(name))]
            said, _ = failed(error, asked(ask, texts, timeout), self._host, secrets)
            return said
        headers = reply["ResponseMetadata"]["HTTPHeaders"]
        counted = found.get("inputTextTokenCount", headers.get("x-amzn-bedrock-input-token-count"))
        usage = None if counted is None else Usage(input=int(counted))
        return Vectors(vectors, usage, ask.model, reply["ResponseMetadata"].get("RequestId"))


def _is_cohere(model: str) -> bool:
    return "cohere." in model


def _body(ask: Ask, texts: list[str]) -> dict[str, Any]:
    if _is_cohere(ask.model):
        body: dict[str, Any] = {"texts": texts, "input_type": "search_document", "embedding_types": ["float"]}
        return body if ask.dimensions is None else {**body, "output_dimension": ask.dimensions}
    body = {"inputText": texts[0]}
    return body if ask.dimensions is None else {**body, "dimensions": ask.dimensions}


def _vectors(found: Any) -> list[Any]:
    if "embedding" in found:
        return [found["embedding"]]
    vectors = found["embeddings"]
    return list(vectors["float"] if isinstance(vectors, dict) else vectors)
