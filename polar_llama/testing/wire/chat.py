"""The shape of OpenAI's chat completions, which other vendors share."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from polar_llama.testing.answers import EmulatedRequest
from polar_llama.testing.wire.base import MISSING_MODEL, RefusedError, number
from polar_llama.testing.wire.messages import conversation
from polar_llama.testing.wire.schema import wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.providers.base import Usage
    from polar_llama.testing.answers import EmulatedAnswer
    from polar_llama.testing.wire.base import Incoming

ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
SYSTEM = frozenset({"developer", "system"})
FINISH = {"refusal": "stop", "filtered": "content_filter", "tool": "tool_calls", "error": "stop"}

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RANGES = (
    ("temperature", 0, 2, False),
    ("top_p", 0, 1, False),
    ("max_completion_tokens", 1, 2**31, True),
    ("max_tokens", 1, 2**31, True),
    ("seed", -(2**63), 2**63 - 1, True),
    ("n", 1, 1, True),
)


def understand(provider: str, body: dict[str, Any], max_tokens: int | None) -> EmulatedRequest:
    """The question in a body of OpenAI's shape."""
    system, messages = conversation(body.get("messages"), ROLES, SYSTEM)
    schema = _schema(body, system, messages)
    prompt = next((text for role, text in reversed(messages) if role == "user"), "")
    return EmulatedRequest(provider, body["model"], prompt, system, messages, schema, max_tokens, (), body)


def check_model(body: Mapping[str, Any]) -> str:
    """The model, which must be there and not be the missing one."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RefusedError("bad_request", "you must provide a model parameter")
    if model == MISSING_MODEL:
        raise RefusedError("unknown_model", f"The model `{model}` does not exist or you do not have access to it.")
    return model


def check_sampling(body: Mapping[str, Any]) -> None:
    """Refuse values that are out of range, and streaming, which the emulator does not speak."""
    for name, low, high, whole in _RANGES:
        if name in body:
            number(body, name, low, high, whole=whole)
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:  # noqa: PLR2004 -- the vendor's limit
        raise RefusedError(
            "bad_request",
            "Invalid 'stop': array too long. Expected an array with maximum length 4.",
            param="stop",
            code="array_above_max_length",
        )
    if body.get("stream"):
        raise RefusedError("bad_request", "The emulator does not stream: leave 'stream' out.", param="stream")


def _schema(
    body: Mapping[str, Any], system: str | None, messages: tuple[tuple[str, str], ...]
) -> Mapping[str, Any] | None:
    wanted = body.get("response_format")
    if wanted is None or wanted == {"type": "text"}:
        return _tool_schema(body)
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        if not any("json" in text.lower() for text in (system or "", *(text for _, text in messages))):
            raise RefusedError(
                "bad_request",
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
                param="messages",
            )
        return {}
    if kind != "json_schema":
        raise RefusedError(
            "bad_request",
            f"Invalid value: {kind!r}. Supported values are: 'json_object', 'json_schema', and 'text'.",
            param="response_format.type",
            code="invalid_value",
        )
    return _check_format(wanted.get("json_schema"))


def _check_format(given: object) -> Mapping[str, Any]:
    at = "response_format.json_schema"
    if not isinstance(given, dict) or set(given) - {"name", "schema", "strict", "description"}:
        raise RefusedError(
            "bad_request", f"Invalid '{at}': expected an object of name, schema, strict and description.", param=at
        )
    name, schema = given.get("name"), given.get("schema", {})
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RefusedError(
            "bad_request",
            f"Invalid '{at}.name': expected a string of at most 64 characters that matches '^[a-zA-Z0-9_-]+$'.",
            param=f"{at}.name",
            code="invalid_value",
        )
    if not isinstance(schema, dict):
        raise RefusedError("bad_request", f"Invalid '{at}.schema': expected an object.", param=f"{at}.schema")
    if given.get("strict") and (why := wrong(schema, "openai")):
        raise RefusedError(
            "bad_request",
            f"Invalid schema for response_format '{name}': {why}",
            param="response_format",
            code="invalid_json_schema",
        )
    return schema


def _tool_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The parameters of the tool that the model is made to call."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return None
    for tool in body.get("tools") or ():
        if tool.get("function", {}).get("name") == choice.get("function", {}).get("name"):
            parameters: dict[str, Any] = tool["function"].get("parameters", {})
            return parameters
    raise RefusedError("bad_request", "Tool choice does not name one of the tools.", param="tool_choice")


def message(request: EmulatedRequest, answer: EmulatedAnswer) -> tuple[str, str]:
    """The message of a choice as JSON, and its finish reason."""
    said = json.dumps(answer.text)
    finish = FINISH.get(answer.finish, answer.finish)
    choice = request.body.get("tool_choice")
    if answer.finish == "refusal":
        return f'{{"role":"assistant","content":null,"refusal":{said},"annotations":[]}}', finish
    if isinstance(choice, dict):
        name = json.dumps(choice["function"]["name"])
        call = f'{{"id":"call_1","type":"function","function":{{"name":{name},"arguments":{said}}}}}'
        return f'{{"role":"assistant","content":null,"refusal":null,"tool_calls":[{call}]}}', finish
    return f'{{"role":"assistant","content":{said},"refusal":null,"annotations":[]}}', finish


def usage_json(usage: Usage, more: str = "") -> str:
    """Usage in OpenAI's words."""
    return (
        f'{{"prompt_tokens":{usage.input},"completion_tokens":{usage.output},'
        f'"total_tokens":{usage.input + usage.output},"prompt_tokens_details":{{"cached_tokens":{usage.cached},'
        f'"cache_write_tokens":{usage.cache_write},"audio_tokens":0}},"completion_tokens_details":{{'
        f'"reasoning_tokens":{usage.reasoning},"audio_tokens":0,"accepted_prediction_tokens":0,'
        f'"rejected_prediction_tokens":0}}{more}}}'
    )


def bearer(incoming: Incoming) -> str | None:
    """The bearer token of a request."""
    return (incoming.header(b"authorization") or "").removeprefix("Bearer ") or None
