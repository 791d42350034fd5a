"""An emulated model server, and a directory of files that are not as they should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator() as running:
        for name, value in running.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("POLAR_LLAMA_MODEL", "openai:gpt-6-luna")
        yield running


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of files that are not as they should be."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a,b\n1,x\n", encoding="utf-8")
    Path("t[1].csv").write_text("a,b\n1,x\n", encoding="utf-8")
    Path("utf16.csv").write_text("a,b\n1,x\n", encoding="utf-16")
    Path("latin.csv").write_text("a,b\n1,ä\n", encoding="latin-1")
    Path("empty.csv").touch()
    Path("array.json").write_text('[{"a": 1}]', encoding="utf-8")
    Path("directory.csv").mkdir()
    pl.DataFrame({"x": [b"\xff"], "s": [{"of": [b"\xff"]}]}).write_parquet("bytes.parquet")
    return tmp_path
