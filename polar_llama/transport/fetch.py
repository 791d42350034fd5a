"""Fetching a file by a URL that came from data: from hosts the program allows, never from a private address.

Every hop is checked anew: its scheme, its host, and each address its name leads to. The connection goes to the very
address that was checked, so a name that leads elsewhere a moment later changes nothing. Nothing that could tell who
asks is sent: no keys, cookies, proxies or user's client.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from typing import TYPE_CHECKING

from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    import httpx

    Resolve = Callable[[str, int], Awaitable[list[str]]]

MAX_BYTES = 20 << 20
"""Of one file: what the strictest vendor takes as a whole request."""

MAX_REDIRECTS = 3

SECONDS = 30.0
"""How long a file may take, all hops together."""

_TRY_AGAIN = frozenset({408, 425, 429})
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")

_OPEN = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that has been given out: what lies outside is of one machine, one site, or of nobody."""

_CLOSED = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20")))
"""What some Pythons take for global: protocols' own addresses (Oracle's cloud answers for credentials at 192.0.0.192),
relays, Azure's own service inside every machine there, and documentation."""


class FetchError(Exception):
    """A file that was not fetched; the text names neither the URL nor anything of it.

    Attributes:
        heals: Whether fetching again may succeed.
    """

    def __init__(self, message: str, *, heals: bool = False) -> None:
        super().__init__(message)
        self.heals = heals


def checked_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """Hosts as they are compared.

    Args:
        hosts: `images.example.com`, `*.example.com` for the hosts below one, `images.example.com:8443` with a port.

    Raises:
        ConfigurationError: If one is no host.

    >>> checked_hosts(["Images.Example.com", "*.example.org:8443"])
    ('images.example.com', '*.example.org:8443')
    """
    import httpx

    if isinstance(hosts, str):
        hosts = [hosts]
    found = []
    for host in hosts:
        star = "*." if isinstance(host, str) and host.startswith("*.") else ""
        try:
            url = httpx.URL(f"http://{host.removeprefix('*.')}")
            good = url.path == "/" and not url.userinfo and not url.query and not url.fragment and "*" not in url.host
        except (httpx.InvalidURL, AttributeError, TypeError):
            good = False
        if not good or not url.host:
            msg = f'allow_urls=[…] must name hosts, such as "images.example.com" or "*.example.com", not {host!r}'
            raise ConfigurationError(msg)
        found.append(star + _netloc(url).removesuffix(":443"))
    return tuple(found)


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet: neither this machine, nor its network, nor a way into either.

    >>> [is_public(a) for a in ("93.184.216.34", "127.0.0.1", "10.1.2.3", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False, False, False]
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and (found in _NAT64 or found.packed[8:12] in _ISATAP):
            inner = ipaddress.IPv4Address(found.packed[-4:])
        if inner is not None:
            return is_public(str(inner))
        if found not in _OPEN:
            return False
    return found.is_global and not found.is_multicast and not any(found in closed for closed in _CLOSED)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


async def fetch(url: str, hosts: Sequence[str], *, seconds: float = SECONDS, resolver: Resolve = resolve) -> bytes:
    """The bytes of a file.

    Args:
        url: An http(s) URL, from data.
        hosts: Where it may lie, as `checked_hosts` gives them; where redirects lead, too.
        seconds: How long it may take.
        resolver: Finds the addresses of a host.

    Raises:
        FetchError: If it is not fetched.
    """
    import httpx

    try:
        async with asyncio.timeout(min(seconds, SECONDS)):
            at = httpx.URL(url)
            for _ in range(MAX_REDIRECTS + 1):
                found = await _hop(at, hosts, resolver)
                if isinstance(found, bytes):
                    return found
                at = _next(at, found)
    except TimeoutError:
        raise FetchError("fetching an image took too long", heals=True) from None
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise FetchError("an image's URL is no URL that can be fetched") from None
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise FetchError(f"fetching an image failed ({type(error).__name__})", heals=True) from None
    raise FetchError(f"an image's URL redirects more than {MAX_REDIRECTS} times")


async def _hop(url: httpx.URL, hosts: Sequence[str], resolver: Resolve) -> bytes | str:
    """One request: a file, or where it lies instead."""
    import httpx

    _check(url, hosts)
    host = url.raw_host.decode("ascii")
    addresses = await resolver(host, url.port or (443 if url.scheme == "https" else 80))
    if not addresses or not all(map(is_public, addresses)):
        raise FetchError("an image's URL leads to a private address: nothing was fetched")
    for address in addresses[:-1]:
        try:
            return await _get(url, address)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue  # such as its IPv6 address, where this machine has none
    return await _get(url, addresses[-1])


async def _get(url: httpx.URL, address: str) -> bytes | str:
    """The same, at one of the host's addresses."""
    import httpx

    host = url.raw_host.decode("ascii")
    headers = {"host": _netloc(url), "accept-encoding": "identity", "user-agent": "polar-llama"}
    extensions = {} if _is_address(host) else {"sni_hostname": host}
    async with (
        httpx.AsyncClient(trust_env=False, verify=_certificates()) as client,
        client.stream("GET", url.copy_with(host=address), headers=headers, extensions=extensions) as reply,
    ):
        if reply.has_redirect_location:
            return reply.headers["location"]
        if reply.status_code != 200:  # noqa: PLR2004
            again = reply.status_code in _TRY_AGAIN or reply.status_code >= 500  # noqa: PLR2004
            raise FetchError(f"the server of an image answered {reply.status_code}", heals=again)
        if reply.headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchError("the server of an image packs it, though it was asked not to")
        return await _read(reply)


async def _read(reply: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in reply.aiter_raw():
        size += len(part)
        if size > MAX_BYTES:
            raise FetchError(f"an image has more than {MAX_BYTES >> 20} MB")
        parts.append(part)
    return b"".join(parts)


def _check(url: httpx.URL, hosts: Sequence[str]) -> None:
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo:
        raise FetchError("an image's URL is not a plain http(s) URL: nothing was fetched")
    at = _netloc(url)
    parents = at.split(".")
    if at not in hosts and not any("*." + ".".join(parents[i:]) in hosts for i in range(1, len(parents))):
        raise FetchError("an image's URL leads to a host that allow_urls=[…] does not name: nothing was fetched")


def _next(url: httpx.URL, location: str) -> httpx.URL:
    found = url.join(location)
    if url.scheme == "https" and found.scheme == "http":
        raise FetchError("an image's URL redirects from https to http: nothing was fetched from there")
    return found


def _netloc(url: httpx.URL) -> str:
    """Host and port, the port only where it is not the scheme's own."""
    return url.netloc.decode("ascii").rpartition("@")[2].lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


@functools.cache
def _certificates() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()
