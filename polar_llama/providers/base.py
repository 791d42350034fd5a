"""The seam every provider stands behind: values in, values out, one async method.

A provider knows one wire format. It knows no rows, no retries and no cache: those wrap the seam.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from polar_llama.transport.base import Transport

Finish = Literal["stop", "length", "refusal", "filtered", "tool", "error"]

Kind = Literal[
    "rate_limited",  # 429: wait and ask again
    "overloaded",  # 500, 502, 503, 504, 529 and the like: ask again
    "network",  # no answer, or a broken one: ask again
    "timeout",
    "malformed",  # a body that is not what the wire format promises: ask again
    "bad_request",  # this row's request is wrong (400, 413, 422): a failure of this row
    "refused",  # the model refused: a failure of this row
    "truncated",  # the answer hit the token limit: a failure of this row
    "invalid",  # the answer does not validate, also after the second asking
    "auth",  # 401, 403: cannot heal, stops the provider
    "quota",  # spent quota or spend limit: cannot heal, stops the provider
    "unknown_model",  # 404 for the model: cannot heal, stops the provider
    "stopped",  # not sent: the provider was stopped, the run was cancelled, a budget was reached
    "replay",  # not sent: `cache="replay"` and the answer is not in the cache
]

HEALS: frozenset[Kind] = frozenset({"rate_limited", "overloaded", "network", "timeout", "malformed"})
"""Kinds that another try may heal."""

FATAL: frozenset[Kind] = frozenset({"auth", "quota", "unknown_model"})
"""Kinds that stop a provider and model at once."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is the same for every row of one call: everything that can change the answer but the prompt.

    Attributes:
        model: The model's name as the provider knows it, without the provider's prefix.
        system: The system prompt.
        temperature: Sent only when given.
        max_tokens: The most tokens the answer may have; sent only when given.
        seed: Sent only when given.
        options: A JSON object (canonical: sorted keys, no blanks) merged into the request body.
        schema: The answer's JSON schema (canonical JSON; the root is always an object), or None
            for plain text.
        schema_name: A name for the schema, of at most 64 characters of `[A-Za-z0-9_-]`.
        conversation: Whether a prompt is a JSON array of `{"role", "content"}` messages.
        examples: A JSON array of `[question, answer]` texts that go before every prompt as turns, or "".
        embedding: Whether a vector is wanted, not an answer: `Embeds.embed` is asked.
        dimensions: How long the vector is to be; sent only when given.
    """

    model: str
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    options: str = "{}"
    schema: str | None = None
    schema_name: str = "answer"
    conversation: bool = False
    examples: str = ""
    embedding: bool = False
    dimensions: int | None = None


async def _at_will() -> Failure | None:
    """Nobody counts."""
    return None


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model.

    Attributes:
        ask: What this request shares with the other rows of its call.
        prompt: The rendered prompt (with `ask.conversation`: a JSON array of messages).
        repair: The invalid answer and what was wrong with it, when asking a second time.
        timeout: Seconds until the request is given up.
        another: Awaited before each further request for the same prompt (budgets, rates): None, or why there must be
            none.
    """

    ask: Ask
    prompt: str
    repair: tuple[str, str] | None = None
    timeout: float = 600.0
    another: Callable[[], Awaitable[Failure | None]] = field(default=_at_will, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them; the total of inputs includes the cached ones."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """What a provider's rate-limit headers say; None where it does not.

    `requests_reset` and `tokens_reset` are seconds from the answer until the allowance is full.
    """

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset: float | None = None
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that came back and was paid for.

    Attributes:
        text: The answer's text (JSON when a schema was asked for).
        usage: Tokens, or None when the server does not say.
        model: The model that answered, as the provider names it.
        finish: Why the answer ended. `refusal`, `filtered`, `length` become failures of the row
            (`length` only where a schema was asked for or the text is empty).
        request_id: The provider's identifier of the request.
        quota: The rate limits the provider reported.
        native: False when the schema could not be enforced natively.
    """

    text: str
    usage: Usage | None = None
    model: str | None = None
    finish: Finish = "stop"
    request_id: str | None = None
    quota: Quota | None = None
    native: bool = True


@dataclass(frozen=True, slots=True)
class Vectors:
    """What came back for the texts of one request for embeddings.

    Attributes:
        texts: Per text, in their order: base64 of little-endian float32, or why there is no vector.
        usage: Tokens of all together, or None when the server does not say.
        model: The model, as the provider names it.
        request_id: The provider's identifier of the request.
        quota: The rate limits the provider reported.
        sent: False when nothing left this process, because there was nothing to ask.
    """

    texts: tuple[str | Failure, ...]
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    quota: Quota | None = None
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Room:
    """What fits into one request for embeddings: how many texts, and UTF-8 bytes of all together."""

    texts: int
    size: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that gave no answer: a value, until the splice.

    Attributes:
        kind: The class of the failure; `HEALS` and `FATAL` say what follows from it.
        message: What happened, without prompt text and without keys.
        status: The HTTP status, when there was one.
        retry_after: Seconds the provider asks to wait.
        quota: The rate limits the provider reported.
        billed: Tokens that were paid for all the same (refusals, truncated answers).
        sent: False when nothing left this process, because the request could not be written.
    """

    kind: Kind
    message: str
    status: int | None = None
    retry_after: float | None = None
    quota: Quota | None = None
    billed: Usage | None = None
    sent: bool = True


class Provider(Protocol):
    """A model server. The two attributes are constant; `complete` never raises for what a server does."""

    @property
    def identity(self) -> str:
        """What enters the cache key: the wire format and the base URL without credentials, or a file's digest."""
        ...

    @property
    def host(self) -> str:
        """Who answers, for messages: `api.openai.com`, `127.0.0.1:8080`, `local`."""
        ...

    async def complete(self, request: Request) -> Response | Failure:
        """Ask once: no retries."""
        ...

    async def aclose(self) -> None:
        """Free what the provider holds."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """A provider of embeddings; a custom provider may be one as well."""

    def room(self, ask: Ask) -> Room:
        """What fits into one request."""
        ...

    async def embed(self, ask: Ask, texts: Sequence[str], timeout: float) -> Vectors | Failure:
        """Ask once for the vectors of texts: no retries.

        Args:
            ask: The model and the dimensions.
            texts: As many as `room` says, or fewer.
            timeout: Seconds until the request is given up.
        """
        ...


@runtime_checkable
class Checks(Protocol):
    """A provider that can tell before the first request that a call cannot be asked; a custom one need not."""

    def check(self, ask: Ask) -> None:
        """Raise `ConfigurationError` if the model does not take a parameter of the call. Sends nothing."""
        ...


@runtime_checkable
class WantsBytes(Protocol):
    """A provider that may take images as bytes only: URLs are fetched for it, where the call allows their hosts."""

    @property
    def wants_bytes(self) -> bool:
        """Whether it takes no URLs."""
        ...


@dataclass(frozen=True, slots=True)
class Connection:
    """What a provider's factory is handed when a run first needs it.

    Attributes:
        environ: Environment variables as they were when the run started, without secrets.
        secret: Reads a credential by its variable's name, when sending; never stored.
        transport: Sends HTTP requests; opened on first use and shared by the providers.
    """

    environ: Mapping[str, str]
    secret: Callable[[str], str | None] = field(repr=False)
    transport: Callable[[], Transport] = field(repr=False)


Factory = "Callable[[Connection], Provider]"
