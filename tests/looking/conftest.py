"""The tests of looking use the random plans of the planner's tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent.parent / "planner"))


@pytest.fixture(scope="session")
def _running() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(_running: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator, as new, to which every provider's environment leads; a model with a known price is set."""
    _running.fail(None)
    _running.reset()
    for name, value in _running.environ().items():
        monkeypatch.setenv(name, value)
    pll.configure(model="openai:gpt-4o-mini", progress=False)
    return _running
