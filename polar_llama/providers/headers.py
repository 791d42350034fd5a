"""What reply headers say about waiting: `retry-after`, and OpenAI's `x-ratelimit-*`."""

from __future__ import annotations

import math
import re
import time
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from polar_llama.providers.base import Quota

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|μs|ns)")


def retry_after(headers: Mapping[str, str], clock: Callable[[], float] = time.time) -> float | None:
    """Seconds to wait before asking again, or None when the server does not say.

    Args:
        headers: The reply's headers. `retry-after-ms` goes before `retry-after`, which is a number of
            seconds or a date; a date counts from the reply's own `date`.
        clock: The time in seconds since 1970, for replies without a `date`.
    """
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        found = _number(headers.get(name))
        if found is not None:
            return found * scale
    until = http_date(headers.get("retry-after"))
    if until is None:
        return None
    now = http_date(headers.get("date"))
    return max(0.0, until - (clock() if now is None else now))


def quota(headers: Mapping[str, str]) -> Quota | None:
    """The rate limits in the headers of OpenAI and those who follow it, or None when there are none."""
    get = headers.get
    values = (
        _count(get("x-ratelimit-limit-requests")),
        _count(get("x-ratelimit-remaining-requests")),
        duration(get("x-ratelimit-reset-requests")),
        _count(get("x-ratelimit-limit-tokens")),
        _count(get("x-ratelimit-remaining-tokens")),
        duration(get("x-ratelimit-reset-tokens")),
    )
    return None if values == (None,) * 6 else Quota(*values)


@lru_cache(maxsize=1024)
def duration(text: str | None) -> float | None:
    """Seconds of a duration as Go writes it, or of a plain number; None for anything else.

    >>> duration("6m0s"), duration("1.5s"), duration("120ms"), duration("2"), duration("soon")
    (360.0, 1.5, 0.12, 2.0, None)
    """
    if not text:
        return None
    parts = _PART.findall(text)
    if parts and "".join(n + u for n, u in parts) == text:
        return math.fsum(float(n) * _UNITS[u] for n, u in parts)
    return _number(text)


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 0 <= found < math.inf else None


def _count(text: str | None) -> int | None:
    found = None if text is None else _number(text)
    return None if found is None else int(found)


def http_date(text: str | None) -> float | None:
    """Seconds since 1970 of a date as HTTP writes it; None for anything else."""
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
