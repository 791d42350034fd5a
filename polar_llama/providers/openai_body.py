"""Request bodies of chat completions: all that the rows of a call share is written once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from polar_llama.providers.conversation import BodyError, in_words, json_bytes, row_turns, shots
from polar_llama.providers.media import openai_parts
from polar_llama.providers.schema import NotStrictError, has_optional, lower_openai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.providers.base import Ask, Request
    from polar_llama.providers.forms import Form
    from polar_llama.providers.schema import Schema

FORMS: tuple[Form, ...] = ("schema", "object", "prompt")
"""How a schema is asked for: enforced by the server; as `json_object` and in words; in words only."""

_OURS = frozenset({"model", "messages", "stream", "n"})


_ALWAYS_REASONS = re.compile(r"(?:^|/)(?:o\d|gpt-5(?:-mini|-nano)?(?:-\d{4}|$))")
_REASONS = re.compile(r"(?:^|/)(?:o\d|gpt-[5-9])")


def takes_no_temperature(ask: Ask, options: Mapping[str, Any]) -> str:
    """Why OpenAI's reasoning models refuse a call's temperature; "" where they do not.

    They take none but the default while they reason: the o series and gpt-5 always do, later ones as they are told
    (litellm's table, 2026-11-23).
    """
    given = options.get("temperature", ask.temperature)
    if given in {None, 1}:
        return ""
    if _ALWAYS_REASONS.search(ask.model):
        return "the model takes no temperature but 1"
    if _REASONS.search(ask.model) and options.get("reasoning_effort", "none") != "none":
        return "while it reasons (reasoning_effort), the model takes no temperature but 1"
    return ""


@dataclass(frozen=True, slots=True)
class Body:
    """What the bodies of one call share.

    Attributes:
        opening: Everything before the row's messages.
        closing: Everything after them.
        conversation: Whether prompts are JSON arrays of messages.
        strict: Whether the schema is in the strict subset.
        optional: The original schema, where its answers hold nulls for optional properties.
    """

    opening: bytes
    closing: bytes
    conversation: bool
    strict: bool = False
    optional: Schema | None = None

    def write(self, request: Request) -> bytes:
        """The body of one request.

        Raises:
            BodyError: If the prompt is not a conversation, or not valid Unicode.
        """
        if request.repair is None and not self.conversation:
            return b"".join(
                (self.opening, b'{"role":"user","content":', json_bytes(request.prompt), b"}", self.closing)
            )
        return b"".join((self.opening, json_bytes(_turns(request))[1:-1], self.closing))


def _turns(request: Request) -> list[dict[str, Any]]:
    turns = row_turns(request)
    return [{**turn, "content": openai_parts(turn["content"], number)} for number, turn in enumerate(turns, 1)]


def prepare(ask: Ask, form: Form, max_tokens: str, *, strict: bool = True) -> Body:
    """Write what the bodies of one call share.

    The system prompt comes first and the row's prompt last, so that servers find the common beginning in
    their prompt caches.

    Args:
        ask: The call.
        form: How a schema is asked for.
        max_tokens: What the server calls the limit of the answer's tokens.
        strict: Whether the model can be held to a schema; others are asked to try.

    Raises:
        BodyError: If `options` set what is not an option.
    """
    options = from_json(ask.options)
    if ours := sorted(_OURS & options.keys()):
        raise BodyError(f"options cannot set {', '.join(ours)}")
    system = ask.system
    rest: dict[str, Any] = {"temperature": ask.temperature, max_tokens: ask.max_tokens, "seed": ask.seed}
    rest = {name: value for name, value in rest.items() if value is not None}
    schema = lowered = None
    if ask.schema is not None and form == "schema":
        schema = from_json(ask.schema)
        lowered = _lowered(schema) if strict else None
        enforced = {"name": ask.schema_name, "schema": lowered or schema, "strict": lowered is not None}
        rest["response_format"] = {"type": "json_schema", "json_schema": enforced}
    elif ask.schema is not None:
        system = in_words(ask)
        if form == "object":
            rest["response_format"] = {"type": "json_object"}
    rest.update(options)
    opening = b'{"model":' + json_bytes(ask.model) + b',"messages":['
    if system is not None:
        opening += json_bytes({"role": "system", "content": system}) + b","
    opening += b"".join(json_bytes(turn) + b"," for turn in shots(ask))
    closing = b"]" + (b"," if rest else b"") + json_bytes(rest)[1:]
    optional = schema if lowered is not None and has_optional(schema) else None
    return Body(opening, closing, ask.conversation, lowered is not None, optional)


def _lowered(schema: Schema) -> Schema | None:
    try:
        return lower_openai(schema)
    except NotStrictError:
        return None
