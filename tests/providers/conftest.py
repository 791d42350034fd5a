"""Providers made as a run makes them, against the emulator or against replies written by hand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest
from pydantic_core import from_json

from polar_llama.providers.base import Connection, Failure, Response
from polar_llama.providers.registry import create
from polar_llama.transport import open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from polar_llama.providers.base import Provider

    class Connect(Protocol):
        def __call__(
            self, name: str, environ: Mapping[str, str], client: httpx.AsyncClient | None = None
        ) -> AbstractAsyncContextManager[Provider]: ...


def _is_secret(name: str) -> bool:
    return "KEY" in name or "TOKEN" in name


@asynccontextmanager
async def _connect(
    name: str, environ: Mapping[str, str], client: httpx.AsyncClient | None = None
) -> AsyncIterator[Provider]:
    transport = open_transport(client)
    plain = {k: v for k, v in environ.items() if not _is_secret(k)}
    secret = {k: v for k, v in environ.items() if _is_secret(k)}
    provider = create(name, Connection(plain, secret.get, lambda: transport))
    try:
        yield provider
    finally:
        await provider.aclose()
        await transport.aclose()


@dataclass
class Script:
    """A server written by hand: `reply` answers every request; the requests are kept.

    Attributes:
        reply: Given the number of the request, from 0, and its body.
        hold: What replies wait for.
        arrived: Set by the first request.
    """

    reply: Callable[[int, Any], httpx.Response] = field(default=lambda _number, _body: Script.completion())
    requests: list[httpx.Request] = field(default_factory=list)
    hold: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def bodies(self) -> list[Any]:
        return [from_json(r.content) for r in self.requests]

    def client(self) -> httpx.AsyncClient:
        async def handle(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            self.arrived.set()
            if self.hold is not None:
                await self.hold.wait()
            return self.reply(len(self.requests) - 1, from_json(request.content))

        return httpx.AsyncClient(transport=httpx.MockTransport(handle))

    @staticmethod
    def completion(text: str | None = "fine", **changed: Any) -> httpx.Response:
        """A chat completion with status 200."""
        message = {"role": "assistant", "content": text, "refusal": changed.pop("refusal", None)}
        choice = {"index": 0, "message": message, "finish_reason": changed.pop("finish_reason", "stop")}
        headers = changed.pop("headers", {})
        body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice]}
        return httpx.Response(200, json={**body, **changed}, headers=headers)

    @staticmethod
    def refusal(status: int, message: str, **names: Any) -> httpx.Response:
        """An error in OpenAI's shape."""
        headers = names.pop("headers", {})
        return httpx.Response(status, json={"error": {"message": message, **names}}, headers=headers)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def connect() -> Connect:
    return _connect


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def scripted(script: Script, anyio_backend: str) -> AsyncIterator[Provider]:
    """A server of OpenAI's shape that nothing is known about, answered by `script`."""
    environ = {"OPENAI_BASE_URL": "http://models.invalid:8080/v1", "OPENAI_API_KEY": "key-0123456789"}
    async with script.client() as client, _connect("openai", environ, client) as provider:
        yield provider


@pytest.fixture
async def official(script: Script, anyio_backend: str) -> AsyncIterator[Provider]:
    """OpenAI itself, answered by `script`."""
    environ = {"OPENAI_API_KEY": "sk-proj-0123456789abcdef", "OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj_1"}
    async with script.client() as client, _connect("openai", environ, client) as provider:
        yield provider


@pytest.fixture
def answered() -> Callable[[Response | Failure], Response]:
    def check(outcome: Response | Failure) -> Response:
        assert isinstance(outcome, Response), outcome
        return outcome

    return check


@pytest.fixture
def failed() -> Callable[[Response | Failure], Failure]:
    def check(outcome: Response | Failure) -> Failure:
        assert isinstance(outcome, Failure), outcome
        return outcome

    return check


@pytest.fixture(autouse=True)
def _registry_as_it_was() -> Iterator[None]:
    from polar_llama.providers import registry

    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)
