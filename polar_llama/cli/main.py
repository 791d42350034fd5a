"""The commands, and what a shell sees of an error: one line and an exit code."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from polars.exceptions import PanicException

from polar_llama.cli import cache, emulator, sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EPILOG = """\
examples:
  polar-llama sql "SELECT question, llm(question) FROM t" --table t=questions.parquet --model local
  polar-llama sql "SELECT text FROM 'reviews/*.csv' WHERE llm_bool('Is this angry? ' || text)" --explain
  polar-llama cache info
  polar-llama emulator

exit codes:
  0  done; also when the reader of its output has seen enough (| head)
  1  the command failed; the reason is on standard error, in one line
  2  the command line was not understood
  130  interrupted (Ctrl-C), 143 terminated; what had come back is cached
"""

FAILED = 1
INTERRUPTED = 130
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command line; None reads the process's.

    Returns:
        The exit code.
    """
    _ready_streams()
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and not given.takes_rest:
        quoted = ". Is the query in quotes?" if "query" in given and not rest[0].startswith("-") else ""
        given.parser.error(f"unrecognized arguments: {' '.join(rest)}{quoted}")
    given.rest = rest
    try:
        with _ended_by_signals():
            code: int = given.run(given)
            sys.stdout.flush()
    except KeyboardInterrupt as ended:
        _tell("interrupted. What had come back is cached: run it again to ask for the rest")
        if isinstance(ended, _EndedBySignal):
            return 128 + ended.number
        if arguments is None and sys.stderr.isatty():  # a shell's loop stops only if the signal is what ends us
            sys.excepthook = lambda *_: None
            raise
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough: `polar-llama sql … | head`
        _settle_output()
        return 0
    except (Exception, PanicException) as error:
        if os.environ.get("POLAR_LLAMA_TRACEBACK"):
            raise
        _tell(one_line(error))
        _settle_output()
        return FAILED
    return code


def _tell(message: str) -> None:
    with suppress(OSError):  # a terminal that is gone
        print(f"polar-llama: {message}", file=sys.stderr)


class _EndedBySignal(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which end a command as cleanly as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    def end(number: int, _: object) -> None:
        raise _EndedBySignal(number)

    here = threading.current_thread() is threading.main_thread()
    numbers = [n for n in _SIGNALS if here and signal.getsignal(n) is signal.SIG_DFL]  # `nohup` has one ignored
    try:
        for number in numbers:
            signal.signal(number, end)
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _ready_streams() -> None:
    """Give closed streams something to hold on to, and write what an encoding lacks as an escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed: the next file that is opened would take its place
            held = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(held, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 -- kept
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _settle_output() -> None:
    """Write what is left, or drop it where that fails: Python would try again at its exit, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
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
    parser.set_defaults(takes_rest=False, parser=parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    sql.add(commands)
    cache.add(commands)
    emulator.add(commands)
    return parser
