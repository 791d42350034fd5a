"""Providers of one's own: registered, announced by a package, or a line for a server that speaks OpenAI's format."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

import polar_llama as pll
from polar_llama.errors import ConfigurationError
from polar_llama.providers.base import Ask, Request, Response
from polar_llama.providers.compatible import compatible
from polar_llama.testing import Emulator, answer_text

if TYPE_CHECKING:
    from tests.providers.conftest import Connect, Script

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "custom_provider.py"

PACKAGE = """
from polar_llama.providers.base import Response

class Parrot:
    identity = host = "parrot"
    def __init__(self, connection): self.prefix = connection.environ.get("PARROT_SAYS", "")
    async def complete(self, request): return Response(self.prefix + request.prompt)
    async def aclose(self): pass
"""
QUERY = """
import polars as pl, polar_llama as pll
frame = pl.LazyFrame({"q": ["hi", "hi"]}).select(pll.llm("q", model="parrot:any"))
print(frame.collect()["llm"].to_list())
"""


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    said = capsys.readouterr().out
    assert said.count("true") == 2
    assert said.count("false") == 1
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40


def test_an_installed_package_announces_its_provider(tmp_path: Path) -> None:
    (tmp_path / "parrots.py").write_text(PACKAGE)
    info = tmp_path / "parrots-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[polar_llama.providers]\nparrot = parrots:Parrot\n")
    environ = {
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "PARROT_SAYS": "kraa ",
        "POLAR_LLAMA_CACHE_DIR": str(tmp_path / "cache"),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUERY], capture_output=True, text=True, check=False, env=environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "['kraa hi', 'kraa hi']" in done.stdout


async def test_a_server_of_openais_format_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as first, Emulator() as second:
        pll.register_provider("here", compatible(first.base_url("openai")))
        pll.register_provider("there", compatible(second.base_url("openai"), key="THERE_API_KEY"))
        monkeypatch.setenv("THERE_API_KEY", "k-123456789")
        asked = pl.LazyFrame({"q": ["a"]}).select(
            here=pll.llm("q", model="here:m"), there=pll.llm("q", model="there:m", returns=bool)
        )
        said = asked.collect().row(0)
        assert said[0] == answer_text("a", model="m")
        assert isinstance(said[1], bool)
        assert (first.stats().requests, second.stats().requests) == (1, 1)


async def test_each_server_is_shown_its_own_key(script: Script, connect: Connect) -> None:
    keys = {"OPENAI_API_KEY": "k-of-openai", "VLLM_API_KEY": "k-of-vllm"}
    pll.register_provider("vllm", compatible("http://gpu.invalid:8000/v1/", key="VLLM_API_KEY"))
    pll.register_provider("ollama", compatible("http://127.0.0.1:11434/v1"))
    for name in ("vllm", "ollama"):
        async with script.client() as client, connect(name, keys, client) as provider:
            assert isinstance(await provider.complete(Request(Ask("m", max_tokens=5), "?")), Response)
    assert [r.headers.get("authorization") for r in script.requests] == ["Bearer k-of-vllm", None]
    assert str(script.requests[0].url) == "http://gpu.invalid:8000/v1/chat/completions"
    assert all(body["max_tokens"] == 5 for body in script.bodies)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host/v1", "http://", "http://ho st/v1"])
def test_a_server_needs_a_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base URL"):
        compatible(url)
