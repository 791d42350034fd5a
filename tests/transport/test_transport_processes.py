"""What a transport does to a process: forks, exits, the price of an import."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from polar_llama.transport import open_transport

if TYPE_CHECKING:
    from tests.transport.conftest import Exchange, Serve

pytestmark = pytest.mark.anyio

FORK = """
import asyncio, os, sys, warnings
from polar_llama.transport import open_transport

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork of a process with threads

async def once():
    transport = open_transport()
    reply = await transport.send("POST", sys.argv[1], {}, b"%d" % os.getpid(), 10.0)
    await transport.aclose()
    return reply.status

assert asyncio.run(once()) == 200
child = os.fork()
if child == 0:
    os._exit(asyncio.run(once()) != 200)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert asyncio.run(once()) == 200
"""

LEAVE = """
import asyncio, sys
from polar_llama.transport import open_transport

async def once():
    transport = open_transport()
    task = asyncio.ensure_future(transport.send("POST", sys.argv[1], {}, b"", 600.0))
    await asyncio.to_thread(sys.stdin.readline)
    task.cancel()
    await asyncio.wait([task])
    await transport.aclose()

asyncio.run(once())
"""

IMPORT = """
import sys
import polar_llama.transport
print(sorted({"pyreqwest", "httpx"} & set(sys.modules)))
"""


async def python(script: str, *arguments: str, answer: asyncio.Event | None = None) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )
    if answer is not None:
        await asyncio.wait_for(answer.wait(), 60)
    out, error = await asyncio.wait_for(process.communicate(b"\n"), 60)
    assert (process.returncode, error.decode()) == (0, "")
    return out.decode()


async def test_a_forked_child_opens_its_own(serve: Serve) -> None:
    async def script(e: Exchange) -> None:
        e.reply()

    async with serve(script) as server:
        await python(FORK, server.url)
        parent, child, again = (e.body for e in server.seen)
    assert parent == again != child
    assert {e.header("user-agent") for e in server.seen} == {"polar-llama"}


async def test_a_process_leaves_while_a_request_is_under_way(serve: Serve) -> None:
    arrived = asyncio.Event()

    async def script(e: Exchange) -> None:
        arrived.set()

    async with serve(script) as server:
        await python(LEAVE, server.url, answer=arrived)


async def test_importing_is_cheap() -> None:
    assert await python(IMPORT) == "[]\n"


async def test_the_users_client_stays_open_and_keeps_its_ways() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["x-tenant"] == "acme"
        return httpx.Response(200, json={"url": str(request.url)})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), headers={"x-tenant": "acme"}) as client:
        transport = open_transport(client)
        reply = await transport.send("POST", "https://example.com/v1", {}, b"{}", 5.0)
        await transport.aclose()
        assert not client.is_closed
        assert reply.body == b'{"url":"https://example.com/v1"}'
        assert (await client.get("https://example.com/v2")).status_code == 200


async def test_only_httpxs_own_pool_is_held_back() -> None:
    """A user's faster transport has as many requests under way as are sent."""
    under_way = 0
    everyone = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way
        under_way += 1
        if under_way == 200:
            everyone.set()
        await everyone.wait()
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client, asyncio.TaskGroup() as group:
        transport = open_transport(client)
        for _ in range(200):
            group.create_task(transport.send("GET", "http://x.invalid/", {}, b"", 10.0))
    assert under_way == 200
