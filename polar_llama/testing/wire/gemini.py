"""Gemini (Developer API): generateContent, batchEmbedContents, embedContent, models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from polar_llama.testing.answers import EmulatedRequest, answer_vector
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
    tokens,
)
from polar_llama.testing.wire.schema import wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.providers.base import Quota, Usage
    from polar_llama.testing.answers import EmulatedAnswer
    from polar_llama.testing.wire.base import Incoming

GENERATE = names(
    "model contents systemInstruction generationConfig safetySettings tools toolConfig cachedContent serviceTier "
    "labels store"
)
CONFIG = names(
    "temperature topP topK candidateCount maxOutputTokens stopSequences seed presencePenalty frequencyPenalty "
    "responseLogprobs logprobs responseMimeType responseSchema responseJsonSchema responseModalities mediaResolution "
    "thinkingConfig continuationToken"
)
EMBED = names("model content taskType title outputDimensionality")

_MODELS = ("gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-embedding-2")
_MAX_EMBEDS = 100
_FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "refusal": "SAFETY",
    "filtered": "PROHIBITED_CONTENT",
    "tool": "STOP",
    "error": "MALFORMED_RESPONSE",
}
_ERRORS = {
    "rate_limited": (429, "RESOURCE_EXHAUSTED"),
    "quota": (429, "RESOURCE_EXHAUSTED"),
    "server_error": (500, "INTERNAL"),
    "overloaded": (503, "UNAVAILABLE"),
    "bad_request": (400, "INVALID_ARGUMENT"),
    "too_large": (400, "INVALID_ARGUMENT"),
    "auth": (400, "INVALID_ARGUMENT"),
    "unknown_model": (404, "NOT_FOUND"),
    "unknown_path": (404, "NOT_FOUND"),
}
_RPC = "type.googleapis.com/google.rpc."


def read(incoming: Incoming, path: str) -> Task | str:
    """Understand a request to `/v1…` or `/v1beta…`."""
    version, _, rest = path.removeprefix("/").partition("/")
    name, _, verb = rest.removeprefix("models/").partition(":")
    if version not in {"v1", "v1beta"} or not rest.startswith("models"):
        raise RefusedError("unknown_path", f"Not found: {incoming.method} {path}")
    if incoming.method == "GET" and rest == "models":
        return json.dumps({"models": [{"name": f"models/{m}", "displayName": m} for m in _MODELS]})
    if name == MISSING_MODEL:
        raise RefusedError(
            "unknown_model", f"models/{name} is not found for API version {version}, or is not supported for {verb}."
        )
    if incoming.method == "POST" and verb == "generateContent":
        return _generate(name, incoming.json())
    if incoming.method == "POST" and verb == "batchEmbedContents":
        return _embed(name, incoming.json(), several=True)
    if incoming.method == "POST" and verb == "embedContent":
        return _embed(name, incoming.json(), several=False)
    raise RefusedError("unknown_path", f"Not found: {incoming.method} {path}")


def _unknown(where: str, name: str) -> str:
    at = f" at '{where}'" if where else ""
    return f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'


def _generate(model: str, body: dict[str, Any]) -> Task:
    only(body, GENERATE, lambda name: _unknown("", name))
    config = body.get("generationConfig") or {}
    only(config, CONFIG, lambda name: _unknown("generation_config", name))
    number(config, "temperature", 0, 2)
    number(config, "topP", 0, 1)
    number(config, "maxOutputTokens", 1, 2**31, whole=True)
    number(config, "candidateCount", 1, 1, whole=True)
    number(config, "seed", -(2**31), 2**31 - 1, whole=True)
    given = body.get("contents")
    if not isinstance(given, list) or not given:
        raise RefusedError("bad_request", "* GenerateContentRequest.contents: contents is not specified")
    messages = tuple((_role(content), _text(content)) for content in given)
    instruction = body.get("systemInstruction")
    system = None if instruction is None else _text(instruction)
    prompt = next((text for role, text in reversed(messages) if role == "user"), "")
    limit = config.get("maxOutputTokens")
    request = EmulatedRequest("gemini", model, prompt, system, messages, _schema(config), limit, (), body)
    total = input_tokens(request)
    return Task(request, _write, total, cached_tokens(request, total, least=4096, block=1))


def _role(content: Any) -> str:
    role = content.get("role", "user") if isinstance(content, dict) else None
    if role not in {"user", "model"}:
        raise RefusedError("bad_request", "Please use a valid role: user, model.")
    return "assistant" if role == "model" else "user"


def _text(content: Any) -> str:
    given = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(given, list) or not given or not all(isinstance(p, dict) for p in given):
        raise RefusedError(
            "bad_request", "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty."
        )
    return "".join(part.get("text", "") for part in given)


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    both = [config[name] for name in ("responseJsonSchema", "responseSchema") if config.get(name) is not None]
    mime = config.get("responseMimeType")
    if len(both) > 1:
        raise RefusedError("bad_request", "Only one of response_schema and response_json_schema can be set.")
    if mime not in {None, "text/plain", "application/json", "text/x.enum"}:
        raise RefusedError(
            "bad_request",
            f"* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes exclude {mime!r}.",
        )
    if not both:
        return {} if mime == "application/json" else None
    if mime != "application/json":
        raise RefusedError(
            "bad_request", "Response schema with a response mime type other than 'application/json' is unsupported"
        )
    schema: dict[str, Any] = both[0] if "responseJsonSchema" in config else _lowered(both[0])
    if why := wrong(schema, "gemini"):
        raise RefusedError("bad_request", f"* GenerateContentRequest.generation_config.response_json_schema: {why}")
    return schema


def _lowered(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An OpenAPI schema (`STRING`, `nullable`) as a JSON schema."""
    made = {name: value for name, value in schema.items() if name != "nullable"}
    if isinstance(kind := schema.get("type"), str):
        made["type"] = [kind.lower(), "null"] if schema.get("nullable") else kind.lower()
    if "properties" in schema:
        made["properties"] = {name: _lowered(child) for name, child in schema["properties"].items()}
    if "items" in schema:
        made["items"] = _lowered(schema["items"])
    if "anyOf" in schema:
        made["anyOf"] = [_lowered(option) for option in schema["anyOf"]]
    return made


def _write(request: EmulatedRequest, answer: EmulatedAnswer, usage: Usage) -> str:
    said = [{"text": answer.text}] if answer.text else []
    candidate = {
        "content": {"role": "model", "parts": said},
        "finishReason": _FINISH[answer.finish],
        "index": 0,
    }
    shown: dict[str, Any] = {"candidates": [candidate]}
    if answer.finish == "filtered" and not answer.text:
        shown = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    shown["usageMetadata"] = {
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
    }
    return json.dumps({**shown, "modelVersion": request.model, "responseId": "emulated"})


def _embed(model: str, body: dict[str, Any], *, several: bool) -> Task:
    only(body, {"requests"} if several else EMBED, lambda name: _unknown("", name))
    asked = body.get("requests") if several else [body]
    if not isinstance(asked, list) or not 1 <= len(asked) <= _MAX_EMBEDS:
        raise RefusedError(
            "bad_request",
            f"* BatchEmbedContentsRequest.requests: at least 1 and at most {_MAX_EMBEDS} requests can be in one batch",
        )
    for one in asked:
        only(one, EMBED, lambda name: _unknown("requests", name))
        number(one, "outputDimensionality", 1, 3072, whole=True)
        if several and one.get("model") != f"models/{model}":
            raise RefusedError("bad_request", f"* BatchEmbedContentsRequest.requests.model: expected models/{model}")
    texts = tuple(_text(one.get("content")) for one in asked)
    total = sum(map(tokens, texts))
    return Task(EmulatedRequest("gemini", model, texts[-1], inputs=texts, body=body), _write_vectors, total)


def _write_vectors(request: EmulatedRequest, _answer: EmulatedAnswer, _usage: Usage) -> str:
    asked = request.body.get("requests", [request.body])
    made = [
        {"values": answer_vector(text, model=request.model, dimensions=one.get("outputDimensionality") or 3072)}
        for text, one in zip(request.inputs, asked, strict=True)
    ]
    return json.dumps({"embeddings": made} if "requests" in request.body else {"embedding": made[0]})


def _error(refused: RefusedError, _request_id: str) -> tuple[int, str, str]:
    status, name = _ERRORS[refused.kind]
    details: list[dict[str, Any]] = []
    if refused.retry_after is not None:
        details.append({"@type": _RPC + "RetryInfo", "retryDelay": f"{seconds(refused.retry_after)}s"})
    if refused.kind == "quota":
        broken = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "0"}
        details.append({"@type": _RPC + "QuotaFailure", "violations": [broken]})
    if refused.kind == "auth":
        details.append({"@type": _RPC + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"})
    shown = {"code": status, "message": refused.message, "status": name, "details": details}
    return status, "", json.dumps({"error": shown})


def _head(_request_id: str, _quota: Quota | None) -> str:
    return ""  # Gemini tells neither


WIRE = Wire(
    name="gemini",
    prefix="/gemini",
    base="/gemini",
    environ=lambda url, key: {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": key, "GOOGLE_API_KEY": key},
    key=lambda incoming: incoming.header(b"x-goog-api-key"),
    read=read,
    error=_error,
    head=_head,
)
