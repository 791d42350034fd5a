"""What the fault tests share: prompts that must not be seen, their right answers, and real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import polar_llama as pll
from polar_llama.testing import answer_text, default_answer

if TYPE_CHECKING:
    from polar_llama.testing import EmulatedRequest

MODEL = "gpt-6-luna"
KEY = "sk-never-to-be-seen-0123456789"
SECRET = "the text of a cell"


def prompts(count: int) -> pl.DataFrame:
    """Rows with `count` distinct prompts in `q`."""
    return pl.DataFrame({"i": range(count), "q": [f"{SECRET} {i}" for i in range(count)]})


def ask(count: int, **options: Any) -> pl.DataFrame:
    """Ask that many prompts."""
    return prompts(count).lazy().with_columns(a=pll.llm("q", **options)).collect()


def right(count: int) -> list[str]:
    """The answers there must be."""
    return [answer_text(q, model=MODEL) for q in prompts(count)["q"]]


def told(error: BaseException) -> str:
    """What an error says; it must hold no prompt and no key."""
    message = str(error)
    assert SECRET not in message
    assert KEY not in message
    return message


class Counting:
    """An emulated model that tells when it has answered so many."""

    def __init__(self, count: int) -> None:
        self.reached = threading.Event()
        self._left = count

    def __call__(self, request: EmulatedRequest) -> str:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
        return default_answer(request)


PRELUDE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
import polars as pl
import polar_llama as pll
from fault_kit import ask, prompts, right
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process in this folder, with this environment; it must end by itself or be killed."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PRELUDE + script, *map(str, arguments)],
        cwd=Path(__file__).parent,
        env={**os.environ, "POLAR_LLAMA_MODEL": f"openai:{MODEL}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that what it has forked can be killed with it
    )


def finished(process: subprocess.Popen[str], within: float = 30, told: str = "") -> tuple[str, str, int]:
    """What a process printed, told on stderr, and its return code; it is killed when it takes too long."""
    try:
        out, err = process.communicate(told, timeout=within)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return out, err, process.returncode
