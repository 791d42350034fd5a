"""Gemini's generateContent, as the Gemini Developer API serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import from_json

from polar_llama.errors import ConfigurationError
from polar_llama.providers.endpoint import endpoint
from polar_llama.providers.gemini_body import fill, prepare
from polar_llama.providers.gemini_embeddings import GeminiProvider
from polar_llama.providers.gemini_reply import judge, read_reply, read_usage
from polar_llama.providers.lowering import GEMINI, lower
from polar_llama.providers.schema import NotStrictError
from polar_llama.providers.wire import Credential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polar_llama.providers.base import Ask, Connection, Provider, Request, Response, Usage
    from polar_llama.providers.errors import Problem
    from polar_llama.providers.forms import Form
    from polar_llama.providers.wire import Shared, Verdict
    from polar_llama.transport.base import Reply

BASE_URL = "https://generativelanguage.googleapis.com"

API_VERSION = "v1"
"""As Google's own client since its version 3; `GOOGLE_GENAI_API_VERSION` sets another one."""

_VERSIONS = ("/v1", "/v1beta", "/v1alpha")


def create(connection: Connection) -> Provider:
    """Gemini, or whatever server `GOOGLE_GEMINI_BASE_URL` names.

    Raises:
        ConfigurationError: If the base URL is wrong, or Google is to be asked without a key.
    """
    environ = connection.environ
    at = endpoint(environ.get("GOOGLE_GEMINI_BASE_URL") or BASE_URL, "GOOGLE_GEMINI_BASE_URL")
    official = at.host.endswith(".googleapis.com")
    version = (environ.get("GOOGLE_GENAI_API_VERSION") or API_VERSION).strip("/ ")
    wire = GeminiWire("" if at.shown.endswith(_VERSIONS) else f"/{version}", official=official)
    if official and not wire.credential(connection.secret).key:
        raise ConfigurationError(
            f"neither GEMINI_API_KEY nor GOOGLE_API_KEY is set, and {at.host} wants a key. Set GEMINI_API_KEY; or "
            'set GOOGLE_GEMINI_BASE_URL to a gateway of your own; or use model="local", which runs offline'
        )
    return GeminiProvider(at, wire, connection, needs_key=official)


class GeminiWire:
    """The format.

    There is no form with a tool: the models that can be made to call one (Gemini) enforce schemas too, and those
    that do not enforce schemas (Gemma) call no tools.

    Args:
        prefix: The API's version as the beginning of paths, or "" where the base URL ends in it.
        official: Whether Google itself is asked; what gateways make of schemas is found out.
    """

    name = "gemini-generate"
    forms: tuple[Form, ...] = ("schema", "object", "prompt")
    about_forms = (
        "response_json_schema", "responsejsonschema", "response_schema", "response schema", "json mode",
        "response_mime_type", "response mime type", "too many states", "schema",
    )  # fmt: skip

    def __init__(self, prefix: str = f"/{API_VERSION}", *, official: bool = True) -> None:
        self._prefix = prefix
        self._official = official

    def best(self, ask: Ask) -> tuple[Form, bool]:
        """Natively for schemas in the subset; else as JSON, with the schema in words. Gemini models are not doubted."""
        known = "gemini-" in ask.model and self._official
        try:
            lower(from_json(ask.schema or "{}"), GEMINI)
        except NotStrictError:
            return "object", known
        return "schema", known

    def credential(self, secret: Callable[[str], str | None]) -> Credential:
        """`GOOGLE_API_KEY`, else `GEMINI_API_KEY`: the order of Google's own client."""
        for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
            key = (secret(variable) or "").strip()
            if key:
                return Credential(variable, key, "x-goog-api-key")
        return Credential("GEMINI_API_KEY", "", "x-goog-api-key")

    def path(self, ask: Ask) -> str:
        """The model is in the path: `gemini-3.8-flash`, `models/…` or `tunedModels/…`."""
        model = ask.model if "/" in ask.model else f"models/{ask.model}"
        return f"{self._prefix}/{quote(model)}:generateContent"

    def headers(self, ask: Ask) -> Mapping[str, str]:  # noqa: ARG002
        """None."""
        return {}

    def prepare(self, ask: Ask, form: Form) -> Shared:
        """See `Wire.prepare`."""
        return prepare(ask, form)

    def body(self, shared: Shared, request: Request) -> Shared:
        """See `Wire.body`."""
        return fill(shared, request)

    def read(self, reply: Reply, found: Any, form: Form, ask: Ask) -> Response:  # noqa: ARG002
        """See `Wire.read`."""
        return read_reply(found, form, ask)

    def usage(self, found: Any) -> Usage | None:
        """See `Wire.usage`."""
        return read_usage(found.get("usageMetadata")) if isinstance(found, dict) else None

    def judge(self, reply: Reply, problem: Problem) -> Verdict:
        """See `Wire.judge`."""
        return judge(reply, problem)
