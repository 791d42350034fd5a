"""From an error reply in OpenAI's shape to a `Failure`; shared by all who follow that shape.

What a server says is shown only as far as it cannot hold a key or a piece of the prompt: some
echo both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from polar_llama.providers.base import Failure
from polar_llama.providers.headers import quota, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polar_llama.providers.base import Kind, Request
    from polar_llama.transport.base import Reply

LONGEST_MESSAGE = 300
"""Characters of a server's own message that are shown."""

PIECE, KEY_PIECE = 12, 6
"""A message that shares a run of this many characters with the prompt, or with the key, is not shown."""

_QUOTA = frozenset({
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits",
    "insufficient_balance", "enforced_spend_limit_reached",
})  # fmt: skip
_NO_MODEL = frozenset({"model_not_found", "invalid_model", "model_not_active", "model_terms_required"})
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
_NEVER_HEALS = frozenset({501, 505})
_HEALS_BELOW_500 = frozenset({408, 409, 498})

_HINTS: dict[str, str] = {
    "auth": "check {key}",
    "quota": "check the plan and the billing of the account",
    "unknown_model": "check the model's name, and that the base URL is right",
}
_KEY_LIKE = re.compile(r"\b(?:sk|gsk|rk|pk|key)[-_][\w*.-]{6,}|\bBearer\s+\S+|\S*\*{3,}\S*", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z][\w.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the server words it; each part is "" when it is not there."""

    message: str = ""
    type: str = ""
    code: str = ""

    @property
    def name(self) -> str:
        """The most telling of code and type, if it looks like a name."""
        return next((n for n in (self.code, self.type) if _NAME.fullmatch(n)), "")


def read_problem(body: bytes) -> Problem:
    """Find the error in a reply's body: `{"error": {...} | "..."}`, a list of one, `{"detail": ...}`, plain text."""
    try:
        found = from_json(body)
    except ValueError:
        text = body[:LONGEST_MESSAGE].decode(errors="replace").strip()
        return Problem("" if text.startswith("<") else text)
    if isinstance(found, list) and found:
        found = found[0]
    return problem_of(found)


def problem_of(found: Any) -> Problem:
    """Find the error in a parsed body."""
    if not isinstance(found, dict):
        return Problem()
    inner = found.get("error", found)
    if not isinstance(inner, dict):
        return Problem(message=_text(inner))
    message = _text(inner.get("message")) or _detail(inner.get("detail"))
    return Problem(message, _text(inner.get("type")), _text(inner.get("code")))


def _detail(found: Any) -> str:
    """FastAPI's validation errors: the place and the finding, not the input, which it quotes too."""
    if not isinstance(found, list):
        return _text(found)
    first = found[0] if found and isinstance(found[0], dict) else {}
    place = first.get("loc")
    return " ".join([*map(str, place if isinstance(place, list) else ()), _text(first.get("msg"))])


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def kind_of(status: int, problem: Problem) -> Kind:  # noqa: PLR0911 -- a table, read from the top
    """The class of an HTTP error; the order matters."""
    names = {problem.type, problem.code}
    if status == 402 or (names & _QUOTA and status < 500):  # noqa: PLR2004
        return "quota"
    if status == 404 or (names & _NO_MODEL and status < 500):  # noqa: PLR2004
        return "unknown_model"
    if status in {401, 403, 407}:
        return "auth"
    if status == 429:  # noqa: PLR2004
        return "rate_limited"
    if "json_validate_failed" in names:
        return "malformed"
    if names & _FILTERED:
        return "refused"
    if status in _HEALS_BELOW_500 or (status >= 500 and status not in _NEVER_HEALS):  # noqa: PLR2004
        # llama-server answers 500 to an image that the model cannot see, and to a text too long to embed
        hopeless = any(words in problem.message.lower() for words in ("not supported", "too large to process"))
        return "bad_request" if hopeless else "overloaded"
    return "bad_request"


def failure(
    reply: Reply,
    problem: Problem,
    request: Request,
    *,
    host: str,
    key: str | None,
    variable: str,
    status: int = 0,
    kind: Kind | None = None,
) -> Failure:
    """The failure an error reply stands for.

    Args:
        reply: The reply.
        problem: What its body says.
        request: What was asked: none of its text is shown.
        host: Who answered.
        key: The key that was sent, never to be shown.
        variable: The environment variable that holds the key.
        status: The status to go by, where it is not the reply's.
        kind: The class, where it is not the one of OpenAI's shape.
    """
    status = status or reply.status
    kind = kind or kind_of(status, problem)
    said = f"{host} answered {status}"
    if problem.name:
        said += f" {problem.name}"
    message = shown(problem.message, request, key)
    if message:
        said += f": {message}"
    hint = _HINTS.get(kind, "").format(key=variable)
    if 300 <= status < 400:  # noqa: PLR2004
        hint = "redirects are not followed; set the base URL to where it leads"
    said += f" ({hint})" if hint else ""
    return Failure(kind, said, status, retry_after(reply.headers), quota(reply.headers))


def shown(message: str, request: Request, key: str | None) -> str:
    """A server's message as far as it may be shown: shortened, without keys; "" if it may quote the prompt."""
    message = _KEY_LIKE.sub("[key]", " ".join(message.replace(key, "[key]").split() if key else message.split()))
    if len(message) > LONGEST_MESSAGE:
        message = message[: LONGEST_MESSAGE - 1] + "…"
    message = "".join(c for c in message if c.isprintable())
    plain = _plain(message)
    if any(_share(plain, _plain(text), PIECE) for text in _secrets(request)):
        return ""
    return "" if key and _share(message, key, KEY_PIECE) else message


def _secrets(request: Request) -> Iterator[str]:
    yield request.prompt
    if request.ask.system:
        yield request.ask.system
    if request.ask.examples:
        yield request.ask.examples
    if request.repair:
        yield from request.repair


def _share(message: str, secret: str, size: int) -> bool:
    """Whether a run of `size` characters of the secret, or the whole of a shorter one, is in the message."""
    if len(secret) <= size:
        return bool(secret) and secret in message
    return any(message[i : i + size] in secret for i in range(len(message) - size + 1))


def _plain(text: str) -> str:
    """Text without case, escapes and differences of white space, so that an echo in JSON is found too."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)
    return " ".join(re.sub(r"\\[nrt]", " ", text).replace("\\", "").casefold().split())
