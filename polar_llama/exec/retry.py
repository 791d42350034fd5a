"""Whether and when a request that failed is sent again: pure, the random number is an argument."""

from __future__ import annotations

from dataclasses import replace

from polar_llama.providers.base import FATAL, HEALS, Failure

FIRST = 0.5
"""Seconds: the widest first wait; each further one may be twice as long."""

LONGEST = 8.0
"""Seconds: the widest wait of our own choosing (the vendors' SDKs use the same)."""

SPREAD = 0.05
"""The share of a server's wish that is waited on top at most: requests refused together part ways."""

PATIENCE = 120.0
"""Seconds: a server that asks for more is not waited for (OpenAI's SDK draws the same line)."""


SILENT = 4
"""So many requests without any reply, one after the other, and nothing new is sent before one comes."""

EXCUSED = 4
"""A server with a limit answers some and refuses others: so many times `max_retries` is a request refused, while others
are answered, without using up its tries."""

_OVERLOADED = frozenset({429, 503, 529})


def is_refusal(failure: Failure) -> bool:
    """Whether the server said that it is asked too much."""
    return failure.kind == "rate_limited" or failure.status in _OVERLOADED


def wait(failure: Failure, failures: int, max_retries: int, draw: float) -> float | None:
    """Seconds until the request is sent again, or None when it is given up.

    The server's own wish is obeyed (and a little more); without one the wait is drawn from all of
    `[0, min(LONGEST, FIRST * 2**failures))`, so requests that failed together do not return together.

    Args:
        failure: What happened.
        failures: How often this request had failed before, as far as that counts.
        max_retries: How often a request is sent again.
        draw: A random number in [0, 1).
    """
    if failure.kind not in HEALS or failures >= max_retries:
        return None
    if failure.retry_after is None:
        return draw * min(LONGEST, FIRST * 2.0 ** max(0, min(failures, 16)))
    if failure.retry_after > PATIENCE:
        return None
    return max(0.0, failure.retry_after) * (1 + SPREAD * draw)


def given_up(failure: Failure, failures: int, max_retries: int) -> Failure:
    """The failure as its row tells it: why there was no further try."""
    if failure.kind not in HEALS:
        return failure
    if failures < max_retries and failure.retry_after is not None:
        why = (
            f"the server asks to wait {failure.retry_after:,.0f} s, longer than the {PATIENCE:.0f} s a run waits; "
            "run again later"
        )
    else:
        why = f"given up after {failures + 1} {'try' if failures == 0 else 'tries'}"
    return replace(failure, message=f"{failure.message} ({why})")


def hopeless(failure: Failure, host: str, silence: int, max_retries: int) -> Failure | None:
    """Why nothing more is sent to a provider after a request that was given up, or None.

    Args:
        failure: What happened.
        host: Who was asked.
        silence: So many requests before it, one after the other, had no reply at all.
        max_retries: How often a request is sent again.
    """
    if failure.kind in FATAL:
        return Failure("stopped", f"not sent, because {host} refused: {failure.message}")
    if failure.kind == "network" and silence >= max(SILENT, max_retries + 1):
        return Failure("network", f"cannot reach {host} ({failure.message}); nothing more was sent to it")
    return None
