"""The commands, and what a shell sees of an error: one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from polar_llama.cli import cache, emulator, sql

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\
examples:
  polar-llama sql "SELECT question, llm(question) FROM t" --table t=questions.parquet --model local
  polar-llama sql "SELECT text FROM 'reviews/*.csv' WHERE llm_bool('Is this angry? ' || text)" --explain
  polar-llama cache info
  polar-llama emulator

exit codes:
  0  done
  1  the command failed; the reason is on standard error, in one line
  2  the command line was not understood
  130  interrupted (Ctrl-C); what had come back is cached
"""

FAILED = 1
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command line; None reads the process's.

    Returns:
        The exit code.
    """
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and not given.takes_rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    given.rest = rest
    try:
        code: int = given.run(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(
            "polar-llama: interrupted. What had come back is cached: run it again to ask for the rest", file=sys.stderr
        )
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough: `polar-llama sql … | head`
        _settle_output()
        return 0
    except Exception as error:
        if os.environ.get("POLAR_LLAMA_TRACEBACK"):
            raise
        print(f"polar-llama: {one_line(error)}", file=sys.stderr)
        _settle_output()
        return FAILED
    return code


def _settle_output() -> None:
    """Write what is left, or drop it where that fails: Python would try again at its exit, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text[0] != "'" or not isinstance(error, KeyError) else f"missing {text}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polar-llama",
        description="LLM calls in SQL, planned, deduplicated and cached.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"polar-llama {version('polar-llama')}")
    parser.set_defaults(takes_rest=False)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    sql.add(commands)
    cache.add(commands)
    emulator.add(commands)
    return parser
