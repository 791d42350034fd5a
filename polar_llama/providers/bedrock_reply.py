"""Replies of Bedrock's Converse: text, usage, why the answer ended, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from polar_llama.providers.base import Response, Usage
from polar_llama.providers.errors import Problem, failure
from polar_llama.providers.openai_reply import find_object
from polar_llama.transport.base import Reply

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from polar_llama.providers.base import Ask, Failure, Finish, Kind, Request
    from polar_llama.providers.forms import Form

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")

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
_KINDS: dict[str, Kind] = {
    "ThrottlingException": "rate_limited",
    "ModelNotReadyException": "rate_limited",
    "ModelTimeoutException": "timeout",
    "ModelErrorException": "overloaded",
    "ServiceQuotaExceededException": "quota",
    "AccessDeniedException": "auth",
    "UnrecognizedClientException": "auth",
    "InvalidSignatureException": "auth",
    "ExpiredTokenException": "auth",
    "ResourceNotFoundException": "unknown_model",
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


def problem_in(
    response: Mapping[str, Any], request: Request, host: str, secrets: Collection[str]
) -> tuple[Failure, Problem]:
    """The failure that an error of Amazon's stands for.

    Args:
        response: The error, as botocore reads it.
        request: What was asked: none of its text is shown.
        host: Who answered.
        secrets: Credentials: a message that holds one is not shown.
    """
    error, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if any(secret in message for secret in secrets):
        message = ""
    kind = _KINDS.get(code)
    if code == "ThrottlingException" and "per day" in message:
        kind = "quota"
    elif code == "ValidationException" and "model identifier is invalid" in message:
        kind = "unknown_model"
    problem = Problem(message, code=code)
    reply = Reply(int(about.get("HTTPStatusCode", 0)), about.get("HTTPHeaders", {}), b"")
    key = next(iter(secrets), None)
    said = failure(reply, problem, request, host=host, key=key, variable="the AWS credentials", kind=kind)
    return said, problem
