"""The examples run, and so does every Python block of the documents."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A model server that answers whatever the environment's settings lead to."""
    with Emulator() as running:
        for name, value in running.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("POLAR_LLAMA_MODEL", "openai:gpt-6-luna")
        yield running


def test_triage_asks_each_question_once(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["triage.py", "--model", "openai:gpt-6-luna", "--data", str(EXAMPLES / "questions.csv")]
    )
    runpy.run_path(str(EXAMPLES / "triage.py"), run_name="__main__")
    assert "for_example" in capsys.readouterr().out
    assert 30 < emulator.stats().requests < 2 * 30, "30 distinct questions, and a desk for the urgent ones"


def test_triage_on_its_own_emulator(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["triage.py", "--emulator", "--rows", "10"])
    runpy.run_path(str(EXAMPLES / "triage.py"), run_name="__main__")
    assert "for_example" in capsys.readouterr().out


@pytest.mark.local_model
def test_quickstart_asks_nothing_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", EXAMPLES / "quickstart.py"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.partition("┌")[2].partition("└")[0]

    first = run()
    monkeypatch.setenv("POLAR_LLAMA_CACHE", "replay")  # a request would be an error
    assert first
    assert run() == first


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_code_of_a_document_runs(
    path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A document's blocks run in order, in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": path.stem}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        # Without this module's own `from __future__ import annotations`.
        exec(compile("\n" * line + block[1], str(path), "exec", dont_inherit=True), namespace)
