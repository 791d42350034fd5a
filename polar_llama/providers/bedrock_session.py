"""Amazon's client writes, signs and reads; our transport sends.

aiobotocore's own HTTP session follows redirects, prompt and session token included, and knows nothing of the user's
`http_client`. It lets the class of its session be chosen: this is one that sends through the transport.

Its debug log quotes prompts, answers, session tokens and URLs: of our requests it logs nothing.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from aiobotocore.awsrequest import AioAWSResponse

from polar_llama.transport.base import MAX_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSPreparedRequest

    from polar_llama.transport.base import Transport

_HOP = frozenset({"connection", "content-length", "expect", "transfer-encoding"})
"""Headers that are the transport's business; none of them is signed."""


_ours: ContextVar[bool] = ContextVar("polar_llama_bedrock", default=False)


@contextmanager
def unlogged() -> Iterator[None]:
    """While Amazon's client works for us its loggers are silent; for the rest of the program they are as they were."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith(("botocore", "aiobotocore")) and isinstance(logger, logging.Logger):
            logger.addFilter(_is_not_ours)  # once: a filter that is there is not added again
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def _is_not_ours(_record: logging.LogRecord) -> bool:
    return not _ours.get()


def session_class(transport: Callable[[], Transport]) -> type:
    """A class of sessions that send through a transport.

    Args:
        transport: Opens the transport on first use.
    """

    class Session:
        def __init__(self, **_settings: object) -> None:
            """Pools, proxies and certificates are the transport's."""

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_error: object) -> None:
            """Nothing to close."""

        async def close(self) -> None:
            """Nothing to close: the transport is shared."""

        async def send(self, request: AWSPreparedRequest) -> AioAWSResponse:
            """Send a signed request; the time it may take is bounded by who asks."""
            headers = {name: _text(value) for name, value in request.headers.items() if name.lower() not in _HOP}
            body = request.body or b""
            content = body.encode() if isinstance(body, str) else bytes(body)
            reply = await transport().send(request.method, request.url, headers, content, MAX_SECONDS)
            return AioAWSResponse(request.url, reply.status, dict(reply.headers), _Read(reply.body))

    return Session


class _Read:
    """A body that was read already, as aiobotocore wants to read it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        return self._content


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
