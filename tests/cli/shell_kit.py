"""A shell around the command line."""

from __future__ import annotations

import os
import subprocess
import sys

POLAR_LLAMA = f"{sys.executable} -W error -m polar_llama"


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", command.replace("polar-llama", POLAR_LLAMA)],
        capture_output=True,
        check=False,
        env={**os.environ, **variables},
    )
