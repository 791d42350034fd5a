"""What the emulator is asked, what it says, and the default answers: pure functions of the request."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, shake_128
from math import hypot
from struct import unpack
from typing import TYPE_CHECKING, Any

from polar_llama.testing.example import example

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.providers.base import Finish, Usage


@dataclass(frozen=True, slots=True)
class EmulatedRequest:
    """One question as the emulator understood it, the same whatever the wire format.

    Attributes:
        provider: The wire format: `openai`, `anthropic`, `gemini`, `groq`, `bedrock` or `azure`.
        model: The model's name.
        prompt: The text of the last user message (of an embedding: the last text).
        system: The text of the system messages, joined by blank lines, or None.
        messages: The other messages as `(role, text)`, roles `user` and `assistant`.
        schema: The JSON schema the answer must follow; `{}` when any JSON object will do; None for text.
        max_tokens: The most tokens the answer may have, when the request says so.
        inputs: The texts to embed; empty for questions.
        body: The request's JSON body.
    """

    provider: str
    model: str
    prompt: str
    system: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    inputs: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmulatedAnswer:
    """What the emulated model says, for answers that are more than a text.

    Attributes:
        text: The answer's text; of a refusal: what the model says instead.
        finish: Why the answer ended.
        usage: Tokens to report; None counts four characters as a token.
    """

    text: str
    finish: Finish = "stop"
    usage: Usage | None = None


Answer = Callable[[EmulatedRequest], "str | Mapping[str, Any] | EmulatedAnswer"]
"""Answers a request. It runs on the server's thread: it should be quick and must not wait."""


def default_answer(request: EmulatedRequest) -> str:
    """Answer from a hash of model, system prompt and messages.

    Returns:
        `"answer 3f2a…"`, or the JSON text of a value that follows the schema.
    """
    said = "\x1f".join(f"{role}\x1e{text}" for role, text in request.messages)
    asked = f"{request.model}\x1d{request.system or ''}\x1d{said}".encode(errors="surrogatepass")
    digest = blake2b(asked, digest_size=6).hexdigest()
    if request.schema is None:
        return f"answer {digest}"
    if not request.schema:
        return json.dumps({"answer": digest})
    return json.dumps(example(request.schema, digest))


def answer_text(
    prompt: str,
    *,
    model: str,
    system: str | None = None,
    schema: Mapping[str, Any] | None = None,
    before: Sequence[tuple[str, str]] = (),
) -> str:
    """The text that the emulator answers by default, for tests that compute answers row by row.

    Args:
        prompt: The rendered prompt.
        model: The model's name, without a provider's prefix.
        system: The system prompt.
        schema: The schema that was asked for. Where a vendor's lowering drops a bound of a number or
            a string, the emulator never sees it, and its value may be another one.
        before: Earlier `(role, text)` messages of the conversation.

    Returns:
        The same text as `default_answer` of such a request.

    >>> answer_text("Is 7 prime?", model="gpt-6-luna")
    'answer ea408ebc878f'
    """
    messages = (*before, ("user", prompt))
    return default_answer(EmulatedRequest("", model, prompt, system, messages, schema))


def answer_vector(text: str, *, model: str, dimensions: int) -> list[float]:
    """The embedding that the emulator gives a text.

    Returns:
        A vector of length 1, of `dimensions` float32 values.
    """
    drawn = unpack(
        f"<{dimensions}h", shake_128(f"{model}\0{text}".encode(errors="surrogatepass")).digest(2 * dimensions)
    )
    length = hypot(*drawn) or 1.0
    return array("f", [x / length for x in drawn]).tolist()
