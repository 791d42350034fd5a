"""Groq: OpenAI's shape with fields of its own, and without some of OpenAI's."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from polar_llama.testing.wire import chat, openai, quota
from polar_llama.testing.wire.base import RefusedError, Task, Wire, cached_tokens, input_tokens, names, only

if TYPE_CHECKING:
    from polar_llama.providers.base import Quota, Usage
    from polar_llama.testing.answers import EmulatedAnswer, EmulatedRequest
    from polar_llama.testing.wire.base import Incoming

CHAT = names(
    "model messages max_completion_tokens max_tokens temperature top_p seed stop n reasoning_effort reasoning_format "
    "include_reasoning service_tier stream stream_options response_format tools tool_choice parallel_tool_calls user "
    "search_settings documents citation_options compound_custom disable_tool_validation"
)
_MODELS = ("openai/gpt-oss-20b", "openai/gpt-oss-120b", "qwen/qwen3.8-27b")
_EFFORTS = frozenset({"none", "default", "low", "medium", "high"})


def read(incoming: Incoming, path: str) -> Task | str:
    """Understand a request to `/openai/v1` + path."""
    if incoming.method == "POST" and path == "/chat/completions":
        return _chat(incoming.json())
    if incoming.method == "GET" and path == "/models":
        shown = [{"id": m, "object": "model", "created": 1_790_000_000, "owned_by": "emulator"} for m in _MODELS]
        return json.dumps({"object": "list", "data": shown})
    raise RefusedError(
        "unknown_path", f"Unknown request URL: {incoming.method} /openai/v1{path}. Please check the URL for typos."
    )


def _chat(body: dict[str, Any]) -> Task:
    only(body, CHAT, "property '{}' is unsupported".format)
    chat.check_model(body)
    chat.check_sampling(body)
    if body.get("reasoning_effort", "default") not in _EFFORTS:
        raise RefusedError(
            "bad_request", f"reasoning_effort must be one of {', '.join(sorted(_EFFORTS))}", param="reasoning_effort"
        )
    if "reasoning_format" in body and "include_reasoning" in body:
        raise RefusedError(
            "bad_request", "reasoning_format and include_reasoning cannot both be given", param="reasoning_format"
        )
    request = chat.understand("groq", body, body.get("max_completion_tokens") or body.get("max_tokens"))
    total = input_tokens(request)
    return Task(request, _write, total, cached_tokens(request, total))


def _write(request: EmulatedRequest, answer: EmulatedAnswer, usage: Usage) -> str:
    shown, finish = chat.message(request, answer)
    finish = "stop" if finish == "content_filter" else finish  # Groq has no such finish reason
    now = int(time.time())
    times = ',"queue_time":0.001,"prompt_time":0.001,"completion_time":0.001,"total_time":0.003'
    return (
        f'{{"id":"chatcmpl-{now:x}","object":"chat.completion","created":{now},"model":{json.dumps(request.model)},'
        f'"choices":[{{"index":0,"message":{shown},"logprobs":null,"finish_reason":"{finish}"}}],'
        f'"usage":{chat.usage_json(usage, times)},"service_tier":"on_demand","system_fingerprint":"fp_emulator",'
        f'"x_groq":{{"id":"req_{now:x}"}}}}'
    )


def _error(refused: RefusedError, request_id: str) -> tuple[int, str, str]:
    status, _, body = openai.error(refused, request_id)
    lines = "" if status != 429 else quota.retry_lines(refused, milliseconds=False)  # noqa: PLR2004 -- a status
    return status, lines, body


def _head(request_id: str, left: Quota | None) -> str:
    return f"x-request-id: {request_id}\r\n{quota.quota_lines(left)}"


WIRE = Wire(
    name="groq",
    prefix="/groq/openai/v1",
    base="/groq",
    environ=lambda url, key: {"GROQ_BASE_URL": url, "GROQ_API_KEY": key},
    key=chat.bearer,
    read=read,
    error=_error,
    head=_head,
)
