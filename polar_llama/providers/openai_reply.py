"""Replies of chat completions: text, usage, and why the answer ended."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from polar_llama.providers.base import Response, Usage
from polar_llama.providers.headers import quota

if TYPE_CHECKING:
    from polar_llama.providers.base import Finish
    from polar_llama.transport.base import Reply

_FINISH: dict[str, Finish] = {
    "length": "length",
    "content_filter": "filtered",
    "tool_calls": "tool",
    "function_call": "tool",
    "error": "error",
    "abort": "error",
}
MAX_BEGINNINGS = 64
"""How many opening braces are tried as the beginning of the object."""

_FENCED = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)


class NotACompletionError(ValueError):
    """A body that is JSON, but no chat completion."""


def read_reply(reply: Reply, found: Any, *, native: bool = True) -> Response:
    """The answer in a reply with status 200.

    Args:
        reply: The reply, for its headers.
        found: Its body, parsed.
        native: Whether the server enforced the schema.

    Raises:
        NotACompletionError: If the body is not a chat completion.
    """
    try:
        choice = found["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        ended = choice.get("finish_reason")
        model, named = found.get("model"), found.get("id")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NotACompletionError("a body that is not a chat completion") from None
    if isinstance(content, list):  # Mistral's and some gateways' parts
        content = "".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
    if not isinstance(content, str | None):
        raise NotACompletionError("a message whose content is not text")
    finish: Finish = "refusal" if refusal else _FINISH.get(ended, "stop") if isinstance(ended, str) else "stop"
    return Response(
        text=content or "",
        usage=read_usage(found.get("usage")),
        model=model if isinstance(model, str) else None,
        finish=finish,
        request_id=reply.headers.get("x-request-id") or (named if isinstance(named, str) else None),
        quota=quota(reply.headers),
        native=native,
    )


def read_usage(found: Any) -> Usage | None:
    """Tokens as counted by the server; None when it does not say, or says it unintelligibly."""
    try:
        inputs, outputs = found.get("prompt_tokens_details") or {}, found.get("completion_tokens_details") or {}
        return Usage(
            input=int(found["prompt_tokens"]),
            output=int(found.get("completion_tokens") or 0),
            cached=int(inputs.get("cached_tokens") or 0),
            cache_write=int(inputs.get("cache_write_tokens") or 0),
            reasoning=int(outputs.get("reasoning_tokens") or 0),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def find_object(text: str) -> str:
    """The JSON object in an answer that may have words, fences or thoughts around it; else the text itself.

    >>> find_object('Sure! {"n": 1} is it.')
    '{"n": 1}'
    """
    fenced: list[str] = _FENCED.findall(text)
    decoder = json.JSONDecoder()
    for candidate in (*reversed(fenced), text.rpartition("</think>")[2], text):
        start = candidate.find("{")
        for _ in range(MAX_BEGINNINGS):
            if start < 0:
                break
            try:
                _, end = decoder.raw_decode(candidate, start)
            except (ValueError, RecursionError):
                start = candidate.find("{", start + 1)
            else:
                return candidate[start:end]
    return text
