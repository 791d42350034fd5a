"""Where a provider is: a base URL, and how it is shown without its secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from polar_llama.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked base URL.

    Attributes:
        host: Host and port, for messages: `127.0.0.1:8080`.
        shown: The base URL without user, password, query and trailing slash: for cache keys.
        base: What paths are appended to; may hold a user and a password.
        query: The query to append, with its question mark, or "".
    """

    host: str
    shown: str
    base: str = field(repr=False)
    query: str = field(repr=False)

    def url(self, path: str) -> str:
        """The URL of a path under the base, such as `/chat/completions`."""
        return self.base + path + self.query


def endpoint(base_url: str, variable: str) -> Endpoint:
    """Check a base URL.

    Args:
        base_url: The URL; spaces around it and a slash at its end do not matter.
        variable: The environment variable that holds it, for the message.

    Raises:
        ConfigurationError: If it is not an http(s) URL with a host.

    >>> endpoint("https://me:pass@Example.com:8443/v1/?key=k", "OPENAI_BASE_URL").shown
    'https://example.com:8443/v1'
    """
    parts = _split(base_url.strip())
    if parts is None:
        base_url = ""  # it may hold a password, and tools that report errors show local variables
        raise ConfigurationError(
            f"{variable} does not hold a base URL: it must begin with http:// or https:// and name a host, "
            "such as http://127.0.0.1:8080/v1"
        )
    user, at, host = parts.netloc.rpartition("@")
    host, path = host.lower(), parts.path.rstrip("/")
    query = f"?{parts.query}" if parts.query else ""
    return Endpoint(host, f"{parts.scheme}://{host}{path}", f"{parts.scheme}://{user}{at}{host}{path}", query)


def _split(base_url: str) -> SplitResult | None:
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if good and base_url.isprintable() and " " not in base_url else None
