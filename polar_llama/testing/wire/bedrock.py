"""AWS Bedrock: Converse, and InvokeModel for embeddings. Signatures are accepted, not verified."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

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
    tokens,
)
from polar_llama.testing.wire.schema import wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.providers.base import Quota, Usage
    from polar_llama.testing.answers import EmulatedAnswer
    from polar_llama.testing.wire.base import Incoming

CONVERSE = names(
    "messages system inferenceConfig toolConfig outputConfig guardrailConfig additionalModelRequestFields "
    "additionalModelResponseFieldPaths performanceConfig promptVariables requestMetadata serviceTier"
)
INFERENCE = frozenset({"maxTokens", "temperature", "topP", "stopSequences"})
TITAN = frozenset({"inputText", "dimensions", "normalize", "embeddingTypes"})
COHERE = frozenset({"texts", "input_type", "embedding_types", "truncate", "output_dimension", "max_tokens", "images"})

_MAX_COHERE = 96
_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "refusal": "content_filtered",
    "filtered": "guardrail_intervened",
    "tool": "tool_use",
    "error": "malformed_model_output",
}
_ERRORS = {
    "rate_limited": (429, "ThrottlingException"),
    "quota": (400, "ServiceQuotaExceededException"),
    "server_error": (500, "InternalServerException"),
    "overloaded": (503, "ServiceUnavailableException"),
    "bad_request": (400, "ValidationException"),
    "too_large": (400, "ValidationException"),
    "auth": (403, "AccessDeniedException"),
    "unknown_model": (404, "ResourceNotFoundException"),
    "unknown_path": (404, "UnknownOperationException"),
}


def read(incoming: Incoming, path: str) -> Task | str:
    """Understand a request to `/model/{id}/converse` or `/model/{id}/invoke`."""
    signed = incoming.header(b"authorization") or ""
    if not signed.startswith(("AWS4-HMAC-SHA256 Credential=", "Bearer ")):
        raise RefusedError("auth", "Missing Authentication Token")
    model, _, verb = path.removeprefix("/model/").rpartition("/")
    model = unquote(model)
    if model == MISSING_MODEL:
        raise RefusedError("unknown_model", "The provided model identifier is invalid.")
    if incoming.method == "POST" and path.startswith("/model/") and verb == "converse":
        return _converse(model, incoming.json())
    if incoming.method == "POST" and path.startswith("/model/") and verb == "invoke":
        return _invoke(model, incoming.json())
    raise RefusedError("unknown_path", f"Unknown operation: {incoming.method} {path}")


def _extraneous(name: str) -> str:
    return f"Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input."


def _converse(model: str, body: dict[str, Any]) -> Task:
    only(body, CONVERSE, _extraneous)
    config = body.get("inferenceConfig") or {}
    only(config, INFERENCE, _extraneous)
    number(config, "maxTokens", 1, 2**31, whole=True)
    number(config, "temperature", 0, 1)
    number(config, "topP", 0, 1)
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise RefusedError(
            "bad_request",
            "The messages field is required and must not be empty. Add at least one message and try again.",
        )
    said = tuple((_role(m), _text(m.get("content"))) for m in given)
    told = [_text([block]) for block in body.get("system") or ()] + [text for role, text in said if role == "system"]
    messages = tuple((role, text) for role, text in said if role != "system")
    prompt = next((text for role, text in reversed(messages) if role == "user"), "")
    system = "\n\n".join(filter(None, told)) or None
    limit = config.get("maxTokens")
    request = EmulatedRequest("bedrock", model, prompt, system, messages, _schema(body), limit, (), body)
    total = input_tokens(request)
    return Task(request, _write, total, cached_tokens(request, total) if _cache_point(body) else 0)


def _role(message: Any) -> str:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in {"user", "assistant", "system"}:
        raise RefusedError(
            "bad_request",
            f"Value {role!r} at 'messages.role' failed to satisfy constraint: Member must be user, assistant or system",
        )
    return str(role)


def _text(content: Any) -> str:
    if not isinstance(content, list) or not content or not all(isinstance(b, dict) and len(b) == 1 for b in content):
        raise RefusedError(
            "bad_request", "The content field in the Message object is empty or not a list of content blocks."
        )
    if any(block.get("text") == "" for block in content):
        raise RefusedError(
            "bad_request",
            "The text field in the ContentBlock object is blank. Add text to the text field, and try again.",
        )
    return "".join(block.get("text", "") for block in content)


def _cache_point(body: Mapping[str, Any]) -> bool:
    return any("cachePoint" in block for block in body.get("system") or ())


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = (body.get("outputConfig") or {}).get("textFormat")
    if wanted is None:
        tool = _forced(body)
        return None if tool is None else tool["inputSchema"]["json"]
    given = ((wanted.get("structure") or {}).get("jsonSchema") or {}).get("schema")
    if wanted.get("type") != "json_schema" or not isinstance(given, str):
        raise RefusedError(
            "bad_request",
            "outputConfig.textFormat must have type json_schema and structure.jsonSchema.schema as a string.",
        )
    try:
        schema = json.loads(given)
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise RefusedError("bad_request", "outputConfig.textFormat.structure.jsonSchema.schema is not a JSON object.")
    if why := wrong(schema, "anthropic"):
        raise RefusedError(
            "bad_request", f"The model returned the following errors: output_config.format.schema: {why}"
        )
    return schema


def _forced(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tool that the model is made to call."""
    config = body.get("toolConfig") or {}
    name = ((config.get("toolChoice") or {}).get("tool") or {}).get("name")
    if name is None:
        return None
    for tool in config.get("tools") or ():
        if tool.get("toolSpec", {}).get("name") == name:
            found: dict[str, Any] = tool["toolSpec"]
            return found
    raise RefusedError("bad_request", "The toolChoice does not name one of the tools.")


def _write(request: EmulatedRequest, answer: EmulatedAnswer, usage: Usage) -> str:
    tool, finish = _forced(request.body), _FINISH[answer.finish]
    content: list[dict[str, Any]] = [{"text": answer.text}]
    if tool is not None and answer.finish == "stop":
        content = [{"toolUse": {"toolUseId": "tooluse_1", "name": tool["name"], "input": json.loads(answer.text)}}]
        finish = "tool_use"
    shown = {
        "output": {"message": {"role": "assistant", "content": content if answer.text else []}},
        "stopReason": finish,
        "usage": {
            "inputTokens": usage.input - usage.cached - usage.cache_write,
            "outputTokens": usage.output,
            "totalTokens": usage.input + usage.output,
            "cacheReadInputTokens": usage.cached,
            "cacheWriteInputTokens": usage.cache_write,
        },
        "metrics": {"latencyMs": 1},
    }
    return json.dumps(shown)


def _invoke(model: str, body: dict[str, Any]) -> Task:
    """Titan (one text) and Cohere (several)."""
    if "cohere.embed" in model:
        only(body, COHERE, _extraneous)
        texts = body.get("texts")
        good = isinstance(texts, list) and 1 <= len(texts) <= _MAX_COHERE and "input_type" in body
    elif "titan-embed" in model:
        only(body, TITAN, _extraneous)
        texts = [body.get("inputText")]
        good = body.get("dimensions", 1024) in {256, 512, 1024}
    else:
        raise RefusedError(
            "bad_request", "The emulator's InvokeModel answers amazon.titan-embed-* and cohere.embed-* only."
        )
    if not good or not isinstance(texts, list) or not all(isinstance(t, str) and t for t in texts):
        raise RefusedError("bad_request", "Malformed input request, please reformat your input and try again.")
    request = EmulatedRequest("bedrock", model, texts[-1], inputs=tuple(texts), body=body)
    return Task(request, _write_vectors, sum(map(tokens, texts)))


def _write_vectors(request: EmulatedRequest, _answer: EmulatedAnswer, usage: Usage) -> str:
    dimensions = request.body.get("dimensions") or request.body.get("output_dimension") or 1024
    made = [answer_vector(text, model=request.model, dimensions=dimensions) for text in request.inputs]
    if "texts" not in request.body:
        return json.dumps({"embedding": made[0], "inputTextTokenCount": usage.input})
    typed = "embedding_types" in request.body
    shown = {"float": made} if typed else made
    return json.dumps(
        {
            "id": "emulated",
            "texts": request.inputs,
            "embeddings": shown,
            "response_type": "embeddings_by_type" if typed else "embeddings_floats",
        }
    )


def _error(refused: RefusedError, _request_id: str) -> tuple[int, str, str]:
    status, name = _ERRORS[refused.kind]
    return status, f"x-amzn-errortype: {name}\r\n", json.dumps({"message": refused.message})


def _head(request_id: str, _quota: Quota | None) -> str:
    return f"x-amzn-requestid: {request_id}\r\n"


def _key(incoming: Incoming) -> str | None:
    """The access key's identifier, or the bearer token."""
    signed = incoming.header(b"authorization") or ""
    if signed.startswith("Bearer "):
        return signed.removeprefix("Bearer ")
    return signed.partition("Credential=")[2].partition("/")[0] or None


WIRE = Wire(
    name="bedrock",
    prefix="/bedrock",
    base="/bedrock",
    environ=lambda url, key: {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": key,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    },
    key=_key,
    read=read,
    error=_error,
    head=_head,
)
