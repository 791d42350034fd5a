from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running
