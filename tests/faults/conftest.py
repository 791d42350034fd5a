"""Emulated servers with faults, to which the environment of a test leads."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from fault_kit import KEY

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def emulate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Emulator]]:
    """Start a server with the given faults."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Emulator:
            emulator = stack.enter_context(Emulator(**options))
            for name, value in emulator.environ().items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            return emulator

        pll.configure(model="openai:gpt-6-luna")
        yield begin


@pytest.fixture
def emulator(emulate: Callable[..., Emulator]) -> Emulator:
    """A server without faults."""
    return emulate()
