"""A provider over HTTP: what Anthropic's and Gemini's have in common. The format itself, a `Wire`, sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic_core import from_json

from polar_llama.errors import ConfigurationError
from polar_llama.providers.base import Failure
from polar_llama.providers.conversation import BodyError, json_bytes
from polar_llama.providers.errors import Problem, failure, read_problem
from polar_llama.providers.forms import Forms
from polar_llama.providers.prepared import remember
from polar_llama.transport.base import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from polar_llama.providers.base import Ask, Connection, Kind, Quota, Request, Response, Usage
    from polar_llama.providers.endpoint import Endpoint
    from polar_llama.providers.forms import Form
    from polar_llama.transport.base import Reply

Shared = dict[str, Any]
"""What the bodies of one call share."""


class Credential(NamedTuple):
    """A key, where it was found, and how it is shown to the server.

    Attributes:
        variable: The environment variable, for messages.
        key: The key, or "".
        header: The header that shows it.
        scheme: What stands before it there, such as `"Bearer "`.
    """

    variable: str
    key: str
    header: str
    scheme: str = ""


class Verdict(NamedTuple):
    """What a wire format says about an error beyond what all share; None: nothing."""

    kind: Kind | None = None
    retry_after: float | None = None
    quota: Quota | None = None
    problem: Problem | None = None


class Wire(Protocol):
    """One wire format: bodies from requests, answers from bodies."""

    @property
    def name(self) -> str:
        """What stands in cache keys."""
        ...

    @property
    def forms(self) -> Sequence[Form]:
        """The ways to ask for a schema, best first."""
        ...

    @property
    def about_forms(self) -> Sequence[str]:
        """Words of errors that are about the way a schema is asked for."""
        ...

    def best(self, ask: Ask) -> tuple[Form, bool]:
        """The best form for a call's model and schema, and whether it is known to work."""
        ...

    def credential(self, secret: Callable[[str], str | None]) -> Credential:
        """The key to show."""
        ...

    def path(self, ask: Ask) -> str:
        """Where a call's requests go, under the base URL."""
        ...

    def headers(self, ask: Ask) -> Mapping[str, str]:
        """Headers beside the key's."""
        ...

    def prepare(self, ask: Ask, form: Form) -> Shared:
        """What the bodies of a call share.

        Raises:
            BodyError: If a parameter or an option is one that the model or the format does not take.
        """
        ...

    def body(self, shared: Shared, request: Request) -> Shared:
        """The body of one request.

        Raises:
            BodyError: If the prompt cannot be sent.
        """
        ...

    def read(self, reply: Reply, found: Any, form: Form, ask: Ask) -> Response:
        """The answer in a reply with status 200.

        Raises:
            ValueError: If the body is not what the format promises; the text says how, and quotes nothing.
        """
        ...

    def usage(self, found: Any) -> Usage | None:
        """The tokens in a body, whatever else is wrong with it."""
        ...

    def judge(self, reply: Reply, problem: Problem) -> Verdict:
        """What an error reply says in this format."""
        ...


class WireProvider:
    """A server of one wire format.

    Args:
        at: Where it is.
        wire: The format.
        connection: Reads the key when sending, and sends.
        needs_key: Whether nothing is sent without a key.
    """

    def __init__(self, at: Endpoint, wire: Wire, connection: Connection, *, needs_key: bool) -> None:
        self.identity = f"{wire.name} {at.shown}"
        self.host = at.host
        self._at = at
        self._wire = wire
        self._connection = connection
        self._needs_key = needs_key
        self._forms = Forms(wire.forms, wire.about_forms)
        self._prepared: dict[tuple[Ask, Form], Shared] = {}
        self._best: dict[Ask, tuple[Form, bool]] = {}

    def check(self, ask: Ask) -> None:
        """Raise what would keep every request of a call from being sent.

        Raises:
            ConfigurationError: If the model does not take a parameter, or an option cannot be set.
        """
        try:
            self._shared(ask, "schema" if ask.schema is None else self._start(ask)[0])
        except BodyError as error:
            raise ConfigurationError(f"{ask.model} cannot be asked: {error}") from None

    async def aclose(self) -> None:
        """Nothing to free: the transport is shared."""

    async def complete(self, request: Request) -> Response | Failure:
        """Ask once; the first question with a schema may also find out how the model takes schemas."""
        if request.ask.schema is None:
            return (await self._once(request, "schema"))[0]
        form, proven = self._start(request.ask)
        return await self._forms.ask(request, self._once, form, proven=proven)

    async def _once(self, request: Request, form: Form) -> tuple[Response | Failure, Problem | None]:
        """One exchange; the problem is there when the server answered with an error."""
        ask, wire = request.ask, self._wire
        try:
            content = json_bytes(wire.body(self._shared(ask, form), request))
        except BodyError as error:
            return Failure("bad_request", f"not sent to {self.host}: {error}", sent=False), None
        shows = wire.credential(self._connection.secret)
        if (wrong := self._wrong_key(shows)) is not None:
            return wrong, None
        headers = {"content-type": "application/json", **wire.headers(ask)}
        if shows.key:
            headers[shows.header] = shows.scheme + shows.key
        url = self._at.url(wire.path(ask))
        try:
            reply = await self._connection.transport().send("POST", url, headers, content, request.timeout)
        except TransportError as error:
            return Failure(error.kind, str(error)), None
        if reply.status == 200:  # noqa: PLR2004
            return self._answer(reply, form, ask), None
        return self._failed(reply, request, shows)

    def _answer(self, reply: Reply, form: Form, ask: Ask) -> Response | Failure:
        found: Any = None
        try:
            found = from_json(reply.body)
            return self._wire.read(reply, found, form, ask)
        except ValueError as error:
            said = "a body that is not JSON, or cut off" if found is None else str(error)
            billed = self._wire.usage(found)
            return Failure("malformed", f"{self.host} answered 200 with {said}", 200, billed=billed)

    def _failed(self, reply: Reply, request: Request, shows: Credential) -> tuple[Failure, Problem]:
        plain = read_problem(reply.body)
        kind, wait, quota, better = self._wire.judge(reply, plain)
        problem = better or plain
        said = failure(reply, problem, request, host=self.host, key=shows.key, variable=shows.variable, kind=kind)
        return Failure(said.kind, said.message, said.status, wait or said.retry_after, quota or said.quota), problem

    def _wrong_key(self, shows: Credential) -> Failure | None:
        key = shows.key
        if key.isascii() and key.isprintable() and (key or not self._needs_key):
            return None
        what = "holds characters no key has" if key else "is not set any more"
        return Failure("auth", f"not sent to {self.host}: {shows.variable} {what}", sent=False)

    def _start(self, ask: Ask) -> tuple[Form, bool]:
        return self._best.get(ask) or remember(self._best, ask, self._wire.best(ask))

    def _shared(self, ask: Ask, form: Form) -> Shared:
        return self._prepared.get((ask, form)) or remember(self._prepared, (ask, form), self._wire.prepare(ask, form))
