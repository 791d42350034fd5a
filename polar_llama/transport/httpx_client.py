"""The transport over an `httpx.AsyncClient`: the user's own, or ours where the default cannot run."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from polar_llama.transport.base import CONNECT_SECONDS, MAX_BODY, MAX_SECONDS, Reply, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    import httpx

MAX_IN_FLIGHT = 64
"""Requests inside one httpx pool at a time: from about 100 on its bookkeeping (httpcore 1.0.9) eats the CPU."""


class HttpxTransport:
    """Sends with an `httpx.AsyncClient`, or one of `httpx2`, which has the same face and other exceptions.

    Args:
        client: The client. Its own settings stay in force: proxies, certificates, headers, hooks.
        owned: Whether `aclose` closes it; the user's client is left open.
    """

    def __init__(self, client: httpx.AsyncClient, *, owned: bool = False) -> None:
        self._client = client
        self._owned = owned
        self._library = _library(client)
        self._gate = _gate(client, self._library)

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Reply:
        """Send one request; see `Transport.send`. Waiting for a place in the pool does not count."""
        library, seconds = self._library, min(timeout, MAX_SECONDS)
        limits = library.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS), pool=None)
        try:
            async with (
                self._gate,
                asyncio.timeout(seconds),
                self._client.stream(
                    method, url, headers=headers, content=body, timeout=limits, follow_redirects=False
                ) as response,
            ):
                return Reply(response.status_code, dict(response.headers.items()), await _read(response, url))
        except (library.ConnectTimeout, library.PoolTimeout):
            raise TransportError("timeout", f"could not connect to {_host(url)} in time") from None
        except (library.TimeoutException, TimeoutError):
            raise TransportError("timeout", f"{_host(url)} did not answer within {timeout:g} s") from None
        except (library.HTTPError, library.InvalidURL, ValueError, RuntimeError) as error:
            raise _translated(library, error, url) from None

    async def aclose(self) -> None:
        """Close the client, if it is ours."""
        if self._owned:
            await self._client.aclose()


def open_own() -> HttpxTransport:
    """A transport over a client of our own."""
    import httpx

    limits = httpx.Limits(max_connections=MAX_IN_FLIGHT, max_keepalive_connections=MAX_IN_FLIGHT)
    return HttpxTransport(httpx.AsyncClient(limits=limits, headers={"user-agent": "polar-llama"}), owned=True)


async def _read(response: httpx.Response, url: str) -> bytes:
    chunks, size = [], 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > MAX_BODY:
            raise TransportError("malformed", f"the reply of {_host(url)} has more than {MAX_BODY >> 20} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


def _translated(library: Any, error: Exception, url: str) -> TransportError:
    host = _host(url)
    if isinstance(error, library.HTTPError):
        cause = _cause(error)
        broken = isinstance(error, library.RemoteProtocolError) and "disconnected" not in cause and "peer" not in cause
        if broken or isinstance(error, library.DecodingError):
            return TransportError("malformed", f"the reply of {host} is not valid HTTP: {cause}")
        if not isinstance(error, library.LocalProtocolError | library.UnsupportedProtocol):
            return TransportError("network", f"no complete reply from {host}: {cause}")
    if isinstance(error, RuntimeError):
        return TransportError("network", f"the http_client cannot send to {host}: it is closed, or another loop's")
    message = f"the request to {host} was not sent: its URL or a header holds characters HTTP forbids"
    return TransportError("malformed", message)


def _cause(error: BaseException) -> str:
    """What happened, without any URL: httpx puts the proxy's into a few messages."""
    text = str(error)
    return type(error).__name__ if not text or "://" in text or "@" in text else text


def _library(client: object) -> Any:
    """The package a client, or the class it derives from, comes from."""
    roots = [cls.__module__.partition(".")[0] for cls in type(client).__mro__]
    return importlib.import_module(next((root for root in roots if root in {"httpx", "httpx2"}), "httpx"))


def _gate(client: object, library: Any) -> AbstractAsyncContextManager[None]:
    """Holds requests back in front of httpx's own pool; other transports (aiohttp's, mocks) need none."""
    pooled = isinstance(getattr(client, "_transport", None), library.AsyncHTTPTransport)
    return asyncio.Semaphore(MAX_IN_FLIGHT) if pooled else nullcontext()


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
