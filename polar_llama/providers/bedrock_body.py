"""Requests of Bedrock's Converse."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from polar_llama.providers.claude import cache_minimum, generation, takes_sampling, takes_schemas
from polar_llama.providers.conversation import (
    BodyError,
    apart,
    constant_tokens,
    estimated_tokens,
    in_words,
    merged,
    shots,
)
from polar_llama.providers.lowering import ANTHROPIC, lower, rooted
from polar_llama.providers.media import bedrock_part, parts
from polar_llama.providers.schema import NotStrictError

if TYPE_CHECKING:
    from polar_llama.providers.base import Ask, Request
    from polar_llama.providers.forms import Form
    from polar_llama.providers.wire import Shared

_POINT = {"cachePoint": {"type": "default"}}
_OURS = frozenset({"modelId", "messages", "system"})

_NOVA_MINIMUM = 1024
"""Tokens: the shortest beginning that Amazon's own models cache."""

_CACHING_CLAUDE = (3, 7)
"""The first Claude that Bedrock caches for."""


@lru_cache(maxsize=64)
def best(ask: Ask, *, native: bool) -> Form:
    """The best form for a call's model and schema.

    Args:
        ask: A call with a schema.
        native: Whether the installed service model has `outputConfig`.
    """
    if not native or takes_schemas(ask.model) is False:
        return "tool"
    try:
        lower(from_json(ask.schema or "{}"), ANTHROPIC)
    except NotStrictError:
        return "tool"
    return "schema"


def prepare(ask: Ask, form: Form) -> Shared:
    """What the requests of a call share.

    A cache point follows the system prompt where that is long enough for the model to cache it; and the examples.

    Raises:
        BodyError: If the model does not take a parameter, or an option is none.
    """
    if ask.seed is not None:
        raise BodyError("Converse takes no seed; leave it out")
    body: dict[str, Any] = {"modelId": ask.model}
    config = {"maxTokens": ask.max_tokens, "temperature": ask.temperature}
    if given := {name: value for name, value in config.items() if value is not None}:
        body["inferenceConfig"] = given
    system = ask.system
    if ask.schema is not None and form == "schema":
        lowered = to_json(lower(from_json(ask.schema), ANTHROPIC)).decode()
        wanted = {"type": "json_schema", "structure": {"jsonSchema": {"schema": lowered, "name": ask.schema_name}}}
        body["outputConfig"] = {"textFormat": wanted}
    elif ask.schema is not None and form == "tool":
        schema = {"json": rooted(from_json(ask.schema))}
        tool = {"toolSpec": {"name": ask.schema_name, "description": "Gives the answer.", "inputSchema": schema}}
        body["toolConfig"] = {"tools": [tool], "toolChoice": {"tool": {"name": ask.schema_name}}}
    elif ask.schema is not None:
        system = in_words(ask)
    if system:
        body["system"] = [{"text": system}]
        if estimated_tokens(system) >= _cache_minimum(ask.model):
            body["system"].append(_POINT)
    body = merged(body, from_json(ask.options), _OURS)
    sampling = body.get("inferenceConfig", {})
    if (sampling.get("temperature") or 0) > 1:
        raise BodyError("Converse takes a temperature from 0 to 1")
    if {"temperature", "topP"} & sampling.keys() and not takes_sampling(ask.model):
        raise BodyError("the model takes no sampling parameters such as temperature; leave them out")
    return body


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


def fill(shared: Shared, request: Request) -> Shared:
    """One request; system messages of a conversation follow the call's own system prompt.

    Raises:
        BodyError: If the prompt is not a conversation where one is expected.
    """
    told, said = apart(request)
    messages: list[dict[str, Any]] = [
        {"role": role, "content": parts(content, number, bedrock_part, _text)}
        for number, (role, content) in enumerate(said, 1)
    ]
    ask = request.ask
    if ask.examples and constant_tokens(ask) >= _cache_minimum(ask.model):
        messages[len(shots(ask)) - 1]["content"].append(_POINT)
    body = {**shared, "messages": messages}
    if told:
        body["system"] = [*shared.get("system", ()), *({"text": text} for text in told)]
    try:
        to_json(body, bytes_mode="base64")
    except ValueError:
        raise BodyError("the text holds a lone surrogate, which is not valid Unicode") from None
    return body


def _cache_minimum(model: str) -> float:
    """Tokens from which a model caches; infinite for models that refuse cache points."""
    found = generation(model)
    if found is not None:
        return cache_minimum(model) if found[1:] >= _CACHING_CLAUDE else float("inf")
    return _NOVA_MINIMUM if "amazon.nova" in model else float("inf")
