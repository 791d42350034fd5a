"""HTTP/1.1 on an asyncio protocol: bytes in, replies out, one request of a connection at a time.

Keep-alive, pipelining, `Expect: 100-continue`, and bodies with a length or in chunks.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

from polar_llama.testing.wire.base import Incoming

if TYPE_CHECKING:
    from polar_llama.providers.base import Usage
    from polar_llama.testing.limits import Meter

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024


@dataclass(slots=True)
class Outgoing:
    """A reply, when to send it, and what becomes of the connection.

    Attributes:
        data: The bytes.
        status: The HTTP status; None when nothing is sent.
        delay: Seconds until it is sent.
        end: `keep` keeps the connection, `close` closes it, `reset` resets it unsent.
        prompts: The prompts it answers.
        usage: The tokens of a complete answer.
        meter: Whose requests in flight it counts among.
        counted: Whether it enters the statistics.
    """

    data: bytes
    status: int | None
    delay: float = 0.0
    end: Literal["keep", "close", "reset"] = "keep"
    prompts: tuple[str, ...] = ()
    usage: Usage | None = None
    meter: Meter | None = None
    counted: bool = True


class Service(Protocol):
    """Turns requests into replies."""

    def connected(self, connection: Connection) -> None:
        """A connection was opened."""

    def serve(self, incoming: Incoming) -> Outgoing:
        """The reply to a request."""
        ...

    def sent(self, outgoing: Outgoing) -> None:
        """The reply was sent."""

    def abandoned(self, outgoing: Outgoing) -> None:
        """The client hung up before the reply."""

    def lost(self, connection: Connection) -> None:
        """A connection ended."""


class _BrokenError(Exception):
    """Bytes that are not HTTP/1.1."""


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = ("_buffer", "_continued", "_last", "_loop", "_need", "_outgoing", "_service", "_timer", "_transport")

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop
        self._buffer = bytearray()
        self._need = 0
        self._continued = self._last = False
        self._outgoing: Outgoing | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio calls this."""
        self._transport = cast("asyncio.Transport", transport)
        self._service.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Asyncio calls this."""
        if self._timer is not None:
            self._timer.cancel()
        if self._outgoing is not None:
            self._service.abandoned(self._outgoing)
            self._outgoing = None
        self._service.lost(self)

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Asyncio calls this."""
        self._buffer += data
        if self._outgoing is None and len(self._buffer) >= self._need:
            self._advance()

    def _advance(self) -> None:
        """Serve the requests that are complete; the next one only when the reply has left."""
        try:
            while self._outgoing is None and self._buffer and not self._last:
                incoming = self._take()
                if incoming is None:
                    return
                self._need, self._continued = 0, False
                self._outgoing = outgoing = self._service.serve(incoming)
                if outgoing.delay > 0:
                    self._timer = self._loop.call_later(outgoing.delay, self._later)
                else:
                    self._send()
        except _BrokenError as broken:
            self._last = True
            self._transport.write(f"HTTP/1.1 {broken}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            self._transport.close()

    def _later(self) -> None:
        self._timer = None
        self._send()
        self._advance()

    def _send(self) -> None:
        outgoing = self._outgoing
        if outgoing is None:
            return
        self._outgoing = None
        if outgoing.end == "reset":
            self._last = True
            linger = struct.pack("ii", 1, 0)  # SO_LINGER 0 makes the abort an RST
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
        else:
            self._transport.write(outgoing.data)
            if self._last or outgoing.end == "close":
                self._last = True
                self._transport.close()
        self._service.sent(outgoing)

    def _take(self) -> Incoming | None:
        """The first request of the buffer, or None while it is incomplete."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > MAX_HEAD:
                raise _BrokenError("431 Request Header Fields Too Large")
            return None
        head = bytes(buffer[: end + 2])
        lowered = head.lower()
        line = head[: head.find(b"\r\n")].split(b" ")
        if len(line) != 3 or not line[2].startswith(b"HTTP/1."):  # noqa: PLR2004 -- method, target, version
            raise _BrokenError("400 Bad Request")
        incoming = Incoming(line[0].decode("latin-1"), line[1].decode("latin-1"), head, lowered, b"")
        body = self._body(incoming, end + 4)
        if body is None:
            if not self._continued and (incoming.header(b"expect") or "").lower() == "100-continue":
                self._continued = True
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        incoming.body = body
        if line[2] == b"HTTP/1.0" or (incoming.header(b"connection") or "").lower() == "close":
            self._last = True
        return incoming

    def _body(self, incoming: Incoming, start: int) -> bytes | None:
        if (incoming.header(b"transfer-encoding") or "").lower() == "chunked":
            return self._chunks(start)
        text = incoming.header(b"content-length") or "0"
        if not text.isdecimal():
            raise _BrokenError("400 Bad Request")
        stop = start + int(text)
        if stop - start > MAX_BODY:
            raise _BrokenError("413 Content Too Large")
        if len(self._buffer) < stop:
            self._need = stop
            return None
        body = bytes(self._buffer[start:stop])
        del self._buffer[:stop]
        return body

    def _chunks(self, at: int) -> bytes | None:
        parts: list[bytes] = []
        while True:
            line = self._buffer.find(b"\r\n", at)
            if line < 0:
                return None
            try:
                size = int(bytes(self._buffer[at:line]).partition(b";")[0], 16)
            except ValueError:
                raise _BrokenError("400 Bad Request") from None
            at = line + 2
            if size < 0 or at + size > MAX_BODY:
                raise _BrokenError("413 Content Too Large")
            if size == 0:
                return self._trailers(at, parts)
            if len(self._buffer) < at + size + 2:
                return None
            parts.append(bytes(self._buffer[at : at + size]))
            at += size + 2

    def _trailers(self, at: int, parts: list[bytes]) -> bytes | None:
        while True:
            line = self._buffer.find(b"\r\n", at)
            if line < 0:
                return None
            if line == at:
                del self._buffer[: line + 2]
                return b"".join(parts)
            at = line + 2
