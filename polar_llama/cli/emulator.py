"""`polar-llama emulator`: model servers on this machine, for trying and testing."""

from __future__ import annotations

import argparse
from typing import Any

_DESCRIPTION = """\
Serve emulated model servers (OpenAI, Anthropic, Gemini, Groq, Bedrock) on this machine: the same wire formats,
answers made of nothing. Prints the variables to export, and serves until it is interrupted.
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "emulator",
        help="serve emulated model servers on this machine",
        description=_DESCRIPTION,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run, takes_rest=True)


def _run(given: argparse.Namespace) -> int:
    from polar_llama.testing.__main__ import main

    main(given.rest)
    return 0
