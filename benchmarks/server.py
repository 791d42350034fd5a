"""The light server: the emulator, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.contender import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def server(**options: float) -> Iterator[str]:
    """Start a server; gives its root URL.

    Args:
        **options: Options of `python -m polar_llama.testing`.
    """
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "polar_llama.testing", *flags]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def stats(url: str) -> dict[str, Any]:
    """What a server has seen so far."""
    with urllib.request.urlopen(f"{url}/emulator/stats") as reply:
        found: dict[str, Any] = json.load(reply)
        return found
