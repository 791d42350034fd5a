"""`polar-llama cache`: what is cached, and carrying it elsewhere."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from polar_llama.cache.disk import DiskCache

_CHUNK = 1_000
"""Answers imported in one transaction."""

_EPILOG = """\
Exported answers are one JSON object a line, {"key": …, "value": …}: to keep them, to send them to a colleague,
or to run a query again without any model (POLAR_LLAMA_CACHE=replay). They hold answers and no prompts.

examples:
  polar-llama cache info
  polar-llama cache export answers.ndjson
  polar-llama cache import answers.ndjson
  polar-llama cache clear --yes
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "cache",
        help="look at the cached answers, or carry them elsewhere",
        description="Look at the cached answers, or carry them elsewhere.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    where.add_argument("--directory", metavar="DIR", help="the cache (default: the setting cache_dir)")
    parser.add_argument("--directory", metavar="DIR", help=argparse.SUPPRESS)  # before the action, too
    parser.set_defaults(parser=parser)
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    actions.add_parser("info", help="where it is and how much it holds", parents=[where]).set_defaults(run=_info)
    clear = actions.add_parser("clear", help="forget every answer", parents=[where])
    clear.add_argument("--yes", action="store_true", help="do not ask whether you are sure")
    clear.set_defaults(run=_clear)
    export = actions.add_parser("export", help="write every answer to a file", parents=[where])
    export.add_argument("file", nargs="?", default="-", help="where to (default: standard output)")
    export.set_defaults(run=_export)
    imported = actions.add_parser("import", help="add the answers of a file", parents=[where])
    imported.add_argument("file", nargs="?", default="-", help="where from (default: standard input)")
    imported.set_defaults(run=_import)


def _place(given: argparse.Namespace) -> Path:
    from polar_llama import settings
    from polar_llama.cache.directory import located

    with settings.session(**({"cache_dir": given.directory} if given.directory else {})):
        return located(settings.current().cache_dir)


def _found(given: argparse.Namespace) -> DiskCache | None:
    """The cache, if there is one: looking does not make one."""
    from polar_llama.cache import open_cache
    from polar_llama.cache.directory import DATABASE

    place = _place(given)
    return open_cache(place) if (place / DATABASE).exists() else None


def _info(given: argparse.Namespace) -> int:
    cache = _found(given)
    if cache is None:
        print(f"0 answers, nothing on disk, in {_place(given)}")
        return 0
    info = cache.info()
    print(f"{info.entries:,} answers, {info.bytes_on_disk:,} bytes on disk, in {info.directory}")
    return 0


def _clear(given: argparse.Namespace) -> int:
    cache = _found(given)
    if cache is None:
        print("0 answers forgotten")
        return 0
    entries = cache.info().entries
    if entries and not given.yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("clearing forgets answers that were paid for: say so with --yes")
        if not _agreed(f"Forget {entries:,} answers in {cache.directory}? [y/N] "):
            print("nothing was forgotten")
            return 1
    print(f"{cache.clear():,} answers forgotten")
    return 0


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:  # Ctrl-D
        print()
        return False


def _export(given: argparse.Namespace) -> int:
    cache, count = _found(given), 0
    if cache is None:
        raise ConfigurationError(f"there is no cache in {_place(given)}. Hint: --directory says where it is")
    with _stream(given.file, "wb") as out:
        for key, value in cache.items():
            line = {"key": key.hex(), "value": base64.b64encode(value).decode()}
            out.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            count += 1
    print(f"{count:,} answers exported", file=sys.stderr)
    return 0


def _import(given: argparse.Namespace) -> int:
    from polar_llama.cache import open_cache

    count = 0
    with _stream(given.file, "rb") as lines:
        cache = open_cache(_place(given))
        entries = (_entry(line, number) for number, line in enumerate(lines, 1) if line.strip())
        try:
            while chunk := dict(islice(entries, _CHUNK)):
                cache.put_many(chunk)
                count += len(chunk)
        except _NoAnswerError as error:
            name = "standard input" if given.file == "-" else given.file
            raise ConfigurationError(
                f"{name}: line {error} is not an exported answer; {count:,} answers before it were imported"
            ) from None
    print(f"{count:,} answers imported", file=sys.stderr)
    return 0


class _NoAnswerError(ValueError):
    """A line that `cache export` did not write; its number."""


def _entry(line: bytes | str, number: int) -> tuple[bytes, bytes]:
    from polar_llama.exec.keys import KEY_BYTES

    try:
        entry = json.loads(line)
        key, value = bytes.fromhex(entry["key"]), base64.b64decode(entry["value"], validate=True)
    except (ValueError, KeyError, TypeError):
        raise _NoAnswerError(number) from None
    if len(key) != KEY_BYTES:
        raise _NoAnswerError(number)
    return key, value


@contextmanager
def _stream(file: str, mode: str) -> Iterator[IO[bytes]]:
    if file == "-":
        stream: Any = sys.stdout if mode == "wb" else sys.stdin
        yield getattr(stream, "buffer", stream)
        return
    with open(file, mode) as opened:  # noqa: PTH123 -- a path as the user typed it
        yield opened
