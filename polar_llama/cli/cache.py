"""`polar-llama cache`: what is cached, and carrying it elsewhere."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import sys
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def _opened(given: argparse.Namespace) -> DiskCache:
    from polar_llama import settings
    from polar_llama.cache import open_cache

    with settings.session(**({"cache_dir": given.directory} if given.directory else {})):
        return open_cache(settings.current().cache_dir)


def _info(given: argparse.Namespace) -> int:
    info = _opened(given).info()
    print(f"{info.entries:,} answers, {info.bytes_on_disk:,} bytes on disk, in {info.directory}")
    return 0


def _clear(given: argparse.Namespace) -> int:
    cache = _opened(given)
    entries = cache.info().entries
    if entries and not given.yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("clearing forgets answers that were paid for: say so with --yes")
        if input(f"Forget {entries:,} answers in {cache.directory}? [y/N] ").strip().lower() not in {"y", "yes"}:
            print("nothing was forgotten")
            return 1
    print(f"{cache.clear():,} answers forgotten")
    return 0


def _export(given: argparse.Namespace) -> int:
    count = 0
    with _stream(given.file, "w") as out:
        for key, value in _opened(given).items():
            line = {"key": key.hex(), "value": base64.b64encode(value).decode()}
            out.write(json.dumps(line, separators=(",", ":")) + "\n")
            count += 1
    print(f"{count:,} answers exported", file=sys.stderr)
    return 0


def _import(given: argparse.Namespace) -> int:
    cache, count = _opened(given), 0
    with _stream(given.file, "r") as lines:
        entries = (_entry(line, number) for number, line in enumerate(lines, 1) if line.strip())
        while chunk := dict(islice(entries, _CHUNK)):
            cache.put_many(chunk)
            count += len(chunk)
    print(f"{count:,} answers imported", file=sys.stderr)
    return 0


def _entry(line: str, number: int) -> tuple[bytes, bytes]:
    try:
        entry = json.loads(line)
        return bytes.fromhex(entry["key"]), base64.b64decode(entry["value"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise ConfigurationError(
            f"line {number} is not an exported answer; the lines before it were imported or skipped"
        ) from None


@contextmanager
def _stream(file: str, mode: str) -> Iterator[IO[str]]:
    if file == "-":
        yield sys.stdout if mode == "w" else sys.stdin
        return
    with open(file, mode, encoding="utf-8") as opened:  # noqa: PTH123 -- a path as the user typed it
        yield opened
