"""Anthropic's messages, as Anthropic and some gateways serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from polar_llama.errors import ConfigurationError
from polar_llama.providers.anthropic_body import PATH, TAKEN, VERSION, fill, prepare, samples
from polar_llama.providers.anthropic_reply import judge, read_reply, read_usage
from polar_llama.providers.claude import takes_schemas
from polar_llama.providers.endpoint import endpoint
from polar_llama.providers.lowering import ANTHROPIC, lower
from polar_llama.providers.schema import NotStrictError
from polar_llama.providers.wire import Credential, WireProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polar_llama.providers.base import Ask, Connection, Provider, Request, Response, Usage
    from polar_llama.providers.errors import Problem
    from polar_llama.providers.forms import Form
    from polar_llama.providers.wire import Shared, Verdict
    from polar_llama.transport.base import Reply

BASE_URL = "https://api.anthropic.com"


def create(connection: Connection) -> Provider:
    """Anthropic, or whatever server `ANTHROPIC_BASE_URL` names.

    Raises:
        ConfigurationError: If the base URL is wrong, or Anthropic is to be asked without a key.
    """
    at = endpoint((connection.environ.get("ANTHROPIC_BASE_URL") or BASE_URL), "ANTHROPIC_BASE_URL")
    official = at.host == "api.anthropic.com"
    wire = AnthropicWire(versioned=at.shown.endswith("/v1"), official=official)
    if official and not wire.credential(connection.secret).key:
        raise ConfigurationError(
            "ANTHROPIC_API_KEY is not set, and api.anthropic.com wants a key. Set ANTHROPIC_API_KEY; or set "
            'ANTHROPIC_BASE_URL to a gateway of your own; or use model="local", which runs offline and needs no key'
        )
    return WireProvider(at, wire, connection, needs_key=official)


class AnthropicWire:
    """The format.

    Args:
        versioned: Whether the base URL ends in `/v1` itself.
        official: Whether Anthropic itself is asked; what gateways make of schemas is found out.
    """

    name = "anthropic-messages"
    forms: tuple[Form, ...] = ("schema", "tool", "prompt")
    about_forms = ("output_config", "output_format", "schema", "grammar", "tool_choice", "tools", "structured output")

    def __init__(self, *, versioned: bool = False, official: bool = True) -> None:
        self._path = PATH.removeprefix("/v1") if versioned else PATH
        self._official = official

    def best(self, ask: Ask) -> tuple[Form, bool]:
        """Natively from Claude 4.5 on, for schemas in the subset; else by a tool that must be called."""
        takes = takes_schemas(ask.model)
        known = takes is True and self._official
        if takes is False:
            return "tool", False
        try:
            lower(from_json(ask.schema or "{}"), ANTHROPIC)
        except NotStrictError:
            return "tool", known
        return "schema", known

    def credential(self, secret: Callable[[str], str | None]) -> Credential:
        """`ANTHROPIC_API_KEY`, else `ANTHROPIC_AUTH_TOKEN`."""
        key = (secret("ANTHROPIC_API_KEY") or "").strip()
        if key:
            return Credential("ANTHROPIC_API_KEY", key, "x-api-key")
        token = (secret("ANTHROPIC_AUTH_TOKEN") or "").strip()
        if token:
            return Credential("ANTHROPIC_AUTH_TOKEN", token, "authorization", "Bearer ")
        return Credential("ANTHROPIC_API_KEY", "", "x-api-key")

    def path(self, ask: Ask) -> str:  # noqa: ARG002
        """One path for all models."""
        return self._path

    def headers(self, ask: Ask) -> Mapping[str, str]:
        """The API's version: the newest one does not know sampling parameters."""
        return TAKEN if samples(ask) else VERSION

    def prepare(self, ask: Ask, form: Form) -> Shared:
        """See `Wire.prepare`."""
        return prepare(ask, form)

    def body(self, shared: Shared, request: Request) -> Shared:
        """See `Wire.body`."""
        return fill(shared, request)

    def read(self, reply: Reply, found: Any, form: Form, ask: Ask) -> Response:
        """See `Wire.read`."""
        return read_reply(reply, found, form, ask)

    def usage(self, found: Any) -> Usage | None:
        """See `Wire.usage`."""
        return read_usage(found.get("usage")) if isinstance(found, dict) else None

    def judge(self, reply: Reply, problem: Problem) -> Verdict:
        """See `Wire.judge`."""
        return judge(reply, problem)
