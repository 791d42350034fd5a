"""Servers that nobody here wrote, as processes of their own: `make servers` installs them and runs these tests.

They are not among the packages of `make test`: one needs Node, the other brings thirty packages. Without them these
tests are skipped, and say so.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Server:
    """A command that listens at a free port of loopback until the test is over.

    Args:
        command: The command; `PORT` stands for the port.
        alive: A path that answers once the server is up.
        log: Where its output goes.
    """

    def __init__(self, command: list[str], alive: str, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        with log.open("wb") as output:
            arguments = [argument.replace("PORT", str(port)) for argument in command]
            self._process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
        patience = threading.Event()
        for _ in range(300):
            if self._process.poll() is not None:
                break
            try:
                self.ask("GET", alive)
            except urllib.error.HTTPError:
                return
            except OSError:
                patience.wait(0.1)
            else:
                return
        pytest.fail(f"{command[0]} did not start: {log.read_text()[-1000:]}")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One exchange with the server's own API."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read() or b"null")

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(timeout=30)


def command_of(variable: str, name: str) -> str:
    """The command that an environment variable names; else the module that asks is skipped, and says why."""
    found = os.environ.get(variable)
    if not found:
        reason = f"{name} is not installed here: `make servers` installs it, and sets {variable}"
        pytest.skip(reason, allow_module_level=True)
    return found
