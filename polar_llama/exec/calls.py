"""What a call is once the settings are known: of whom it is asked, what its requests share, what it may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.errors import ConfigurationError
from polar_llama.exec.budget import Meter
from polar_llama.exec.pool import provider_for, silent_provider
from polar_llama.exec.price import price
from polar_llama.providers.base import Ask, Checks, Embeds
from polar_llama.providers.registry import embedding_model, split_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.call import Call
    from polar_llama.exec.base import Tally
    from polar_llama.providers.base import Provider
    from polar_llama.settings import Settings


def named(call: Call, settings: Settings) -> str:
    """The `"provider:model"` a call is asked of.

    Raises:
        ConfigurationError: If none is set.
    """
    name = (call.model or settings.model or "").strip()
    if not name:
        msg = (
            'no model is set. Say which: llm(..., model="openai:gpt-6-luna"), or for every call '
            "polar_llama.configure(model=...), or the environment variable POLAR_LLAMA_MODEL. "
            'model="local" needs no key and no network'
        )
        raise ConfigurationError(msg)
    return embedding_model(name) if call.embedding and call.model is None else name


def shared_by_all_rows(call: Call, model: str) -> Ask:
    """What the requests of a call have in common."""
    return Ask(
        model=model,
        system=call.system,
        temperature=call.temperature,
        max_tokens=call.max_tokens,
        seed=call.seed,
        options=call.options,
        schema=call.returns.schema,
        schema_name=call.returns.schema_name,
        conversation=call.conversation,
        examples=call.examples,
        embedding=call.embedding,
        dimensions=call.dimensions,
    )


def provider_of(call: Call, name: str, settings: Settings, environ: Mapping[str, str]) -> Provider:
    """Who is asked.

    Args:
        call: The call.
        name: From `named`.
        settings: A snapshot of the settings.
        environ: The environment, without credentials.

    Raises:
        ConfigurationError: If there is no such provider, or it cannot take the call.
    """
    provider_name, model = split_model(name)
    if settings.cache == "replay":
        provider = silent_provider(provider_name, model, environ)
    else:
        provider = provider_for(provider_name, model, environ, settings.http_client)
    if call.embedding and not isinstance(provider, Embeds):
        hint = "Hint: embed(…, model=…) of openai, gemini, bedrock or local"
        raise ConfigurationError(f"{provider_name} has no embeddings. {hint}")
    if isinstance(provider, Checks) and not call.embedding:
        provider.check(shared_by_all_rows(call, model))
    return provider


def meter_of(call: Call, name: str, settings: Settings, tally: Tally) -> Meter | None:
    """What counts a call's money, where there is a budget and something may be sent.

    Raises:
        ConfigurationError: If there is a budget, and no price.
    """
    if settings.max_cost is None or settings.cache == "replay":
        return None
    known = price(*split_model(name))
    if known is None:
        msg = (
            f"max_cost cannot be kept: the price of {name!r} is not known. "
            "Leave max_cost out, or limit the requests instead: max_requests"
        )
        raise ConfigurationError(msg)
    return Meter.of(call, tally, known)
