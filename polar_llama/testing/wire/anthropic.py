"""Anthropic: messages and token counts, of both API versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from polar_llama.testing.answers import EmulatedRequest
from polar_llama.testing.wire.base import (
    MISSING_MODEL,
    RefusedError,
    Task,
    Wire,
    cached_tokens,
    input_tokens,
    names,
    number,
    only,
    seconds,
)
from polar_llama.testing.wire.messages import conversation, parts
from polar_llama.testing.wire.schema import wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.providers.base import Quota, Usage
    from polar_llama.testing.answers import EmulatedAnswer
    from polar_llama.testing.wire.base import Incoming

VERSIONS = ("2023-06-01", "2026-10-21")
MESSAGES = names(
    "model max_tokens messages system stop_sequences output_config thinking tools tool_choice metadata service_tier "
    "speed inference_geo cache_control stream container context_management mcp_servers"
)
SAMPLING = frozenset({"temperature", "top_p", "top_k"})

_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "refusal": "refusal",
    "filtered": "refusal",
    "tool": "tool_use",
    "error": "pause_turn",
}
_ERRORS = {
    "rate_limited": (429, "rate_limit_error"),
    "quota": (402, "billing_error"),
    "server_error": (500, "api_error"),
    "overloaded": (529, "overloaded_error"),
    "bad_request": (400, "invalid_request_error"),
    "too_large": (413, "request_too_large"),
    "auth": (401, "authentication_error"),
    "unknown_model": (404, "not_found_error"),
    "unknown_path": (404, "not_found_error"),
}


def read(incoming: Incoming, path: str) -> Task | str:
    """Understand a request to `/v1` + path."""
    version = incoming.header(b"anthropic-version")
    if version not in VERSIONS:
        raise RefusedError(
            "bad_request",
            "anthropic-version: header is required"
            if version is None
            else f"anthropic-version: '{version}' is unknown",
        )
    if incoming.header(b"x-api-key") is None and incoming.header(b"authorization") is None:
        raise RefusedError("auth", "x-api-key header is required")
    if incoming.method == "POST" and path == "/messages":
        return _messages(incoming.json(), version)
    if incoming.method == "POST" and path == "/messages/count_tokens":
        return json.dumps({"input_tokens": _messages({"max_tokens": 1, **incoming.json()}, version).tokens})
    raise RefusedError("unknown_path", f"Not found: {incoming.method} /v1{path}")


def _messages(body: dict[str, Any], version: str) -> Task:
    known = MESSAGES if version == VERSIONS[1] else MESSAGES | SAMPLING
    only(body, known, "{}: Extra inputs are not permitted".format)
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise RefusedError("bad_request", f"{name}: Field required")
    model = body["model"]
    if not isinstance(model, str) or model == MISSING_MODEL:
        raise RefusedError("unknown_model", f"model: {model}")
    if body["max_tokens"] is None:
        raise RefusedError("bad_request", "max_tokens: Input should be a valid integer")
    number(body, "max_tokens", 1, 2**31, whole=True)
    number(body, "temperature", 0, 1)
    if body.get("stream"):
        raise RefusedError("bad_request", "stream: the emulator does not stream")
    mid_system, messages = conversation(body["messages"], {"user", "assistant", "system"}, {"system"})
    system = _system(body.get("system"), mid_system)
    prompt = next((text for role, text in reversed(messages) if role == "user"), "")
    request = EmulatedRequest("anthropic", model, prompt, system, messages, _schema(body), body["max_tokens"], (), body)
    total = input_tokens(request)
    return Task(request, _write, total, _cached(request, total))


def _system(given: Any, more: str | None) -> str | None:
    told = [] if given is None else [given if isinstance(given, str) else parts(given, "system")]
    return "\n\n".join([*told, *([more] if more else [])]) or None


def _cached(request: EmulatedRequest, total: int) -> int:
    """Caching is asked for here: `cache_control` on the request or on a block of the system prompt."""
    system = request.body.get("system")
    blocks = system if isinstance(system, list) else []
    asked = "cache_control" in request.body or any("cache_control" in block for block in blocks)
    return cached_tokens(request, total, least=512, block=1) if asked else 0


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    config = body.get("output_config") or {}
    if not isinstance(config, dict) or set(config) - {"effort", "format"}:
        raise RefusedError("bad_request", "output_config: Extra inputs are not permitted")
    wanted = config.get("format")
    if wanted is None:
        return _tool_schema(body)
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema" or set(wanted) != {"type", "schema"}:
        raise RefusedError("bad_request", "output_config.format: expected an object of type 'json_schema' and schema")
    if not isinstance(wanted["schema"], dict) or (why := wrong(wanted["schema"], "anthropic")):
        raise RefusedError(
            "bad_request",
            f"output_config.format.schema: {why if isinstance(wanted['schema'], dict) else 'expected an object'}",
        )
    return wanted["schema"]


def _tool_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The input schema of the tool that the model is made to call."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return None
    for tool in body.get("tools") or ():
        if tool.get("name") == choice.get("name"):
            found: dict[str, Any] = tool.get("input_schema", {})
            return found
    raise RefusedError("bad_request", f"tool_choice: Tool '{choice.get('name')}' not found in provided tools")


def _write(request: EmulatedRequest, answer: EmulatedAnswer, usage: Usage) -> str:
    choice = request.body.get("tool_choice")
    finish = _FINISH[answer.finish]
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text, "citations": None}]
    if isinstance(choice, dict) and choice.get("type") == "tool" and answer.finish == "stop":
        given = json.loads(answer.text)
        content = [{"type": "tool_use", "id": "toolu_1", "name": choice["name"], "input": given}]
        finish = "tool_use"
    refused = {"type": "refusal", "category": None, "explanation": answer.text or None}
    shown = {
        "id": "msg_emulated",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content if answer.text else [],
        "stop_reason": finish,
        "stop_sequence": None,
        "stop_details": refused if finish == "refusal" else None,
        "usage": {
            "input_tokens": usage.input - usage.cached - usage.cache_write,
            "cache_creation_input_tokens": usage.cache_write,
            "cache_read_input_tokens": usage.cached,
            "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_write, "ephemeral_1h_input_tokens": 0},
            "output_tokens": usage.output,
            "output_tokens_details": {"thinking_tokens": usage.reasoning},
            "service_tier": "standard",
        },
    }
    return json.dumps(shown)


def _error(refused: RefusedError, request_id: str) -> tuple[int, str, str]:
    status, kind = _ERRORS[refused.kind]
    shown = {"type": "error", "error": {"type": kind, "message": refused.message}, "request_id": request_id}
    lines = "" if refused.retry_after is None else f"retry-after: {seconds(refused.retry_after)}\r\n"
    return status, lines, json.dumps(shown)


def _head(request_id: str, quota: Quota | None) -> str:
    lines = f"request-id: {request_id}\r\nanthropic-organization-id: emulator\r\n"
    if quota is None:
        return lines
    told = (
        ("requests", quota.requests_limit, quota.requests_remaining, quota.requests_reset),
        ("tokens", quota.tokens_limit, quota.tokens_remaining, quota.tokens_reset),
        ("input-tokens", quota.tokens_limit, quota.tokens_remaining, quota.tokens_reset),
    )
    for what, limit, remaining, reset in told:
        if limit is not None:
            at = f"{datetime.now(UTC) + timedelta(seconds=reset or 0):%Y-%m-%dT%H:%M:%SZ}"
            name = f"anthropic-ratelimit-{what}"
            lines += f"{name}-limit: {limit}\r\n{name}-remaining: {remaining}\r\n{name}-reset: {at}\r\n"
    return lines


def _key(incoming: Incoming) -> str | None:
    bearer = (incoming.header(b"authorization") or "").removeprefix("Bearer ")
    return incoming.header(b"x-api-key") or bearer or None


WIRE = Wire(
    name="anthropic",
    prefix="/anthropic/v1",
    base="/anthropic",
    environ=lambda url, key: {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": key},
    key=_key,
    read=read,
    error=_error,
    head=_head,
)
