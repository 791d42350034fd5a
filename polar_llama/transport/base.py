"""The transport seam: one request, one reply, no retries, no redirects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY = 64 << 20
"""Bytes of a reply, unpacked; a longer one is `malformed`."""

CONNECT_SECONDS = 15.0
"""How long a connection may take, whatever the timeout of the exchange."""

MAX_SECONDS = 86_400.0
"""The longest timeout a client is given; what is longer, or infinite, means a day."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply. Header names are lower case; the body is complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TransportError(Exception):
    """No complete reply came back.

    Attributes:
        kind: `network` (no connection, reset, cut off), `timeout`, or `malformed` (over the body cap, broken HTTP).
    """

    def __init__(self, kind: Literal["network", "timeout", "malformed"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Transport(Protocol):
    """Sends bytes, returns bytes."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Reply:
        """Send one request.

        Args:
            method: The HTTP method.
            url: An absolute http(s) URL.
            headers: Header names and values.
            body: The body's bytes.
            timeout: Seconds for the whole exchange.

        Returns:
            The reply, whatever its status; redirects are not followed.

        Raises:
            TransportError: If no complete reply came back.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
