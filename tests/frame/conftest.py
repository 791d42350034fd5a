"""Frames against the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


@pytest.fixture(scope="session")
def _one_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture
def one_cache(emulator: Emulator, _one_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for all tests that ask for it: to make a new one takes most of a small test's time."""
    monkeypatch.setenv("POLAR_LLAMA_CACHE_DIR", str(_one_directory))
