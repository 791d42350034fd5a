"""Request bodies of chat completions: all that the rows of a call share is written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import from_json, to_json

from polar_llama.providers.schema import NotStrictError, has_optional, lower_openai

if TYPE_CHECKING:
    from polar_llama.providers.base import Ask, Request
    from polar_llama.providers.schema import Schema

Form = Literal["schema", "object", "prompt"]
"""How a schema is asked for: enforced by the server; as `json_object` and in words; in words only."""

FORMS: tuple[Form, ...] = ("schema", "object", "prompt")

WORDS = "Answer with one JSON object that matches this JSON schema. Write the JSON object only, no other text.\n"
REPAIR = "That answer is not valid: {}\nAnswer again, corrected, in the same form and with nothing else."

_OURS = frozenset({"model", "messages", "stream", "n"})


class BodyError(ValueError):
    """A request that cannot be written; the text says what is wrong and quotes nothing."""


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
            return b"".join((self.opening, b'{"role":"user","content":', _json(request.prompt), b"}", self.closing))
        turns = _turns(request.prompt) if self.conversation else [{"role": "user", "content": request.prompt}]
        if request.repair is not None:
            answer, problem = request.repair
            turns.append({"role": "assistant", "content": answer})
            turns.append({"role": "user", "content": REPAIR.format(problem)})
        return b"".join((self.opening, _json(turns)[1:-1], self.closing))


def prepare(ask: Ask, form: Form, max_tokens: str) -> Body:
    """Write what the bodies of one call share.

    The system prompt comes first and the row's prompt last, so that servers find the common beginning in
    their prompt caches.

    Args:
        ask: The call.
        form: How a schema is asked for.
        max_tokens: What the server calls the limit of the answer's tokens.

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
        lowered = _lowered(schema)
        enforced = {"name": ask.schema_name, "schema": lowered or schema, "strict": lowered is not None}
        rest["response_format"] = {"type": "json_schema", "json_schema": enforced}
    elif ask.schema is not None:
        system = (f"{system}\n\n" if system else "") + WORDS + ask.schema
        if form == "object":
            rest["response_format"] = {"type": "json_object"}
    rest.update(options)
    opening = b'{"model":' + _json(ask.model) + b',"messages":['
    if system is not None:
        opening += _json({"role": "system", "content": system}) + b","
    closing = b"]" + (b"," if rest else b"") + _json(rest)[1:]
    optional = schema if lowered is not None and has_optional(schema) else None
    return Body(opening, closing, ask.conversation, lowered is not None, optional)


def _lowered(schema: Schema) -> Schema | None:
    try:
        return lower_openai(schema)
    except NotStrictError:
        return None


def _turns(prompt: str) -> list[dict[str, Any]]:
    try:
        turns = from_json(prompt)
    except ValueError:
        turns = None
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise BodyError("the prompt is not a list of messages, each with a role and a content")
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn.get("role"), str) or not isinstance(turn.get("content"), str | list):
            raise BodyError(f"message {number} of the conversation has no role or no content")
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _json(value: Any) -> bytes:
    try:
        return to_json(value)
    except ValueError:  # its message quotes the text
        raise BodyError("the text holds a lone surrogate, which is not valid Unicode") from None
