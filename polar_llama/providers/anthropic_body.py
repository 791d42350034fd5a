"""Request bodies of Anthropic's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from polar_llama.providers.claude import cache_minimum, takes_sampling
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
from polar_llama.providers.media import anthropic_parts

if TYPE_CHECKING:
    from polar_llama.providers.base import Ask, Request
    from polar_llama.providers.forms import Form
    from polar_llama.providers.wire import Shared

PATH = "/v1/messages"

VERSION = {"anthropic-version": "2026-10-21"}
TAKEN = {"anthropic-version": "2023-06-01"}
"""The older version of the API, which takes sampling parameters."""

MAX_TOKENS = 16_384
"""The most tokens of an answer where the call does not say: Anthropic wants to be told.

Room for an answer and the thinking before it, which counts too; below the 21,333 tokens from which the vendor's SDK
refuses to wait for an answer that does not stream.
"""

_MARK = {"type": "ephemeral"}
_OURS = frozenset({"model", "messages", "system", "stream"})
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})


def samples(ask: Ask) -> bool:
    """Whether a call gives sampling parameters."""
    return ask.temperature is not None or any(f'"{name}":' in ask.options for name in _SAMPLING)


def prepare(ask: Ask, form: Form) -> Shared:
    """What the bodies of a call share.

    The end of the system prompt is marked for the prompt cache where that is long enough for the model to cache it.

    Raises:
        BodyError: If the model does not take a parameter, or an option is none.
    """
    if ask.seed is not None:
        raise BodyError("Anthropic's models take no seed; leave it out")
    if samples(ask) and not takes_sampling(ask.model):
        raise BodyError("the model takes no sampling parameters such as temperature; leave them out")
    if (from_json(ask.options).get("temperature", ask.temperature) or 0) > 1:
        raise BodyError("Anthropic's models take a temperature from 0 to 1")
    body: dict[str, Any] = {"model": ask.model, "max_tokens": ask.max_tokens or MAX_TOKENS}
    if ask.temperature is not None:
        body["temperature"] = ask.temperature
    system = ask.system
    if ask.schema is not None and form == "schema":
        body["output_config"] = {"format": {"type": "json_schema", "schema": lower(from_json(ask.schema), ANTHROPIC)}}
    elif ask.schema is not None and form == "tool":
        schema = rooted(from_json(ask.schema))
        body["tools"] = [{"name": ask.schema_name, "description": "Gives the answer.", "input_schema": schema}]
        body["tool_choice"] = {"type": "tool", "name": ask.schema_name}
    elif ask.schema is not None:
        system = in_words(ask)
    options = from_json(ask.options)
    if system:
        block: dict[str, Any] = {"type": "text", "text": system}
        if "cache_control" not in options and estimated_tokens(system) >= cache_minimum(ask.model):
            block["cache_control"] = _MARK
        body["system"] = [block]
    return merged(body, options, _OURS)


def fill(shared: Shared, request: Request) -> Shared:
    """The body of one request; system messages of a conversation follow the call's own system prompt.

    The end of the call's examples is marked for the prompt cache as the end of the system prompt is.

    Raises:
        BodyError: If the prompt is not a conversation where one is expected.
    """
    told, said = apart(request)
    messages: list[dict[str, Any]] = [
        {"role": role, "content": anthropic_parts(content, number)} for number, (role, content) in enumerate(said, 1)
    ]
    ask = request.ask
    if ask.examples and "cache_control" not in shared and constant_tokens(ask) >= cache_minimum(ask.model):
        last = messages[len(shots(ask)) - 1]
        last["content"] = [{"type": "text", "text": last["content"], "cache_control": _MARK}]
    body = {**shared, "messages": messages}
    if told:
        body["system"] = [*shared.get("system", ()), *({"type": "text", "text": text} for text in told)]
    return body
