"""Providers, shared by the runs of a process, so that connections and what was learned of limits are.

A provider is used again as long as every environment variable it has looked at so far is unchanged
(of credentials: whether they are set).
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from polar_llama.exec.dispatch import dispatcher
from polar_llama.providers.base import Connection
from polar_llama.providers.registry import PER_MODEL, create
from polar_llama.transport import open_transport

if TYPE_CHECKING:
    import httpx

    from polar_llama.providers.base import Provider
    from polar_llama.transport.base import Transport

MOST = 64
"""Providers that are kept; of more the oldest are forgotten."""

_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)


class Environment(dict[str, str]):
    """A copy of the environment without variables that are named like credentials.

    It does not show the others either: tools that report errors show local variables, and any may hold a password.
    """

    def __repr__(self) -> str:
        """How many there are."""
        return f"<environment of {len(self)} variables>"


def without_secrets(environ: Mapping[str, str]) -> Environment:
    """A copy of the environment without variables that are named like credentials."""
    return Environment({name: value for name, value in environ.items() if not _SECRET.search(name)})


def environment() -> Environment:
    """The environment of this process, without credentials."""
    return without_secrets(os.environ)


class _Watched(Mapping[str, str]):
    """An environment that remembers what was read of it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.read: dict[str, str | None] = {}

    def __getitem__(self, name: str) -> str:
        self.read[name] = self._environ.get(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        for name in self._environ:
            self.read[name] = self._environ[name]
            yield name

    def __len__(self) -> int:
        return len(self._environ)


class _Secrets:
    """Reads credentials when they are needed; remembers which were there, never what they were."""

    def __init__(self) -> None:
        self.there: dict[str, bool] = {}

    def __call__(self, name: str) -> str | None:
        value = os.environ.get(name)
        self.there.setdefault(name, bool(value))
        return value


class _Opener:
    """Opens a transport on first use, which is on the loop, and has it closed when the loop ends."""

    def __init__(self, http_client: httpx.AsyncClient | None) -> None:
        self.http_client = http_client
        self._transport: Transport | None = None

    def __call__(self) -> Transport:
        if self._transport is None:
            self._transport = open_transport(self.http_client)
            dispatcher().background.at_close(self._transport.aclose)
        return self._transport


class _Kept(NamedTuple):
    name: tuple[str, str]
    environ: _Watched
    secrets: _Secrets
    transport: _Opener
    provider: Provider

    def serves(self, name: tuple[str, str], environ: Mapping[str, str], http_client: httpx.AsyncClient | None) -> bool:
        return (
            self.name == name
            and self.transport.http_client is http_client
            and all(environ.get(key) == value for key, value in self.environ.read.items())
            and all(bool(os.environ.get(key)) == there for key, there in self.secrets.there.items())
        )


_kept: deque[_Kept] = deque(maxlen=MOST)
_lock = threading.Lock()


def provider_for(name: str, model: str, environ: Mapping[str, str], http_client: httpx.AsyncClient | None) -> Provider:
    """The provider of a name: a kept one if there is one for this environment and client, else a new one.

    Args:
        name: The provider's name, as in `"name:model"`.
        model: The model's name; a provider in `PER_MODEL` is of one model each.
        environ: The environment, without secrets.
        http_client: The user's own client, or None.

    Raises:
        ConfigurationError: If there is no such provider, or something that it needs is missing.
    """
    key = name, model if name in PER_MODEL else ""
    with _lock:
        for kept in _kept:
            if kept.serves(key, environ, http_client):
                return kept.provider
        watched, secrets = _Watched(environ), _Secrets()
        openers = (kept.transport for kept in _kept if kept.transport.http_client is http_client)
        transport = next(openers, None) or _Opener(http_client)
        made = create(name, Connection(watched, secrets, transport), model)
        _kept.append(_Kept(key, watched, secrets, transport, made))
        return made


def silent_provider(name: str, model: str, environ: Mapping[str, str]) -> Provider:
    """A provider that will send nothing, for `cache="replay"`: it needs no key.

    Raises:
        ConfigurationError: If there is no such provider, or something else that it needs is missing.
    """
    return create(name, Connection(environ, lambda _: "none is needed", _Opener(None)), model)


def _forked() -> None:
    """A forked child has neither the loop nor the sockets of its parent's providers."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
