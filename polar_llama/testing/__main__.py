"""`python -m polar_llama.testing`: the emulator as a process of its own.

Prints its URL (the root of every base URL) as the first line and the variables to export after it, then serves
until its standard input, if that is a pipe, ends or it is told to terminate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import math
import os
import signal
import stat
import sys
import threading
from typing import TYPE_CHECKING

from polar_llama.testing.emulator import Emulator, loop_factory
from polar_llama.testing.faults import Faults
from polar_llama.testing.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Serve emulated model servers (OpenAI, Anthropic, Gemini, Groq, Bedrock) on this machine: the same wire formats,
answers made of nothing. Prints its URL and the variables to export, and serves until it is interrupted or its standard
input, if that is a pipe, ends.
"""

_LIMITS = ("requests_per_minute", "tokens_per_minute", "max_in_flight")
_RATES = ("rate_limited", "server_error", "overloaded", "bad_request", "reset", "truncated", "malformed", "slow")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input ends or SIGTERM or SIGINT arrives.

    Args:
        arguments: The command line; None reads the process's.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    limits = {name: getattr(given, name) for name in _LIMITS}
    try:
        faults = Faults(retry_after=given.retry_after, **{rate: getattr(given, rate) for rate in _RATES})
    except ValueError as error:
        parser.error(str(error))
    emulator = Emulator(
        latency=given.latency,
        seed=given.seed,
        limits=Limits(**limits, retry_after=given.retry_after) if any(v is not None for v in limits.values()) else None,
        faults=faults,
        key=given.key,
        record=False,
        host=given.host,
        port=given.port,
    )
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        # Only the pipe of a parent process ends with it; reading from a terminal would stop `polar-llama emulator &`.
        piped = stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
        try:
            runner.run(_serve(emulator, watch=piped and not given.no_stdin))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            hint = "Hint: --port 0 takes a free one"
            parser.exit(1, f"polar-llama: port {given.port} of {given.host} is in use already. {hint}\n")


async def _serve(emulator: Emulator, *, watch: bool) -> None:
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(emulator.serve(lambda: _announce(emulator)))
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, serving.cancel)
    if watch:
        threading.Thread(target=_until_end, args=(loop, serving), daemon=True).start()
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


def _announce(emulator: Emulator) -> None:
    lines = (f"export {name}={value}" for name, value in emulator.environ().items())
    print(emulator.url, *lines, sep="\n", flush=True)


def _latency(text: str) -> tuple[float, float]:
    least, _, most = text.partition("-")
    with contextlib.suppress(ValueError):
        if 0 <= float(least) <= float(most or least) < math.inf:
            return float(least), float(most or least)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds such as 0.1, or least-most such as 0.05-0.2")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port, 0 to 65535")
    return int(text)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _until_end(loop: asyncio.AbstractEventLoop, serving: asyncio.Future[None]) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(serving.cancel)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="polar-llama emulator", description=_DESCRIPTION)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, default=0, help="0 takes a free port")
    parser.add_argument(
        "--latency",
        type=_latency,
        default=(0.0, 0.0),
        metavar="SECONDS",
        help="how long an answer takes, or least-most such as 0.05-0.2",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws other faults and latencies")
    parser.add_argument("--key", help="the only key that is accepted")
    for limit in _LIMITS:
        parser.add_argument(f"--{limit.replace('_', '-')}", type=_limit, metavar="N")
    parser.add_argument("--retry-after", type=float, metavar="SECONDS", help="what refused requests are asked to wait")
    for rate in _RATES:
        flag = f"--{rate.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=0.0, metavar="SHARE", help="share of the requests, 0 to 1")
    parser.add_argument("--no-stdin", action="store_true", help="do not stop when standard input ends")
    return parser


if __name__ == "__main__":
    main()
