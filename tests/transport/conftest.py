"""A server that misbehaves to order, and the transports under test."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest

from polar_llama.transport import open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from polar_llama.transport.base import Transport

    Script = Callable[["Exchange"], Awaitable[None]]
    Serve = Callable[[Script], AbstractAsyncContextManager["Server"]]
    Opened = Callable[[str], AbstractAsyncContextManager[Transport]]


@dataclass
class Exchange:
    """One request as it arrived, and the means to answer it badly."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter
    connection: int

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    def reply(self, body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> None:
        self.raw(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body)

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def close(self) -> None:
        self.writer.close()

    async def reset(self) -> None:
        """RST instead of FIN, once what was written has left."""
        await self.writer.drain()
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Server:
    """Counts what it saw; `gone` is set when a client hangs up."""

    url: str
    host: str
    seen: list[Exchange] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def _serve(script: Script) -> AsyncIterator[Server]:
    connections = 0
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                exchange = Exchange(head, b"", writer, number)
                exchange.body = await reader.readexactly(int(exchange.header("content-length") or 0))
                found.seen.append(exchange)
                await script(exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            found.gone.set()
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(connection(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    found = Server(f"http://{host}/v1/chat?token=urlsecret", host)
    try:
        yield found
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks) if tasks else None


CLIENTS: dict[str, Callable[[], Any]] = {
    "reqwest": lambda: None,
    "httpx": partial(httpx.AsyncClient, verify=False),  # reading the certificates takes longest
    "httpx2": partial(httpx2.AsyncClient, verify=False),
}


@asynccontextmanager
async def _opened(kind: str) -> AsyncIterator[Transport]:
    client = CLIENTS[kind]()
    transport = open_transport(client)
    try:
        yield transport
    finally:
        await transport.aclose()
        if client is not None:
            await client.aclose()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def transport(kind: str, anyio_backend: str) -> AsyncIterator[Transport]:
    async with _opened(kind) as found:
        yield found


@pytest.fixture
def serve() -> Serve:
    return _serve


@pytest.fixture
def opened() -> Opened:
    return _opened
