from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def running() -> Iterator[Emulator]:
    """One emulator for all tests, so that the SDKs' slow clients can be made once."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    """The running emulator, as new."""
    running.fail(None)
    running.reset()
    return running
