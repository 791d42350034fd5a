from __future__ import annotations

import json
import signal
import subprocess
import sys
from urllib.request import urlopen

import pytest


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "polar_llama.testing", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("end", ["input", "term"])
def test_the_emulator_as_a_process(end: str) -> None:
    process, url = start("--latency", "0.001-0.002", "--max-in-flight", "8", "--reset", "0.1")
    with process:
        assert url.startswith("http://127.0.0.1:")
        with urlopen(f"{url}/v1/models") as reply:
            assert json.load(reply)["object"] == "list"
        with urlopen(f"{url}/emulator/stats") as reply:
            stats = json.load(reply)
        assert stats["by_provider"] == {"openai": 1}
        assert process.stdin is not None
        if end == "input":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("wrong", [("--latency", "soon"), ("--reset", "1.5"), ("--colour", "red")])
def test_wrong_arguments_are_explained(wrong: tuple[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "polar_llama.testing", *wrong], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "error:" in ended.stderr
    assert "Traceback" not in ended.stderr
