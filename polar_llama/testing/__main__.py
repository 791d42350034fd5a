"""`python -m polar_llama.testing`: the emulator as a process of its own.

Prints its URL (the root of every base URL) as the first line, then serves until its standard
input ends or it is told to terminate.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from polar_llama.testing.emulator import Emulator, loop_factory
from polar_llama.testing.faults import Faults
from polar_llama.testing.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

_RATES = ("rate_limited", "server_error", "overloaded", "bad_request", "reset", "truncated", "malformed", "slow")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input ends or SIGTERM or SIGINT arrives.

    Args:
        arguments: The command line; None reads the process's.
    """
    given = _parser().parse_args(arguments)
    least, _, most = given.latency.partition("-")
    emulator = Emulator(
        latency=(float(least), float(most or least)),
        seed=given.seed,
        limits=Limits(
            requests_per_minute=given.requests_per_minute,
            tokens_per_minute=given.tokens_per_minute,
            max_in_flight=given.max_in_flight,
            retry_after=given.retry_after,
        )
        if given.requests_per_minute or given.tokens_per_minute or given.max_in_flight
        else None,
        faults=Faults(retry_after=given.retry_after, **{rate: getattr(given, rate) for rate in _RATES}),
        key=given.key,
        record=False,
        host=given.host,
        port=given.port,
    )
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(emulator, watch=not given.no_stdin))


async def _serve(emulator: Emulator, *, watch: bool) -> None:
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(emulator.serve(lambda: print(emulator.url, flush=True)))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    if watch:
        threading.Thread(target=_until_end, args=(loop, serving), daemon=True).start()
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


def _until_end(loop: asyncio.AbstractEventLoop, serving: asyncio.Future[None]) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(serving.cancel)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="polar-llama emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--latency", default="0", help="seconds, or least-most such as 0.05-0.2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", help="the only key that is accepted")
    parser.add_argument("--requests-per-minute", type=int)
    parser.add_argument("--tokens-per-minute", type=int)
    parser.add_argument("--max-in-flight", type=int)
    parser.add_argument("--retry-after", type=float, help="seconds")
    for rate in _RATES:
        flag = f"--{rate.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=0.0, help="share of the requests, 0 to 1")
    parser.add_argument("--no-stdin", action="store_true", help="do not stop when standard input ends")
    return parser


if __name__ == "__main__":
    main()
