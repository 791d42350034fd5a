"""What requests for embeddings have in common: empty texts are not sent, and what came back is counted and packed."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from polar_llama.providers.base import Failure, Request, Vectors
from polar_llama.providers.errors import failure, read_problem
from polar_llama.transport.base import TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from polar_llama.providers.base import Ask, Connection
    from polar_llama.providers.wire import Credential
    from polar_llama.transport.base import Reply

EMPTY = Failure("bad_request", "not sent: an empty text has no embedding", sent=False)


class NoVectorsError(ValueError):
    """A body that is JSON, but holds no vectors; the text quotes nothing."""


async def without_empty(
    texts: Sequence[str], send: Callable[[list[str]], Awaitable[Vectors | Failure]]
) -> Vectors | Failure:
    """Ask for the texts that are not empty, which every vendor refuses; the others fail alone."""
    full = [text for text in texts if text]
    if not full:
        return Vectors((EMPTY,) * len(texts), sent=False)
    reply = await send(full)
    if isinstance(reply, Failure) or len(full) == len(texts) or len(reply.texts) != len(full):
        return reply
    found = iter(reply.texts)
    return replace(reply, texts=tuple(next(found) if text else EMPTY for text in texts))


async def post(
    connection: Connection,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    request: Request,
    shows: Credential,
    host: str,
    judge: Callable[[Reply, Request, Credential], Failure] | None = None,
) -> tuple[Reply, Any] | Failure:
    """One exchange over HTTP: the reply and its parsed body, or what went wrong.

    Args:
        connection: Sends.
        url: Where to.
        headers: Beside the content type and the key.
        body: The body.
        request: What is asked, so that an error shows nothing of it.
        shows: The key.
        host: For messages.
        judge: Reads an error reply, where it is not in OpenAI's shape.
    """
    headers = {"content-type": "application/json", **headers}
    if shows.key:
        headers[shows.header] = shows.scheme + shows.key
    try:
        reply = await connection.transport().send("POST", url, headers, body, request.timeout)
    except TransportError as error:
        return Failure(error.kind, str(error))
    if reply.status != 200 and judge is not None:  # noqa: PLR2004
        return judge(reply, request, shows)
    if reply.status != 200:  # noqa: PLR2004
        problem = read_problem(reply.body)
        return failure(reply, problem, request, host=host, key=shows.key, variable=shows.variable)
    try:
        return reply, from_json(reply.body)
    except ValueError:
        return malformed(host, "a body that is not JSON, or cut off")


def malformed(host: str, what: str) -> Failure:
    """A reply without the vectors it promises."""
    return Failure("malformed", f"{host} answered 200 with {what}", 200)


def asked(ask: Ask, texts: Sequence[str], timeout: float) -> Request:
    """A request for embeddings as errors want to see it: all its texts."""
    return Request(ask, "\n".join(texts), None, timeout)


def packed(vector: Any) -> str:
    """A vector as base64 of little-endian float32: numbers are packed, a text is that already.

    Raises:
        NoVectorsError: If it is neither.
    """
    if isinstance(vector, str):
        return vector
    try:
        return pack(vector)
    except (TypeError, OverflowError):
        raise NoVectorsError("a vector that is not a list of numbers") from None


def pack(vector: Iterable[float]) -> str:
    """Numbers as base64 of little-endian float32.

    >>> pack([1.0, -0.5])
    'AACAPwAAAL8='
    """
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()
