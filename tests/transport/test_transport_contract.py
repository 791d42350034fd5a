"""One contract, three clients: the default, the user's httpx, the user's httpx2."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest

from polar_llama.transport import base
from polar_llama.transport.base import TransportError

if TYPE_CHECKING:
    from polar_llama.transport.base import Reply, Transport
    from tests.transport.conftest import Exchange, Opened, Serve

pytestmark = pytest.mark.anyio

HEADERS = {"authorization": "Bearer headersecret", "content-type": "application/json"}
SECRETS = ("urlsecret", "headersecret", "usersecret", "bodysecret", "/v1/chat")


async def post(transport: Transport, url: str, *, timeout: float = 10.0) -> Reply:
    return await transport.send("POST", url, HEADERS, b'{"q":"bodysecret"}', timeout)


async def failing(transport: Transport, url: str, *, timeout: float = 10.0) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await post(transport, url, timeout=timeout)
    assert not [s for s in SECRETS if s in str(caught.value)]
    assert url.split("/")[2].rpartition("@")[2] in str(caught.value)
    return caught.value


async def test_a_request_and_its_reply(serve: Serve, transport: Transport) -> None:
    async def script(e: Exchange) -> None:
        e.reply("ünï".encode(), "429 Too Many", "X-Request-Id: r1\r\nSet-Cookie: a=1\r\n")

    async with serve(script) as server:
        reply = await post(transport, server.url)
        again = await post(transport, server.url)
    assert (reply.status, reply.body, reply.headers["x-request-id"]) == (429, "ünï".encode(), "r1")
    assert type(reply.body) is bytes
    assert again.status == 429
    first, second = server.seen
    assert first.line == "POST /v1/chat?token=urlsecret HTTP/1.1"
    assert first.body == b'{"q":"bodysecret"}'
    assert first.header("authorization") == "Bearer headersecret"
    assert first.header("content-type") == "application/json"
    assert first.connection == second.connection, "connections are kept alive"


async def test_the_default_keeps_no_cookies(serve: Serve, opened: Opened) -> None:
    async def script(e: Exchange) -> None:
        e.reply(headers="set-cookie: a=1\r\n")

    async with serve(script) as server, opened("reqwest") as transport:
        await post(transport, server.url)
        await post(transport, server.url)
    assert server.seen[1].header("cookie") is None
    assert server.seen[1].header("user-agent") == "polar-llama"


async def test_empty_and_unpacked_bodies(serve: Serve, transport: Transport) -> None:
    packed = gzip.compress(b"x" * 100_000)

    async def script(e: Exchange) -> None:
        if len(server.seen) == 1:
            e.raw(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            e.reply(packed, headers="content-encoding: gzip\r\n")

    async with serve(script) as server:
        assert await post(transport, server.url) == base.Reply(204, {}, b"")
        assert (await post(transport, server.url)).body == b"x" * 100_000


async def test_chunked_bodies(serve: Serve, transport: Transport) -> None:
    async def script(e: Exchange) -> None:
        e.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
        await e.writer.drain()
        e.raw(b"3\r\ncde\r\n0\r\n\r\n")

    async with serve(script) as server:
        assert (await post(transport, server.url)).body == b"abcde"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirects_are_not_followed(serve: Serve, transport: Transport, status: str) -> None:
    async def script(e: Exchange) -> None:
        e.reply(b"", status, f"location: http://{server.host}/elsewhere\r\n")

    async with serve(script) as server:
        reply = await post(transport, server.url)
    assert reply.status == int(status[:3])
    assert len(server.seen) == 1


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"], ids=["head", "body"])
async def test_the_timeout_covers_the_whole_exchange(serve: Serve, transport: Transport, sent: bytes) -> None:
    async def script(e: Exchange) -> None:
        e.raw(sent)

    async with serve(script) as server:
        error = await failing(transport, server.url, timeout=0.1)
        await asyncio.wait_for(server.gone.wait(), 5)
    assert error.kind == "timeout"
    assert "0.1 s" in str(error)


async def test_a_trickling_body_times_out(serve: Serve, transport: Transport) -> None:
    """Each read is quick: only a limit on the whole exchange notices."""

    async def script(e: Exchange) -> None:
        e.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not server.gone.is_set():
            e.raw(b"x")
            await e.writer.drain()
            await asyncio.sleep(0.01)

    async with serve(script) as server:
        assert (await failing(transport, server.url, timeout=0.15)).kind == "timeout"


async def test_a_timeout_may_be_infinite(serve: Serve, transport: Transport) -> None:
    async def script(e: Exchange) -> None:
        e.reply()

    async with serve(script) as server:
        assert (await post(transport, server.url, timeout=float("inf"))).status == 200


async def test_a_refused_connection(serve: Serve, transport: Transport) -> None:
    async def script(e: Exchange) -> None:
        e.reply()

    async with serve(script) as server:
        pass
    url = server.url.replace("http://", "http://user:usersecret@")
    error = await failing(transport, url)
    assert error.kind == "network"


async def test_an_unknown_host(transport: Transport) -> None:
    error = await failing(transport, "http://nowhere.invalid/v1/chat?token=urlsecret")
    assert error.kind == "network"


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc"


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", HEAD, CHUNKED], ids=["nothing", "head", "body", "chunked"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_breaks(serve: Serve, transport: Transport, sent: bytes, how: str) -> None:
    async def script(e: Exchange) -> None:
        e.raw(sent)
        if how == "close":
            e.close()
        else:
            await e.reset()

    async with serve(script) as server:
        error = await failing(transport, server.url)
        assert error.kind == "network"
        assert len(server.seen) == 1, "no hidden second try of a request that arrived"


async def test_a_kept_alive_connection_that_is_closed_under_a_request(serve: Serve, transport: Transport) -> None:
    async def script(e: Exchange) -> None:
        if len(server.seen) == 2:
            e.close()
        else:
            e.reply()

    async with serve(script) as server:
        await post(transport, server.url)
        assert (await failing(transport, server.url)).kind == "network"
        assert (await post(transport, server.url)).status == 200
    assert [e.connection for e in server.seen] == [1, 1, 2]


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nabcde",
    ],
    ids=["protocol", "status", "gzip"],
)
async def test_broken_http_is_malformed(serve: Serve, transport: Transport, sent: bytes) -> None:
    async def script(e: Exchange) -> None:
        e.raw(sent)
        e.close()

    async with serve(script) as server:
        assert (await failing(transport, server.url)).kind == "malformed"


@pytest.mark.parametrize("coding", ["", "content-encoding: gzip\r\n"], ids=["plain", "gzip"])
async def test_bodies_are_capped(
    serve: Serve, opened: Opened, kind: str, monkeypatch: pytest.MonkeyPatch, coding: str
) -> None:
    for module in ("reqwest", "httpx_client"):
        monkeypatch.setattr(f"polar_llama.transport.{module}.MAX_BODY", 3 << 20)

    async def script(e: Exchange) -> None:
        body = b"x" * ((3 << 20) + (len(server.seen) > 1))
        e.reply(gzip.compress(body, 1) if coding else body, headers=coding)

    async with serve(script) as server, opened(kind) as transport:
        assert len((await post(transport, server.url)).body) == 3 << 20
        error = await failing(transport, server.url)
    assert error.kind == "malformed"
    assert "3 MiB" in str(error)


def test_the_cap() -> None:
    assert base.MAX_BODY == 64 * 1024 * 1024


async def test_a_cancelled_send_leaves_the_client_usable(serve: Serve, transport: Transport, kind: str) -> None:
    arrived = asyncio.Event()

    async def script(e: Exchange) -> None:
        if len(server.seen) <= 8:
            if len(server.seen) == 8:
                arrived.set()
        else:
            e.reply(b"later")

    async with serve(script) as server:
        tasks = [asyncio.create_task(post(transport, server.url)) for _ in range(8)]
        await asyncio.wait_for(arrived.wait(), 5)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        if kind != "reqwest":  # pyreqwest 0.15.1 stops waiting, and hangs up only at the timeout
            await asyncio.wait_for(server.gone.wait(), 5)
        assert (await post(transport, server.url)).body == b"later"


async def test_no_cancellation_is_swallowed(serve: Serve, transport: Transport) -> None:
    """Also when the reply comes at the same moment: a task that goes on would hang its group."""

    async def script(e: Exchange) -> None:
        e.reply()

    async with serve(script) as server:
        await post(transport, server.url)
        for number in range(150):
            task = asyncio.create_task(post(transport, server.url))
            for _ in range(1 + number % 15):
                await asyncio.sleep(0)
            if task.cancel():
                await asyncio.wait([task])
                assert task.cancelled()


async def test_cancelling_in_the_body(serve: Serve, transport: Transport) -> None:
    started = asyncio.Event()

    async def script(e: Exchange) -> None:
        if len(server.seen) == 1:
            e.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            await e.writer.drain()
            started.set()
        else:
            e.reply(b"later")

    async with serve(script) as server:
        task = asyncio.create_task(post(transport, server.url))
        await asyncio.wait_for(started.wait(), 5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert (await post(transport, server.url)).body == b"later"


async def test_many_at_once(serve: Serve, transport: Transport) -> None:
    async def script(e: Exchange) -> None:
        e.reply(e.body)

    async def one(number: int) -> None:
        body = b"%d" % number
        assert (await transport.send("POST", server.url, {}, body, 20.0)).body == body

    async with serve(script) as server, asyncio.TaskGroup() as group:
        for number in range(150):
            group.create_task(one(number))
    assert len(server.seen) == 150


@pytest.mark.parametrize("headers", [{"authorization": "Bearer header\nsecret"}, {"bad name": "x"}])
async def test_what_http_forbids_is_not_quoted(transport: Transport, headers: dict[str, str]) -> None:
    with pytest.raises(TransportError) as caught:
        await transport.send("POST", "http://127.0.0.1:1/", headers, b"", 5.0)
    assert caught.value.kind in {"malformed", "network"}
    assert "secret" not in str(caught.value)


async def test_a_closed_transport(serve: Serve, opened: Opened, kind: str) -> None:
    async def script(e: Exchange) -> None:
        e.reply()

    async with serve(script) as server:
        async with opened(kind) as transport:
            await post(transport, server.url)
        error = await failing(transport, server.url)
    assert error.kind == "network"
    assert "closed" in str(error)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_proxies_come_from_the_environment(
    serve: Serve, opened: Opened, kind: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async def script(e: Exchange) -> None:
        if len(server.seen) == 1:
            e.reply(b"proxied")
        else:
            e.close()

    async with serve(script) as server:
        for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, f"http://someone:usersecret@{server.host}")
        async with opened(kind) as transport:
            reply = await post(transport, "http://models.invalid/v1/chat?token=urlsecret")
            await failing(transport, "http://models.invalid/v1/chat?token=urlsecret")
    assert reply.body == b"proxied"
    assert server.seen[0].line == "POST http://models.invalid/v1/chat?token=urlsecret HTTP/1.1"
    assert (server.seen[0].header("proxy-authorization") or "").startswith("Basic ")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_down(opened: Opened, kind: str, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", "http://someone:usersecret@127.0.0.1:1")
    async with opened(kind) as transport:
        error = await failing(transport, f"{scheme}://models.invalid/v1/chat?token=urlsecret")
    assert error.kind == "network"
    assert "someone" not in str(error)


async def test_no_proxy_is_obeyed(serve: Serve, opened: Opened, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(e: Exchange) -> None:
        e.reply(b"direct")

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with serve(script) as server, opened(kind) as transport:
        assert (await post(transport, server.url)).body == b"direct"
