"""Frames against the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _running() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(_running: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator, as new, to which every provider's environment leads."""
    _running.fail(None)
    _running.reset()
    for name, value in _running.environ().items():
        monkeypatch.setenv(name, value)
    pll.configure(model="openai:gpt-6-luna")
    return _running
