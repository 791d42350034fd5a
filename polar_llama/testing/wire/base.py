"""What the wire formats share: a request that was read, a refusal, and the format as a table's row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from polar_llama.providers.base import Usage
from polar_llama.testing.answers import EmulatedAnswer, EmulatedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from polar_llama.providers.base import Quota

RefusalKind = Literal[
    "rate_limited",
    "server_error",
    "overloaded",
    "bad_request",
    "auth",
    "quota",
    "unknown_model",
    "unknown_path",
    "too_large",
]

MISSING_MODEL = "missing-model"
"""The model that no vendor has: asking for it is answered with 404."""


class Incoming:
    """One HTTP request, complete."""

    __slots__ = ("_head", "_lowered", "body", "method", "path")

    def __init__(self, method: str, path: str, head: bytes, lowered: bytes, body: bytes) -> None:
        self.method = method
        self.path = path
        self.body = body
        self._head = head
        self._lowered = lowered

    def header(self, name: bytes) -> str | None:
        """The value of the header with this lower-case name."""
        at = self._lowered.find(b"\r\n" + name + b":")
        if at < 0:
            return None
        start = at + len(name) + 3
        return self._head[start : self._head.find(b"\r\n", start)].strip().decode("latin-1")

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            RefusedError: If it is not one.
        """
        try:
            body = json.loads(self.body.decode())  # decoding here spares json the guessing
        except ValueError:
            raise RefusedError("bad_request", "We could not parse the JSON body of your request.") from None
        if not isinstance(body, dict):
            raise RefusedError("bad_request", "The body of the request must be a JSON object.")
        return body


class RefusedError(Exception):
    """A request that is not answered; each format says so in its vendor's words.

    Attributes:
        kind: Why.
        message: For people.
        param: The field that is wrong.
        code: The vendor's code, where the kind does not say it.
        retry_after: Seconds to wait.
    """

    def __init__(
        self,
        kind: RefusalKind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.param, self.code, self.retry_after = kind, message, param, code, retry_after


@dataclass(slots=True)
class Task:
    """A request that was understood.

    Attributes:
        request: What is asked.
        write: Makes the reply's body (ASCII JSON) of the request, its answer and the usage.
        tokens: Tokens of the input.
        cached: How many of them the vendor's prompt cache would have served.
    """

    request: EmulatedRequest
    write: Callable[[EmulatedRequest, EmulatedAnswer, Usage], str]
    tokens: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Wire:
    """One vendor's wire format.

    Attributes:
        name: As in `"provider:model"`.
        prefix: How the paths of its requests begin on this server.
        base: What the base URL ends in: the prefix, or the part of it that clients expect.
        environ: The environment variables for a base URL and key.
        key: The key that a request shows.
        read: Understands a request; a string is a reply's body that takes no model to write.
        error: The status, header lines and body of a refusal, given the request's identifier.
        head: Header lines of every reply: the request's identifier and the quota.
    """

    name: str
    prefix: str
    base: str
    environ: Callable[[str, str], dict[str, str]]
    key: Callable[[Incoming], str | None]
    read: Callable[[Incoming, str], Task | str]
    error: Callable[[RefusedError, str], tuple[int, str, str]]
    head: Callable[[str, Quota | None], str]


def tokens(text: str) -> int:
    """How many tokens a text is here: one per four characters."""
    return (len(text) + 3) // 4


def input_tokens(request: EmulatedRequest) -> int:
    """Tokens of all messages, with three more for each."""
    texts = [text for _, text in request.messages]
    return sum((len(t) + 15) // 4 for t in texts) + tokens(request.system or "")


def cached_tokens(request: EmulatedRequest, total: int, least: int = 1024, block: int = 128) -> int:
    """What a warm prompt cache serves: the system prompt in whole blocks, once the input is long enough.

    A function of the request alone: the cache counts as warm from the first request.
    """
    return 0 if total < least else tokens(request.system or "") // block * block


def settled(said: str | Mapping[str, Any] | EmulatedAnswer, task: Task) -> tuple[EmulatedAnswer, Usage]:
    """The answer cut at the request's token limit, and its usage."""
    if isinstance(said, str):
        answer = EmulatedAnswer(said)
    elif isinstance(said, EmulatedAnswer):
        answer = said
    else:
        answer = EmulatedAnswer(json.dumps(said))
    limit = task.request.max_tokens
    if limit is not None and answer.finish == "stop" and tokens(answer.text) > limit:
        answer = EmulatedAnswer(answer.text[: 4 * limit], "length", answer.usage)
    usage = answer.usage or Usage(task.tokens, tokens(answer.text), task.cached)
    return answer, usage


def names(text: str) -> frozenset[str]:
    """The field names in a text, separated by blanks."""
    return frozenset(text.split())


def only(body: Mapping[str, Any], known: Collection[str], say: Callable[[str], str]) -> None:
    """Refuse fields that are not known."""
    for name in body:
        if name not in known:
            raise RefusedError("bad_request", say(name), param=name)


def number(body: Mapping[str, Any], name: str, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse a field that is there and not a number from `low` to `high`."""
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
        kind = "an integer" if whole else "a number"
        raise RefusedError(
            "bad_request",
            f"Invalid value for '{name}': expected {kind} from {low:g} to {high:g}.",
            param=name,
            code="invalid_value",
        )


def seconds(wait: float) -> str:
    """Seconds as a header or body says them: `2` or `0.05`."""
    return f"{wait:.3f}".rstrip("0").rstrip(".")
