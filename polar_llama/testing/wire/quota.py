"""Rate limits as header lines, the way OpenAI and those who followed write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.testing.wire.base import seconds

if TYPE_CHECKING:
    from polar_llama.providers.base import Quota
    from polar_llama.testing.wire.base import RefusedError


def retry_lines(refused: RefusedError, *, milliseconds: bool = True) -> str:
    """When to come back, as header lines."""
    wait = refused.retry_after
    if wait is None:
        return ""
    exact = f"retry-after-ms: {wait * 1000:.0f}\r\n" if milliseconds else ""
    return f"{exact}retry-after: {seconds(wait)}\r\n"


def quota_lines(quota: Quota | None) -> str:
    """The `x-ratelimit-*` lines; resets are durations as Go writes them."""
    lines = ""
    if quota is None:
        return lines
    if quota.requests_limit is not None:
        lines += (
            f"x-ratelimit-limit-requests: {quota.requests_limit}\r\n"
            f"x-ratelimit-remaining-requests: {quota.requests_remaining}\r\n"
            f"x-ratelimit-reset-requests: {duration(quota.requests_reset or 0)}\r\n"
        )
    if quota.tokens_limit is not None:
        lines += (
            f"x-ratelimit-limit-tokens: {quota.tokens_limit}\r\n"
            f"x-ratelimit-remaining-tokens: {quota.tokens_remaining}\r\n"
            f"x-ratelimit-reset-tokens: {duration(quota.tokens_reset or 0)}\r\n"
        )
    return lines


def duration(wait: float) -> str:
    """A duration as Go writes it.

    >>> duration(0.12), duration(59.5), duration(361), duration(0)
    ('120ms', '59.5s', '6m1s', '0s')
    """
    if 0 < wait < 1:
        return f"{wait * 1000:.0f}ms"
    minutes, rest = divmod(wait, 60)
    return (f"{minutes:.0f}m" if minutes else "") + seconds(rest) + "s"
