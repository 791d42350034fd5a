"""Servers that speak OpenAI's chat completions, under names of your own: vLLM, llama.cpp, Ollama, LiteLLM and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.providers.endpoint import endpoint
from polar_llama.providers.openai import ChatProvider
from polar_llama.providers.openai_dialect import Dialect

if TYPE_CHECKING:
    from polar_llama.providers.base import Connection, Provider
    from polar_llama.providers.registry import Factory


def compatible(base_url: str, *, key: str = "OPENAI_COMPATIBLE_API_KEY", max_tokens: str = "max_tokens") -> Factory:
    """What `register_provider` is given for a server that speaks OpenAI's format.

    Nothing need be known of the server: whether it takes JSON schemas is found out by the first question that has one.

    Args:
        base_url: Where `/chat/completions` is, such as `http://127.0.0.1:11434/v1`.
        key: The environment variable that holds the key; nothing is sent as a key where it is not set.
        max_tokens: What the server calls the limit of the answer's tokens.

    Returns:
        A factory of providers.

    Raises:
        ConfigurationError: If it is not an http(s) URL with a host.

    >>> from polar_llama import register_provider
    >>> register_provider("ollama", compatible("http://127.0.0.1:11434/v1"))
    """
    at = endpoint(base_url, "base_url")
    dialect = Dialect(key=key, max_tokens=max_tokens)

    def create(connection: Connection) -> Provider:
        return ChatProvider(at, dialect, connection)

    return create
