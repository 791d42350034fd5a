"""Request bodies of Gemini's generateContent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from polar_llama.providers.conversation import BodyError, apart, in_words, merged
from polar_llama.providers.lowering import GEMINI, lower
from polar_llama.providers.media import gemini_part, parts

if TYPE_CHECKING:
    from polar_llama.providers.base import Ask, Request
    from polar_llama.providers.forms import Form
    from polar_llama.providers.wire import Shared

_OURS = frozenset({"model", "contents", "systemInstruction"})
_SAMPLING = ("temperature", "topP", "topK")

_CONFIG = frozenset({
    "temperature", "topP", "top_p", "topK", "top_k", "seed", "maxOutputTokens", "max_tokens", "stopSequences", "stop",
    "candidateCount", "n", "thinkingConfig", "presencePenalty", "frequencyPenalty", "mediaResolution",
    "responseMimeType", "responseSchema", "responseJsonSchema", "response_format",
})  # fmt: skip
"""What has no place in a request but in its `generationConfig`, and what others call it."""

_NO_SAMPLING = re.compile(r"gemini-(?:3\.5-flash-lite|3\.[678]-flash)")
"""Models that take no sampling parameters (litellm's table, 2026-11-23)."""


def prepare(ask: Ask, form: Form) -> Shared:
    """What the bodies of a call share.

    Raises:
        BodyError: If the model does not take a parameter, or an option is none.
    """
    config: dict[str, Any] = {
        "temperature": ask.temperature,
        "maxOutputTokens": ask.max_tokens,
        "seed": ask.seed,
    }
    config = {name: value for name, value in config.items() if value is not None}
    system = ask.system
    if ask.schema is not None and form != "prompt":
        config["responseMimeType"] = "application/json"
    if ask.schema is not None and form == "schema":
        config["responseJsonSchema"] = lower(from_json(ask.schema), GEMINI)
    elif ask.schema is not None:
        system = in_words(ask)
    body: dict[str, Any] = {"generationConfig": config}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    options = from_json(ask.options)
    if lost := sorted(_CONFIG & options.keys()):
        raise BodyError(
            f'options hold {", ".join(lost)} where Gemini has options={{"generationConfig": {{"topP": …}}}}'
        )
    body = merged(body, options, _OURS)
    config = body["generationConfig"]
    if not isinstance(config, dict):
        raise BodyError("the option generationConfig must be an object")
    if _NO_SAMPLING.search(ask.model) and any(config.get(name) is not None for name in _SAMPLING):
        raise BodyError("the model takes no sampling parameters such as temperature; leave them out")
    if not config:
        del body["generationConfig"]
    return body


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


def fill(shared: Shared, request: Request) -> Shared:
    """The body of one request; system messages of a conversation follow the call's own system prompt.

    Raises:
        BodyError: If the prompt is not a conversation where one is expected.
    """
    told, said = apart(request)
    contents = [
        {"role": "model" if role == "assistant" else "user", "parts": parts(content, number, gemini_part, _text)}
        for number, (role, content) in enumerate(said, 1)
    ]
    body = {**shared, "contents": contents}
    if told:
        own = shared.get("systemInstruction", {}).get("parts", [])
        body["systemInstruction"] = {"parts": [*own, *({"text": text} for text in told)]}
    return body
