"""What every wire format starts from: the turns of a request, checked, and JSON that never quotes what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from polar_llama.providers.base import Ask, Request

WORDS = "Answer with one JSON object that matches this JSON schema. Write the JSON object only, no other text.\n"
REPAIR = "That answer is not valid: {}\nAnswer again, corrected, in the same form and with nothing else."
EMPTY = "(empty)"
"""Stands for an empty answer that is shown again: most vendors refuse an empty turn."""

_SYSTEM = frozenset({"system", "developer"})


class BodyError(ValueError):
    """A request that cannot be written; the text says what is wrong and quotes nothing."""


def read_turns(prompt: str) -> list[dict[str, Any]]:
    """The messages of a conversation, each with a role and a content.

    Raises:
        BodyError: If the prompt is not a JSON array of such messages.
    """
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


def shots(ask: Ask) -> list[dict[str, Any]]:
    """The turns of a call's examples, which go before those of every row."""
    pairs = from_json(ask.examples) if ask.examples else []
    return [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def turns_of(request: Request) -> list[dict[str, Any]]:
    """Every turn of a request: the examples, and those of the row.

    Raises:
        BodyError: If the prompt is not a conversation where one is expected.
    """
    return [*shots(request.ask), *row_turns(request)]


def row_turns(request: Request) -> list[dict[str, Any]]:
    """The turns of a request's row: its conversation or its prompt, and what a second asking adds.

    Raises:
        BodyError: If the prompt is not a conversation where one is expected.
    """
    conversation = request.ask.conversation
    turns = read_turns(request.prompt) if conversation else [{"role": "user", "content": request.prompt}]
    if request.repair is not None:
        answer, problem = request.repair
        turns.append({"role": "assistant", "content": answer if answer.strip() else EMPTY})
        turns.append({"role": "user", "content": REPAIR.format(problem)})
    return turns


def apart(request: Request) -> tuple[list[str], list[tuple[str, str | list[Any]]]]:
    """The turns for vendors whose conversations know the roles `user` and `assistant` only.

    Returns:
        The texts of the system's messages, wherever they stood, and the others as `(role, content)`.

    Raises:
        BodyError: If a role or a content is of no use there.
    """
    told: list[str] = []
    said: list[tuple[str, str | list[Any]]] = []
    for number, turn in enumerate(turns_of(request), 1):
        role, content = turn["role"], turn["content"]
        if role in _SYSTEM:
            told.append(text_of(content, number))
        elif role in {"user", "assistant"}:
            said.append((role, content))
        else:
            raise BodyError(f"message {number} of the conversation has a role other than system, user and assistant")
    if not said:
        raise BodyError("the conversation holds no message but the system's")
    return told, said


def text_of(content: str | list[Any], number: int) -> str:
    """The text of a message's content: a string, or text parts.

    Raises:
        BodyError: If there are parts of another kind.
    """
    if isinstance(content, str):
        return content
    texts = [p.get("text") if isinstance(p, dict) and p.get("type", "text") == "text" else None for p in content]
    if not all(isinstance(text, str) for text in texts):
        raise BodyError(f"message {number} of the conversation holds parts that are not text")
    return "".join(texts)  # type: ignore[arg-type]  # all of them are strings


def in_words(ask: Ask) -> str | None:
    """The system prompt, with the schema in words."""
    if ask.schema is None:
        return ask.system
    return (f"{ask.system}\n\n" if ask.system else "") + WORDS + ask.schema


def merged(body: dict[str, Any], options: Mapping[str, Any], ours: Collection[str]) -> dict[str, Any]:
    """A body with the user's options; objects on both sides are merged, else the option stands.

    Raises:
        BodyError: If the options set what is not an option.
    """
    if wrong := sorted(set(ours) & options.keys()):
        raise BodyError(f"options cannot set {', '.join(wrong)}")
    return _merged(body, options)


def _merged(body: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(body)
    for name, value in options.items():
        inner = made.get(name)
        made[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return made


def json_bytes(value: Any) -> bytes:
    """A value as JSON.

    Raises:
        BodyError: If a text in it is not valid Unicode.
    """
    try:
        return to_json(value)
    except ValueError:  # its message quotes the text
        raise BodyError("the text holds a lone surrogate, which is not valid Unicode") from None


def estimated_tokens(text: str | None) -> int:
    """Tokens of a text, roughly: one per four bytes."""
    return (len((text or "").encode(errors="surrogatepass")) + 3) // 4


def constant_tokens(ask: Ask) -> int:
    """Tokens, roughly, of what goes before every row's own turns: the system prompt and the examples."""
    return estimated_tokens(ask.system) + estimated_tokens(ask.examples)
