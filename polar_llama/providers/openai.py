"""OpenAI's chat completions, as OpenAI, Groq, vLLM, llama.cpp, Ollama and many gateways serve them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from polar_llama.errors import ConfigurationError
from polar_llama.providers.base import Failure, Response
from polar_llama.providers.conversation import BodyError
from polar_llama.providers.endpoint import endpoint
from polar_llama.providers.errors import Problem, failure, problem_of, read_problem
from polar_llama.providers.forms import Forms
from polar_llama.providers.openai_body import FORMS, prepare, takes_no_temperature
from polar_llama.providers.openai_dialect import Dialect
from polar_llama.providers.openai_embeddings import Embeddings
from polar_llama.providers.openai_reply import find_object, read_reply, read_usage
from polar_llama.providers.prepared import remember
from polar_llama.providers.schema import drop_nulls
from polar_llama.transport.base import TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.providers.base import Ask, Connection, Provider, Request, Room, Vectors
    from polar_llama.providers.endpoint import Endpoint
    from polar_llama.providers.forms import Form
    from polar_llama.providers.openai_body import Body
    from polar_llama.transport.base import Reply

BASE_URL = "https://api.openai.com/v1"

_ABOUT_SCHEMAS = (
    "response_format", "response format", "json_schema", "json schema", "json_object", "structured output",
)  # fmt: skip


_MODERN = re.compile(r"(?:^|/)(?:o\d|gpt-[5-9])")
"""OpenAI's own models refuse `max_tokens`, whichever gateway stands before them."""


def create(connection: Connection) -> Provider:
    """OpenAI, or whatever server `OPENAI_BASE_URL` names.

    Raises:
        ConfigurationError: If the base URL is wrong, or OpenAI is to be asked without a key.
    """
    environ = connection.environ
    at = endpoint(environ.get("OPENAI_BASE_URL") or BASE_URL, "OPENAI_BASE_URL")
    official = at.host == "api.openai.com" or at.host.endswith(".api.openai.com")
    names = {"openai-organization": "OPENAI_ORG_ID", "openai-project": "OPENAI_PROJECT_ID"}
    headers = {header: environ[name].strip() for header, name in names.items() if environ.get(name)}
    modern = official or at.host.endswith(".openai.azure.com")
    dialect = Dialect(
        max_tokens="max_completion_tokens" if modern else "max_tokens",
        knows_schemas=modern,
        needs_key=official,
        headers=headers,
    )
    if official and not (connection.secret(dialect.key) or "").strip():
        raise ConfigurationError(
            "OPENAI_API_KEY is not set, and api.openai.com wants a key. Set OPENAI_API_KEY; or set OPENAI_BASE_URL "
            'to a server of your own; or use model="local", which runs offline and needs no key'
        )
    return ChatProvider(at, dialect, connection)


class ChatProvider:
    """A server of chat completions.

    Args:
        at: Where it is.
        dialect: In what it differs from others.
        connection: Reads the key when sending, and sends.
    """

    def __init__(self, at: Endpoint, dialect: Dialect, connection: Connection) -> None:
        self.identity = f"openai-chat {at.shown}"
        self.host = at.host
        self._url = at.url("/chat/completions")
        self._dialect = dialect
        self._connection = connection
        self._fixed = {"content-type": "application/json", **dialect.headers}
        self._bodies: dict[tuple[Ask, Form], Body] = {}
        self._forms = Forms(FORMS, _ABOUT_SCHEMAS)
        self._embeddings = Embeddings(self.host, self.url, dialect, connection)

    def url(self, ask: Ask) -> str:  # noqa: ARG002 -- at Azure the model is part of it
        """Where a call is sent."""
        return self._url

    def check(self, ask: Ask) -> None:
        """Raise what would keep every request of a call from being sent.

        Raises:
            ConfigurationError: If the options set what is not an option, or what the server does not take.
        """
        try:
            self._body(ask, "schema")
        except BodyError as error:
            raise ConfigurationError(f"{ask.model} cannot be asked: {error}") from None

    def room(self, ask: Ask) -> Room:  # noqa: ARG002
        """See `Embeds.room`."""
        return self._embeddings.room

    async def embed(self, ask: Ask, texts: Sequence[str], timeout: float) -> Vectors | Failure:
        """See `Embeds.embed`."""
        return await self._embeddings.embed(ask, texts, timeout)

    async def aclose(self) -> None:
        """Nothing to free: the transport is shared."""

    async def complete(self, request: Request) -> Response | Failure:
        """Ask once; the first question with a schema also finds out how the server takes schemas."""
        if request.ask.schema is None:
            return (await self._once(request, "schema"))[0]
        return await self._forms.ask(request, self._once, "schema", proven=self._dialect.knows_schemas)

    async def _once(self, request: Request, form: Form) -> tuple[Response | Failure, Problem | None]:
        """One exchange; the problem is there when the server answered with an error."""
        try:
            body = self._body(request.ask, form)
            content = body.write(request)
        except BodyError as error:
            return Failure("bad_request", f"not sent to {self.host}: {error}", sent=False), None
        key = (self._connection.secret(self._dialect.key) or "").strip()
        if (wrong := self._wrong_key(key)) is not None:
            return wrong, None
        headers = self._fixed
        if key:
            name = self._dialect.key_header
            headers = {**headers, name: f"Bearer {key}" if name == "authorization" else key}
        try:
            transport = self._connection.transport()
            reply = await transport.send("POST", self.url(request.ask), headers, content, request.timeout)
        except TransportError as error:
            return Failure(error.kind, str(error)), None
        if reply.status == 200:  # noqa: PLR2004
            return self._answer(reply, request, form, body, key)
        return self._failed(reply, read_problem(reply.body), request, key)

    def _answer(
        self, reply: Reply, request: Request, form: Form, body: Body, key: str
    ) -> tuple[Response | Failure, Problem | None]:
        found: Any = None
        native = form == "schema" and (body.strict or not self._dialect.knows_schemas)
        try:
            found = from_json(reply.body)
            response = read_reply(reply, found, native=native or request.ask.schema is None)
        except ValueError as error:
            return self._malformed(reply, found, request, key, error)
        if request.ask.schema is not None and response.finish == "stop":
            text = _settled(response.text, body)
            if text is not response.text:
                response = replace(response, text=text)
        return response, None

    def _malformed(
        self, reply: Reply, found: Any, request: Request, key: str, error: ValueError
    ) -> tuple[Failure, Problem | None]:
        """A 200 without an answer; gateways hide errors of the servers behind them in it."""
        inner = found.get("error") if isinstance(found, dict) else None
        code = inner.get("code") if isinstance(inner, dict) else None
        if isinstance(code, int) and 400 <= code < 600:  # noqa: PLR2004
            return self._failed(reply, problem_of(found), request, key, code)
        said = "a body that is not JSON, or cut off" if found is None else str(error)
        usage = read_usage(found.get("usage")) if isinstance(found, dict) else None
        return Failure("malformed", f"{self.host} answered 200 with {said}", 200, billed=usage), None

    def _failed(
        self, reply: Reply, problem: Problem, request: Request, key: str, status: int = 0
    ) -> tuple[Failure, Problem | None]:
        variable = self._dialect.key
        said = failure(reply, problem, request, host=self.host, key=key, variable=variable, status=status)
        return said, problem

    def _wrong_key(self, key: str) -> Failure | None:
        if key.isascii() and key.isprintable() and (key or not self._dialect.needs_key):
            return None
        what = "holds characters no key has" if key else "is not set any more"
        return Failure("auth", f"not sent to {self.host}: {self._dialect.key} {what}", sent=False)

    def _max_tokens(self, model: str) -> str:
        return "max_completion_tokens" if _MODERN.search(model) else self._dialect.max_tokens

    def _body(self, ask: Ask, form: Form) -> Body:
        found = self._bodies.get((ask, form))
        if found is None:
            found = remember(self._bodies, (ask, form), self._prepared(ask, form))
        return found

    def _prepared(self, ask: Ask, form: Form) -> Body:
        options = from_json(ask.options)
        if refused := sorted(self._dialect.unknown & options.keys()):
            raise BodyError(f"{self.host} does not take {', '.join(refused)}; leave it out of the options")
        if why := takes_no_temperature(ask, options):
            raise BodyError(f"{why}; leave it out")
        strict = self._dialect.strict.search(ask.model) is not None
        return prepare(ask, form, self._max_tokens(ask.model), strict=strict)


def _settled(text: str, body: Body) -> str:
    """The answer's JSON object alone, without the nulls that strict mode made the model write."""
    if not text.startswith("{"):
        text = find_object(text)
    if body.optional is not None and "null" in text:
        try:
            text = to_json(drop_nulls(from_json(text), body.optional, body.optional)).decode()
        except ValueError:
            return text  # what is wrong with it is found when it is read
    return text
