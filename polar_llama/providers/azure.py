"""Azure OpenAI: OpenAI's chat completions at a host of your own, by the names of your deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from polar_llama.errors import ConfigurationError
from polar_llama.providers.endpoint import endpoint
from polar_llama.providers.openai import ChatProvider
from polar_llama.providers.openai_dialect import Dialect

if TYPE_CHECKING:
    from polar_llama.providers.base import Ask, Connection, Provider
    from polar_llama.providers.endpoint import Endpoint


def create(connection: Connection) -> Provider:
    """The resource at `AZURE_OPENAI_ENDPOINT`; models are the names of its deployments.

    The key is `AZURE_OPENAI_API_KEY`, or a token of Microsoft Entra in `AZURE_OPENAI_AD_TOKEN`, which goes before it.
    With `OPENAI_API_VERSION` the older, dated API is asked; without it the one that has no dates (`/openai/v1`).

    Raises:
        ConfigurationError: If the endpoint is not set or wrong, or there is neither a key nor a token.
    """
    if not _resource(connection):
        raise ConfigurationError(
            "AZURE_OPENAI_ENDPOINT is not set. Set it to the address of your resource, such as "
            "https://my-resource.openai.azure.com, and AZURE_OPENAI_API_KEY to its key"
        )
    at = endpoint(_resource(connection), "AZURE_OPENAI_ENDPOINT")
    token = (connection.secret("AZURE_OPENAI_AD_TOKEN") or "").strip()
    if not token and not (connection.secret("AZURE_OPENAI_API_KEY") or "").strip():
        raise ConfigurationError(f"AZURE_OPENAI_API_KEY is not set, and {at.host} wants a key")
    dialect = Dialect(
        key="AZURE_OPENAI_AD_TOKEN" if token else "AZURE_OPENAI_API_KEY",
        key_header="authorization" if token else "api-key",
        max_tokens="max_completion_tokens",
        knows_schemas=True,
        needs_key=True,
    )
    return AzureProvider(at, dialect, connection, (connection.environ.get("OPENAI_API_VERSION") or "").strip())


def _resource(connection: Connection) -> str:
    given = (connection.environ.get("AZURE_OPENAI_ENDPOINT") or "").strip().rstrip("/")
    return given.removesuffix("/openai/v1").removesuffix("/openai")


class AzureProvider(ChatProvider):
    """A resource.

    Args:
        at: Its endpoint, without a path.
        dialect: How it is asked.
        connection: Reads the key when sending, and sends.
        version: The date of the API, or "" for the one without dates.
    """

    def __init__(self, at: Endpoint, dialect: Dialect, connection: Connection, version: str) -> None:
        super().__init__(at, dialect, connection)
        self._at = at
        self._version = version
        self.identity = f"azure-openai {at.shown}" + (f" {version}" if version else "")

    def url(self, ask: Ask) -> str:
        """Where a call is sent: with a dated version the deployment is part of the path."""
        if not self._version:
            return self._at.url("/openai/v1/chat/completions")
        path = f"/openai/deployments/{quote(ask.model, safe='')}/chat/completions"
        return self._at.url(path) + ("&" if self._at.query else "?") + f"api-version={quote(self._version)}"
