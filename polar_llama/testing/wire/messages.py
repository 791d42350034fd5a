"""A conversation in the shape of OpenAI and of those who followed: roles, and texts or parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polar_llama.testing.wire.base import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

Conversation = tuple[str | None, tuple[tuple[str, str], ...]]


def conversation(given: Any, roles: Collection[str], system: Collection[str] = ()) -> Conversation:
    """The system text and the other messages as `(role, text)`.

    Args:
        given: The request's `messages`.
        roles: The roles that are known.
        system: Those of them that are the system's.

    Raises:
        RefusedError: If it is not a conversation.
    """
    if not isinstance(given, list) or not given:
        raise RefusedError(
            "bad_request", "Invalid 'messages': expected an array with at least one message.", param="messages"
        )
    told: list[str] = []
    said: list[tuple[str, str]] = []
    for i, message in enumerate(given):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in roles:
            raise RefusedError(
                "bad_request",
                f"Invalid value: {role!r}. Supported values are: {', '.join(map(repr, sorted(roles)))}.",
                param=f"messages[{i}].role",
                code="invalid_value",
            )
        content = message.get("content")
        shown = content if isinstance(content, str) else parts(content, f"messages[{i}].content", role)
        if role in system:
            told.append(shown)
        else:
            said.append((role, shown))
    return "\n\n".join(told) if told else None, tuple(said)


def parts(content: Any, where: str, role: str = "user") -> str:
    """The text of content parts; other parts count as empty."""
    if content is None and role in {"assistant", "function"}:
        return ""
    if not isinstance(content, list) or not all(
        isinstance(p, dict) and isinstance(p.get("type"), str) for p in content
    ):
        raise RefusedError(
            "bad_request",
            f"Invalid type for '{where}': expected a string or an array of content parts.",
            param=where,
            code="invalid_type",
        )
    return "".join(p["text"] if p["type"] == "text" and isinstance(p.get("text"), str) else "" for p in content)
