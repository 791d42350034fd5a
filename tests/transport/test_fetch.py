"""Fetching what data names: allowed hosts only, the open internet only, at every hop; nothing that tells who asks."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from polar_llama.errors import ConfigurationError
from polar_llama.transport import fetch as module
from polar_llama.transport.fetch import FetchError, checked_hosts, fetch, is_public

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

FILE = b"GIF89a file"
CERTIFICATE = Path(__file__).with_name("images_example_com.pem")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 counts as public; the rest of 127/8 stays private."""
    monkeypatch.setattr(module, "is_public", lambda address: address == "127.0.0.1" or is_public(address))


class Site:
    """A server that answers every request with `reply`, and keeps the heads."""

    def __init__(self) -> None:
        self.reply = answer(FILE)
        self.heads: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        reply = self.reply(head) if callable(self.reply) else self.reply
        writer.write(reply)
        writer.close()


def answer(body: bytes = b"", status: int = 200, **headers: str) -> Any:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nconnection: close\r\n{lines}\r\n".encode() + body


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


async def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1",
        "2001:470:0:1::5efe:10.0.0.1", "3fff::1", "5f00::1", "4000::1", "192.0.0.192", "192.88.99.1", "168.63.129.16",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{p}/a", "http://localhost:{p}/a", "http://2130706433:{p}/a", "http://0x7f.1:{p}/a"]
)
async def test_a_private_address_is_refused_though_its_host_is_allowed(url: str) -> None:
    async with site() as here:
        at = url.format(p=here.port)
        host = at.removeprefix("http://").removesuffix("/a")
        with pytest.raises(FetchError, match=r"private address|no URL|allow_urls|failed"):
            await fetch(at, checked_hosts([host]))
    assert here.heads == []


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], []])
async def test_a_name_that_leads_to_a_private_address_is_refused(addresses: list[str]) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        return addresses

    with pytest.raises(FetchError, match="private address"):
        await fetch("http://images.example.com/a", ("images.example.com",), resolver=resolver)


async def test_the_connection_goes_to_the_address_that_was_checked(loopback: None) -> None:
    """A name that leads elsewhere when it is asked again (DNS rebinding) is not asked again."""
    asked = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with site() as here:
        url = f"http://images.example.com:{here.port}/a%20b?c=d"
        assert await fetch(url, (f"images.example.com:{here.port}",), resolver=resolver) == FILE
    assert asked == [("images.example.com", here.port)]
    [head] = here.heads
    assert head.startswith("GET /a%20b?c=d HTTP/1.1\r\n")
    assert f"\r\nhost: images.example.com:{here.port}\r\n" in head.lower()


async def test_an_address_that_cannot_be_reached_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the IPv6 address of a host, where this machine has none."""
    monkeypatch.setattr(module, "is_public", lambda address: address.startswith("127."))

    async def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with site() as here:
        hosts = (f"images.example.com:{here.port}",)
        assert await fetch(f"http://{hosts[0]}/", hosts, resolver=resolver) == FILE
    assert len(here.heads) == 1


async def test_nothing_tells_who_asks(loopback: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret-0123\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OPENAI_API_KEY", "secret-0123")
    async with site() as here:
        here.reply = lambda head: (
            answer(status=302, location="/b", set_cookie="a=secret-0123") if "/a " in head else answer(FILE)
        )
        assert await fetch(f"http://127.0.0.1:{here.port}/a", (f"127.0.0.1:{here.port}",)) == FILE
    assert len(here.heads) == 2
    for head in here.heads:
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
        assert names == {"host", "accept", "accept-encoding", "connection", "user-agent"}
        assert "secret" not in head


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example/a", "http://images.example.com:8080/a", "http://a.images.example.com/a",
        "http://images.example.com.evil.example/a", "http://evil-images.example.com/a", "http://b.example.org/a",
        "http://example.net/a", "http://images.example.com./a", "http://c.example.com:443/a",
    ],
)  # fmt: skip
async def test_only_allowed_hosts(url: str) -> None:
    hosts = checked_hosts(["images.example.com", "*.example.net", "b.example.org:8443", "c.example.com:443"])
    with pytest.raises(FetchError, match="allow_urls"):
        await fetch(url, hosts, resolver=lambda _host, _port: pytest.fail("not even looked up"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a", "file:///etc/passwd", "/etc/passwd", "http:///a", "http://me:secret@h/a", "http://me@h/a",
        "https://h@evil.example/a", "http://h\\@evil.example/a", "http://h:99999/", "http://[::1", "gopher://h/", "",
        "http://h/\nhost: x",
    ],
)  # fmt: skip
async def test_only_plain_urls(url: str) -> None:
    with pytest.raises(FetchError) as refused:
        await fetch(url, ("h", "evil.example"), resolver=lambda _host, _port: pytest.fail("not even looked up"))
    assert not refused.value.heals
    assert not url or url not in str(refused.value)


@pytest.mark.parametrize("host", ["a.example.net", "deep.a.example.net", "b.example.org", "ünï.example"])
async def test_stars_and_ports(loopback: None, host: str) -> None:
    async with site() as here:
        hosts = checked_hosts([f"*.example.net:{here.port}", f"B.example.org:{here.port}", f"ünï.example:{here.port}"])
        assert await fetch(f"http://{host}:{here.port}/", hosts, resolver=to_loopback) == FILE


async def test_every_hop_of_a_redirect_is_checked(loopback: None) -> None:
    async with site() as here, site() as inner:
        hosts = (f"images.example.com:{here.port}", f"127.0.0.2:{inner.port}", "private.example")
        addresses = {"images.example.com": ["127.0.0.1"], "127.0.0.2": ["127.0.0.2"], "private.example": ["10.0.0.1"]}

        async def resolver(host: str, port: int) -> list[str]:
            return addresses[host]

        for location, words in (
            (f"http://127.0.0.1:{inner.port}/", "allow_urls"),
            (f"http://127.0.0.2:{inner.port}/", "private address"),
            ("http://private.example/", "private address"),
            ("file:///etc/passwd", "plain http"),
            ("//elsewhere.example/", "allow_urls"),
            (f"http://me:x@images.example.com:{here.port}/", "plain http"),
            ("/again", "more than 3 times"),
        ):
            here.reply = answer(status=307, location=location)
            here.heads.clear()
            with pytest.raises(FetchError, match=words):
                await fetch(f"http://images.example.com:{here.port}/", hosts, resolver=resolver)
            assert len(here.heads) == (4 if location == "/again" else 1)
    assert inner.heads == []


async def test_what_is_too_large_is_cut_off(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    async with site() as here:
        hosts = (f"127.0.0.1:{here.port}",)
        here.reply = answer(b"x" * (1 << 20))
        assert len(await fetch(f"http://{hosts[0]}/", hosts)) == 1 << 20
        here.reply = answer(b"x" * (4 << 20))
        with pytest.raises(FetchError, match="has more than 1 MB"):
            await fetch(f"http://{hosts[0]}/", hosts)
        here.reply = answer(b"\x1f\x8b", content_encoding="gzip")
        with pytest.raises(FetchError, match="packs it"):
            await fetch(f"http://{hosts[0]}/", hosts)


async def test_what_takes_too_long_is_given_up(loopback: None) -> None:
    async with site() as here:
        here.reply = b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\nGIF"
        hosts = (f"127.0.0.1:{here.port}",)
        with pytest.raises(FetchError) as failed:
            await fetch(f"http://{hosts[0]}/", hosts)
        assert failed.value.heals

    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(FetchError, match="too long"):
        await fetch("http://h/", ("h",), resolver=never, seconds=0.05)


@pytest.mark.parametrize(("status", "heals"), [(404, False), (403, False), (429, True), (500, True), (304, False)])
async def test_what_the_server_says(loopback: None, status: int, heals: bool) -> None:  # noqa: FBT001
    async with site() as here:
        here.reply = answer(status=status)
        with pytest.raises(FetchError, match=str(status)) as failed:
            await fetch(f"http://127.0.0.1:{here.port}/", (f"127.0.0.1:{here.port}",))
    assert failed.value.heals == heals


@asynccontextmanager
async def secure_site() -> AsyncIterator[Site]:
    """A site with a certificate for images.example.com, signed by nobody but itself."""
    made = Site()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=CERTIFICATE)
    monkeypatch.setattr(module, "_certificates", lambda: context)


async def test_the_certificate_must_be_the_names(loopback: None, trusting: None) -> None:
    """Although the connection goes to an address."""
    async with secure_site() as here:
        hosts = (f"images.example.com:{here.port}", f"other.example:{here.port}")
        assert await fetch(f"https://{hosts[0]}/", hosts, resolver=to_loopback) == FILE
        with pytest.raises(FetchError, match="ConnectError"):
            await fetch(f"https://{hosts[1]}/", hosts, resolver=to_loopback)


async def test_the_certificate_must_be_trusted(loopback: None) -> None:
    async with secure_site() as here:
        with pytest.raises(FetchError, match="ConnectError"):
            await fetch(
                f"https://images.example.com:{here.port}/", (f"images.example.com:{here.port}",), resolver=to_loopback
            )


async def test_https_does_not_lead_to_http(loopback: None, trusting: None) -> None:
    async with secure_site() as here:
        here.reply = answer(status=301, location="http://images.example.com/")
        hosts = (f"images.example.com:{here.port}", "images.example.com")
        with pytest.raises(FetchError, match="from https to http"):
            await fetch(f"https://{hosts[0]}/", hosts, resolver=to_loopback)


@pytest.mark.parametrize("hosts", [["*"], ["http://a"], ["a/b"], ["me@a"], [""], [3], ["a*.b"], ["a?b"]])
def test_what_is_no_host(hosts: Any) -> None:
    with pytest.raises(ConfigurationError, match="must name hosts"):
        checked_hosts(hosts)
