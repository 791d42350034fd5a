"""The default transport: Rust's `reqwest` through `pyreqwest`, cheaper in CPU than the usual clients."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import (
    BodyDecodeError,
    ClientClosedError,
    DecodeError,
    DetailedPyreqwestError,
    PyreqwestError,
    RequestTimeoutError,
)

from polar_llama.transport.base import CONNECT_SECONDS, MAX_BODY, MAX_SECONDS, Reply, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping


SETTLE = 0.02
"""Seconds for `pyreqwest`'s thread to return from waking the loop. A process that ends in that moment is aborted by
Python 3.11 ("PyGILState_Release"): 14 % of processes that ended right after a reply on asyncio's own loop, with the
machine busy; none on uvloop, and none with this pause."""


class ForkedError(Exception):
    """The parent process has used `pyreqwest`: its threads did not survive the fork and cannot be started again."""


class ReqwestTransport:
    """One client with an unlimited pool of kept-alive connections; limits are the caller's.

    A cancelled `send` stops waiting at once, but the connection is dropped only when the reply has come
    or the timeout is over: `pyreqwest` 0.15 does not abort its Rust task.

    A reply is read as a whole and refused after that if it is over `MAX_BODY`: until then its size is
    bounded by the timeout alone. For servers nobody vouches for, `configure(http_client=...)` cuts it off.

    Raises:
        ForkedError: In the child of a process that had opened one.
    """

    def __init__(self) -> None:
        builder = ClientBuilder().follow_redirects(False).error_for_status(False).referer(False)  # noqa: FBT003
        builder = builder.connect_timeout(timedelta(seconds=CONNECT_SECONDS)).user_agent("polar-llama")
        try:
            self._client = builder.build()
        except RuntimeError as error:
            raise ForkedError(*error.args) from None

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Reply:
        """Send one request; see `Transport.send`."""
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            request = self._client.request(method, url).headers(headers).body_bytes(body)
            request = request.timeout(timedelta(seconds=min(timeout, MAX_SECONDS)))
            # Read as a whole: a stream's chunks each wake the loop, at 60 µs of CPU a request.
            response = await request.build().send()
            _obey(task, cancels)
            reply = Reply(response.status, response.headers, (await response.bytes()).to_bytes())
            if len(reply.body) > MAX_BODY:
                raise TransportError("malformed", f"the reply of {_host(url)} has more than {MAX_BODY >> 20} MiB")
        except PyreqwestError as error:
            _obey(task, cancels)
            raise _translated(error, url, timeout) from None
        except ValueError:  # its message quotes the header's value
            message = f"the request to {_host(url)} was not sent: its URL or a header holds characters HTTP forbids"
            raise TransportError("malformed", message) from None
        return reply

    async def aclose(self) -> None:
        """Close every connection; requests under way fail."""
        await self._client.close()
        await asyncio.sleep(SETTLE)


def _obey(task: asyncio.Task[object] | None, cancels: int) -> None:
    """Be cancelled after all: `pyreqwest` loses a cancellation that comes at the same moment as a result."""
    if task is not None and task.cancelling() > cancels:
        raise asyncio.CancelledError


def _translated(error: PyreqwestError, url: str, timeout: float) -> TransportError:
    host, causes = _host(url), _causes(error)
    if isinstance(error, RequestTimeoutError):
        if any("connect" in cause for cause in causes):
            return TransportError("timeout", f"could not connect to {host} in time")
        return TransportError("timeout", f"{host} did not answer within {timeout:g} s")
    if isinstance(error, ClientClosedError):
        return TransportError("network", f"the request to {host} was given up: the transport was closed")
    cause = next((c for c in reversed(causes) if "://" not in c and "@" not in c), error.message)
    cut_off = isinstance(error, BodyDecodeError) and "error reading a body from connection" in causes
    if isinstance(error, DecodeError) and not cut_off:
        return TransportError("malformed", f"the reply of {host} is not valid HTTP: {cause}")
    return TransportError("network", f"no complete reply from {host}: {cause}")


def _causes(error: PyreqwestError) -> list[str]:
    """What led to an error, the root last; some quote the URL."""
    details = error.details if isinstance(error, DetailedPyreqwestError) else {"causes": None}
    return [cause["message"] for cause in details["causes"] or ()]


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
