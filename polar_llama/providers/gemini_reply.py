"""Replies of Gemini's generateContent: text, usage, why the answer ended, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from polar_llama.providers.base import Response, Usage
from polar_llama.providers.errors import Problem
from polar_llama.providers.headers import duration
from polar_llama.providers.openai_reply import find_object
from polar_llama.providers.wire import Verdict

if TYPE_CHECKING:
    from polar_llama.providers.base import Ask, Finish, Kind
    from polar_llama.providers.forms import Form
    from polar_llama.transport.base import Reply

_FINISH: dict[str, Finish] = {
    "STOP": "stop",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "filtered",
    "RECITATION": "filtered",
    "BLOCKLIST": "filtered",
    "PROHIBITED_CONTENT": "filtered",
    "SPII": "filtered",
    "MODEL_ARMOR": "filtered",
    "ESCALATION": "filtered",
}
"""`IMAGE_…` is filtered too; all others (`MALFORMED_…`, `LANGUAGE`, `OTHER`) are errors of the model."""


_WRONG_KEY = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"})


class NotAnAnswerError(ValueError):
    """A body that is JSON, but no answer of generateContent."""


def read_reply(found: Any, form: Form, ask: Ask) -> Response:
    """The answer in a reply with status 200; a blocked prompt has no candidate.

    Args:
        found: The reply's body, parsed.
        form: How a schema was asked for.
        ask: The call.

    Raises:
        NotAnAnswerError: If the body is not an answer.
    """
    try:
        model, named, usage = found.get("modelVersion"), found.get("responseId"), found.get("usageMetadata")
        text, finish = _said(found)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NotAnAnswerError("a body that is not an answer") from None
    if ask.schema is not None and form != "schema" and finish == "stop" and not text.startswith("{"):
        text = find_object(text)
    return Response(
        text=text,
        usage=read_usage(usage),
        model=model if isinstance(model, str) else None,
        finish=finish,
        request_id=named if isinstance(named, str) else None,
        native=ask.schema is None or form == "schema",
    )


def _said(found: Any) -> tuple[str, Finish]:
    candidates = found.get("candidates")
    if not candidates:
        if (found.get("promptFeedback") or {}).get("blockReason"):
            return "", "filtered"
        raise NotAnAnswerError("neither a candidate nor a reason for having none")
    candidate = candidates[0]
    parts = (candidate.get("content") or {}).get("parts") or ()
    text = "".join(part.get("text") or "" for part in parts if not part.get("thought"))
    ended = candidate.get("finishReason")
    if ended is None:
        return text, "stop"
    return text, _FINISH.get(ended, "filtered" if ended.startswith("IMAGE_") else "error")


def read_usage(found: Any) -> Usage | None:
    """Tokens as counted by the server; None when it does not say. Thoughts are counted, and billed, as output."""
    try:
        thoughts = int(found.get("thoughtsTokenCount") or 0)
        return Usage(
            input=int(found["promptTokenCount"]) + int(found.get("toolUsePromptTokenCount") or 0),
            output=int(found.get("candidatesTokenCount") or 0) + thoughts,
            cached=int(found.get("cachedContentTokenCount") or 0),
            reasoning=thoughts,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def judge(reply: Reply, problem: Problem) -> Verdict:
    """What an error reply says: its status by name, and in its details how long to wait and what was spent.

    A wrong key is a 400. A quota by the day is not worth waiting for.
    """
    error = _error(reply.body)
    details = [d for d in error.get("details") or () if isinstance(d, dict)]
    wait, reason, spent = None, "", False
    for detail in details:
        wait = duration(_text(detail.get("retryDelay"))) if "retryDelay" in detail else wait
        reason = _text(detail.get("reason")) or reason
        violations = detail.get("violations") or ()
        spent = spent or any("PerDay" in _text(v.get("quotaId")) for v in violations if isinstance(v, dict))
    kind: Kind | None = None
    if reason in _WRONG_KEY or "API key not valid" in problem.message:
        kind = "auth"
    elif reply.status == 429 and (spent or "billing" in reason.lower()):  # noqa: PLR2004
        kind = "quota"
    return Verdict(kind, wait, None, Problem(problem.message, _text(error.get("status")), reason))


def _error(body: bytes) -> dict[str, Any]:
    try:
        found = from_json(body)
        error = (found[0] if isinstance(found, list) else found)["error"]
    except (ValueError, KeyError, IndexError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
