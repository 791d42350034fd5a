"""Providers by name. To add one: write its file, and name its factory in `_BUILT_IN`."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import re
from typing import TYPE_CHECKING

from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.providers.base import Connection, Provider

    Factory = Callable[..., Provider]

ENTRY_POINTS = "polar_llama.providers"
"""The group of entry points under which packages announce factories."""

_BUILT_IN = {
    "anthropic": "polar_llama.providers.anthropic:create",
    "azure": "polar_llama.providers.azure:create",
    "bedrock": "polar_llama.providers.bedrock:create",
    "gemini": "polar_llama.providers.gemini:create",
    "groq": "polar_llama.providers.groq:create",
    "openai": "polar_llama.providers.openai:create",
    "local": "polar_llama.providers.local:create",
}
"""Name to "module:factory"; imported on first use. Extras are named like the provider that needs them."""

PER_MODEL = frozenset({"local"})
"""Providers of one model each: their factories are handed the model's name too."""

_EMBEDDING = {
    "openai": "text-embedding-3-small",
    "gemini": "gemini-embedding-2",
    "bedrock": "amazon.titan-embed-text-v2:0",
}
"""The embedding models that are asked where a call names none."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_registered: dict[str, Factory] = {}


def split_model(model: str) -> tuple[str, str]:
    """Split `"provider:model"` at the first colon.

    Returns:
        The provider's name and its name for the model, which is "" for `"local"` alone.

    Raises:
        ConfigurationError: If one of the two is missing.

    >>> split_model("bedrock:amazon.nova-lite-v1:0")
    ('bedrock', 'amazon.nova-lite-v1:0')
    >>> split_model("local:/models/small.gguf"), split_model("local")
    (('local', '/models/small.gguf'), ('local', ''))
    """
    provider, colon, name = model.strip().partition(":")
    if provider == "local" and (name or not colon):
        return provider, name
    if not provider or not name:
        example = f"openai:{provider}" if provider and not colon and provider not in known() else "openai:gpt-6-luna"
        raise ConfigurationError(
            f'the model {model!r} does not say who is asked: write "provider:model", such as "{example}", or "local"; '
            f"the providers are {', '.join(known())}"
        )
    return provider, name


def embedding_model(model: str) -> str:
    """The embedding model that goes with a model for questions, as `"provider:model"`.

    Raises:
        ConfigurationError: If the provider has none that is known here.

    >>> embedding_model("openai:gpt-6-luna"), embedding_model("local")
    ('openai:text-embedding-3-small', 'local')
    """
    provider, _ = split_model(model)
    if provider == "local":
        return model
    if provider not in _EMBEDDING:
        raise ConfigurationError(
            f"no embedding model is known for {provider!r}. Say which: "
            'embed(…, model="openai:text-embedding-3-small"), or of gemini, bedrock, local or a server of your own'
        )
    return f"{provider}:{_EMBEDDING[provider]}"


def create(name: str, connection: Connection, model: str = "") -> Provider:
    """Make a provider.

    Args:
        name: A registered, built-in or announced name, looked for in this order.
        connection: What the factory is handed.
        model: The model's name, for providers in `PER_MODEL`; the others serve every model.

    Raises:
        ConfigurationError: If no provider has this name, the extra it needs is not installed, or its own
            settings are wrong.
    """
    try:
        factory = _factory(name)
        if name in PER_MODEL and name not in _registered:
            return factory(connection, model)
        return factory(connection)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("polar_llama"):
            raise
        raise ConfigurationError(
            f'the provider "{name}" needs the package {error.name}, which is not installed: '
            f'pip install "polar-llama[{name}]"'
        ) from error


def register_provider(name: str, factory: Factory) -> None:
    """Make a provider of your own known in this process, or replace one.

    Args:
        name: What stands before the colon in `model=`: lower-case letters, digits, `-` and `_`.
        factory: Makes the provider when a run first needs it; it is handed a `Connection`.

    Raises:
        ConfigurationError: If the name or the factory cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"a provider cannot be named {name!r}: use lower-case letters, digits, - and _")
    if not callable(factory):
        raise ConfigurationError(f"the factory of provider {name!r} must be callable, not {type(factory).__name__}")
    _registered[name] = factory


def known() -> list[str]:
    """The names of the registered and built-in providers, and of those other packages announce."""
    return sorted({*_registered, *_BUILT_IN, *(entry.name for entry in _announced())})


def _factory(name: str) -> Factory:
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        built_in: Factory = getattr(importlib.import_module(module), attribute)
        return built_in
    for entry in _announced():
        if entry.name == name:
            announced: Factory = entry.load()
            return announced
    names = known()
    close = difflib.get_close_matches(name.strip().lower(), names, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else "."
    raise ConfigurationError(f"there is no provider {name!r}{hint} The providers are {', '.join(names)}")


def _announced() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINTS)
