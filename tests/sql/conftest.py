from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cases import D, U
from sql_kit import MODEL, ORACLE, Bench, Oracle

from polar_llama import settings
from polar_llama.providers.registry import register_provider

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def small() -> Iterator[Bench]:
    bench = Bench({"t": D, "u": U})
    yield bench
    bench.con.close()


@pytest.fixture
def bench(small: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(settings, "_configured", {"model": MODEL, "cache": "off"})
    return small


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Oracle:
    monkeypatch.setattr(settings, "_configured", {"model": MODEL, "cache": "use"})
    ORACLE.asked.clear()
    return ORACLE


register_provider("oracle", lambda _: ORACLE)
