"""`polar-llama emulator`: model servers on this machine, for trying and testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "emulator",
        help="serve emulated model servers on this machine",
        add_help=False,
    )
    parser.set_defaults(run=_run, takes_rest=True)


def _run(given: argparse.Namespace) -> int:
    from polar_llama.testing.__main__ import main

    main(given.rest)
    return 0
