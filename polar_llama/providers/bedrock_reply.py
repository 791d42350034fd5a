"""Replies of Bedrock's Converse: text, usage, why the answer ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from polar_llama.providers.base import Response, Usage
from polar_llama.providers.openai_reply import find_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.providers.base import Ask, Finish
    from polar_llama.providers.forms import Form

_FINISH: dict[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
    "tool_use": "tool",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


class NotAnAnswerError(ValueError):
    """A reply that is no answer of Converse's."""


def read_reply(found: Mapping[str, Any], form: Form, ask: Ask) -> Response:
    """The answer in a reply.

    Args:
        found: The reply, as botocore reads it.
        form: How a schema was asked for.
        ask: The call.

    Raises:
        NotAnAnswerError: If it is not an answer.
    """
    try:
        blocks = found["output"]["message"]["content"]
        text = "".join(block["text"] for block in blocks if "text" in block)
        given = [block["toolUse"]["input"] for block in blocks if "toolUse" in block]
        finish: Finish = _FINISH.get(found.get("stopReason", ""), "stop")
    except (KeyError, TypeError, AttributeError):
        raise NotAnAnswerError("a body that is not an answer") from None
    if ask.schema is not None and form != "schema" and finish in {"stop", "tool"}:
        if form == "tool" and given:
            text, finish = to_json(given[0]).decode(), "stop"
        elif not text.startswith("{"):
            text = find_object(text)
    return Response(
        text=text,
        usage=read_usage(found.get("usage")),
        model=ask.model,  # Converse does not say who answered
        finish=finish,
        request_id=found.get("ResponseMetadata", {}).get("RequestId"),
        native=ask.schema is None or form == "schema",
    )


def read_usage(found: Any) -> Usage | None:
    """Tokens as counted by the server; None when it does not say. Inputs are counted in three parts, as Anthropic's."""
    try:
        read, written = int(found.get("cacheReadInputTokens") or 0), int(found.get("cacheWriteInputTokens") or 0)
        return Usage(int(found["inputTokens"]) + read + written, int(found["outputTokens"]), read, written)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
