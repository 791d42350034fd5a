"""How bytes leave: `pyreqwest` by default, or the user's own `httpx.AsyncClient`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from polar_llama.transport.base import Transport


def open_transport(http_client: httpx.AsyncClient | None = None) -> Transport:
    """Open a transport; call it on the event loop that will send.

    Args:
        http_client: The user's own client, for proxies, client certificates, recorded or mocked
            exchanges. It stays the user's: it is never closed here. Its connections belong to the
            event loop that opened them, so a client that has already sent something on another
            loop must not be given. None opens the default, which obeys `HTTP_PROXY`, `HTTPS_PROXY`,
            `ALL_PROXY` and `NO_PROXY` as they are now.

    Returns:
        A transport to close with `aclose`.
    """
    if http_client is not None:
        from polar_llama.transport.httpx_client import HttpxTransport

        return HttpxTransport(http_client)
    from polar_llama.transport.reqwest import ForkedError, ReqwestTransport

    try:
        return ReqwestTransport()
    except ForkedError:
        from polar_llama.transport.httpx_client import open_own

        return open_own()
