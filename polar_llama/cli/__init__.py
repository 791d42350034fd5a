"""The command line: `polar-llama sql | cache | emulator`."""

from __future__ import annotations

from polar_llama.cli.main import main

__all__ = ["main"]
