"""OpenAI: chat completions, embeddings, models."""

from __future__ import annotations

import json
import re
import time
from array import array
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from polar_llama.testing.answers import EmulatedRequest, answer_vector
from polar_llama.testing.wire.base import (
    RefusedError,
    Task,
    Wire,
    cached_tokens,
    input_tokens,
    names,
    number,
    only,
    tokens,
)
from polar_llama.testing.wire.chat import bearer, check_model, check_sampling, message, understand, usage_json
from polar_llama.testing.wire.quota import quota_lines, retry_lines

if TYPE_CHECKING:
    from polar_llama.providers.base import Quota, Usage
    from polar_llama.testing.answers import EmulatedAnswer
    from polar_llama.testing.wire.base import Incoming

CHAT = names(
    "model messages max_completion_tokens max_tokens temperature top_p seed stop n reasoning_effort verbosity "
    "service_tier logprobs top_logprobs logit_bias prompt_cache_key prompt_cache_options prompt_cache_retention "
    "safety_identifier user metadata store stream stream_options response_format tools tool_choice "
    "parallel_tool_calls frequency_penalty presence_penalty modalities prediction audio web_search_options "
    "functions function_call"
)
EMBED = frozenset({"model", "input", "dimensions", "encoding_format", "user"})

_MODELS = ("gpt-6-luna", "gpt-6-sol", "gpt-5.4-mini", "text-embedding-3-small", "text-embedding-3-large")
_DIMENSIONS = {"text-embedding-3-large": 3072}
_REASONING = re.compile(r"o\d|gpt-[5-9]")
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_MAX_INPUTS, _MAX_INPUT_TOKENS = 2048, 300_000
_ERRORS = {
    "rate_limited": (429, "requests", "rate_limit_exceeded"),
    "quota": (429, "insufficient_quota", "insufficient_quota"),
    "server_error": (500, "server_error", None),
    "overloaded": (503, "server_error", None),
    "bad_request": (400, "invalid_request_error", None),
    "too_large": (413, "invalid_request_error", None),
    "auth": (401, "invalid_request_error", "invalid_api_key"),
    "unknown_model": (404, "invalid_request_error", "model_not_found"),
    "unknown_path": (404, "invalid_request_error", "unknown_url"),
}


def read(incoming: Incoming, path: str) -> Task | str:
    """Understand a request to `/v1` + path."""
    if incoming.method == "POST" and path == "/chat/completions":
        return chat(incoming.json())
    if incoming.method == "POST" and path == "/embeddings":
        return embeddings(incoming.json())
    if incoming.method == "GET" and path == "/models":
        return json.dumps({"object": "list", "data": [_model(name) for name in _MODELS]})
    if incoming.method == "GET" and path.startswith("/models/"):
        name = path.removeprefix("/models/")
        check_model({"model": name})
        return json.dumps(_model(name))
    raise RefusedError("unknown_path", f"Invalid URL ({incoming.method} /v1{path})")


def chat(body: dict[str, Any]) -> Task:
    """Check and understand a chat completion."""
    only(body, CHAT, "Unrecognized request argument supplied: {}".format)
    model = check_model(body)
    check_sampling(body)
    reasons = _REASONING.match(model) is not None
    if reasons and "max_tokens" in body:
        raise RefusedError(
            "bad_request",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    effort = body.get("reasoning_effort") or "none"
    if effort not in _EFFORTS:
        raise RefusedError(
            "bad_request",
            f"Invalid value: 'reasoning_effort' must be one of {', '.join(sorted(_EFFORTS))}.",
            param="reasoning_effort",
            code="invalid_value",
        )
    if reasons and effort != "none" and body.get("temperature", 1) != 1:
        raise RefusedError(
            "bad_request",
            "Unsupported value: 'temperature' supports only the default (1) with this model and reasoning effort.",
            param="temperature",
            code="unsupported_value",
        )
    request = understand("openai", body, body.get("max_completion_tokens") or body.get("max_tokens"))
    total = input_tokens(request)
    return Task(request, _write_chat, total, cached_tokens(request, total))


def _write_chat(request: EmulatedRequest, answer: EmulatedAnswer, usage: Usage) -> str:
    shown, finish = message(request, answer)
    now = int(time.time())
    return (
        f'{{"id":"chatcmpl-{now:x}","object":"chat.completion","created":{now},"model":{json.dumps(request.model)},'
        f'"choices":[{{"index":0,"message":{shown},"logprobs":null,"finish_reason":"{finish}"}}],'
        f'"usage":{usage_json(usage)},"service_tier":"default","system_fingerprint":"fp_emulator"}}'
    )


def embeddings(body: dict[str, Any]) -> Task:
    """Check and understand a request for embeddings."""
    only(body, EMBED, "Unrecognized request argument supplied: {}".format)
    model = check_model(body)
    number(body, "dimensions", 1, 16_384, whole=True)
    if body.get("encoding_format", "float") not in {"float", "base64"}:
        raise RefusedError(
            "bad_request", "Invalid value for 'encoding_format': expected 'float' or 'base64'.", param="encoding_format"
        )
    texts = _inputs(body.get("input"))
    total = sum(map(tokens, texts))
    if total > _MAX_INPUT_TOKENS:
        raise RefusedError(
            "bad_request",
            f"Invalid 'input': maximum request size is {_MAX_INPUT_TOKENS} tokens per request.",
            param="input",
            code="max_tokens_per_request",
        )
    return Task(EmulatedRequest("openai", model, texts[-1], inputs=texts, body=body), _write_embeddings, total)


def _inputs(given: Any) -> tuple[str, ...]:
    """The texts; lists of token numbers count as the text of their list."""
    several = given if isinstance(given, list) and not all(isinstance(i, int) for i in given) else [given]
    texts = [json.dumps(t) if isinstance(t, list) and t else t for t in several]
    if not 1 <= len(texts) <= _MAX_INPUTS or not all(isinstance(t, str) and t for t in texts):
        raise RefusedError(
            "bad_request",
            f"Invalid 'input': expected 1 to {_MAX_INPUTS} texts that are not empty, or token arrays.",
            param="input",
            code="invalid_value",
        )
    return tuple(texts)


def _write_embeddings(request: EmulatedRequest, _answer: EmulatedAnswer, usage: Usage) -> str:
    dimensions = request.body.get("dimensions") or _DIMENSIONS.get(request.model, 1536)
    packed = request.body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(request.inputs):
        vector: Any = answer_vector(text, model=request.model, dimensions=dimensions)
        if packed:
            vector = b64encode(array("f", vector).tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    counted = {"prompt_tokens": usage.input, "total_tokens": usage.input}
    return json.dumps({"object": "list", "data": data, "model": request.model, "usage": counted})


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_790_000_000, "owned_by": "emulator"}


def error(refused: RefusedError, request_id: str) -> tuple[int, str, str]:  # noqa: ARG001 -- others show it
    """A refusal in OpenAI's words."""
    status, kind, code = _ERRORS[refused.kind]
    shown = {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code or code}
    return status, retry_lines(refused), json.dumps({"error": shown})


def _head(request_id: str, quota: Quota | None) -> str:
    if quota is None:
        return f"x-request-id: {request_id}\r\nopenai-processing-ms: 1\r\n"
    return f"x-request-id: {request_id}\r\nopenai-processing-ms: 1\r\n{quota_lines(quota)}"


WIRE = Wire(
    name="openai",
    prefix="/v1",
    base="/v1",
    environ=lambda url, key: {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": key},
    key=bearer,
    read=read,
    error=error,
    head=_head,
)
