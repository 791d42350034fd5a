"""Replies of Anthropic's messages: text, usage, why the answer ended, limits, errors."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from polar_llama.providers.base import Quota, Response, Usage
from polar_llama.providers.errors import Problem
from polar_llama.providers.headers import http_date
from polar_llama.providers.openai_reply import find_object
from polar_llama.providers.wire import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polar_llama.providers.base import Ask, Finish, Kind
    from polar_llama.providers.forms import Form
    from polar_llama.transport.base import Reply

_FINISH: dict[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "tool_use": "tool",
    "pause_turn": "error",
}


class NotAMessageError(ValueError):
    """A body that is JSON, but no message of Anthropic's."""


def read_reply(reply: Reply, found: Any, form: Form, ask: Ask) -> Response:
    """The answer in a reply with status 200.

    Args:
        reply: The reply, for its headers.
        found: Its body, parsed.
        form: How a schema was asked for.
        ask: The call.

    Raises:
        NotAMessageError: If the body is not a message.
    """
    try:
        blocks = found["content"]
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        given = [block["input"] for block in blocks if block["type"] == "tool_use"]
        model, named, ended = found.get("model"), found.get("id"), found.get("stop_reason")
    except (KeyError, TypeError, AttributeError):
        raise NotAMessageError("a body that is not a message") from None
    finish: Finish = _FINISH.get(ended, "stop") if isinstance(ended, str) else "stop"
    if ask.schema is not None and form != "schema" and finish in {"stop", "tool"}:
        if form == "tool" and given:
            text, finish = to_json(given[0]).decode(), "stop"
        elif not text.startswith("{"):
            text = find_object(text)
    return Response(
        text=text,
        usage=read_usage(found.get("usage")),
        model=model if isinstance(model, str) else None,
        finish=finish,
        request_id=reply.headers.get("request-id") or (named if isinstance(named, str) else None),
        quota=read_quota(reply.headers),
        native=ask.schema is None or form == "schema",
    )


def read_usage(found: Any) -> Usage | None:
    """Tokens as counted by the server; None when it does not say.

    Anthropic counts inputs in three parts: neither read from its cache nor written to it, read, written.
    """
    try:
        read, written = (
            int(found.get("cache_read_input_tokens") or 0),
            int(found.get("cache_creation_input_tokens") or 0),
        )
        details = found.get("output_tokens_details") or {}
        return Usage(
            input=int(found["input_tokens"]) + read + written,
            output=int(found["output_tokens"]),
            cached=read,
            cache_write=written,
            reasoning=int(details.get("thinking_tokens") or 0),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def read_quota(headers: Mapping[str, str], clock: Callable[[], float] = time.time) -> Quota | None:
    """The rate limits in a reply's headers; resets are given as times of day.

    Of the token limits the one on all tokens, which Anthropic says is the strictest in force; else the one on inputs.
    """
    said = http_date(headers.get("date"))
    now = clock() if said is None else said
    kind = "tokens" if "anthropic-ratelimit-tokens-limit" in headers else "input-tokens"
    requests, tokens = (
        (_count(headers.get(f"{name}-limit")), _count(headers.get(f"{name}-remaining")),
         _until(headers.get(f"{name}-reset"), now))
        for name in ("anthropic-ratelimit-requests", f"anthropic-ratelimit-{kind}")
    )  # fmt: skip
    return None if (*requests, *tokens) == (None,) * 6 else Quota(*requests, *tokens)


def judge(reply: Reply, problem: Problem) -> Verdict:
    """What an error reply says: a spent budget comes as 400 or as 429 with a code in its details."""
    try:
        code = from_json(reply.body)["error"]["details"]["error_code"]
    except (ValueError, KeyError, TypeError):
        code = None
    if isinstance(code, str):
        problem = Problem(problem.message, problem.type, code)
    kind: Kind | None = None
    if code == "enforced_spend_limit_reached" or "credit balance is too low" in problem.message:
        kind = "quota"
    return Verdict(kind, quota=read_quota(reply.headers), problem=problem)


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _until(text: str | None, now: float) -> float | None:
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - now) if text else None
    except (ValueError, OverflowError):
        return None
