"""Providers as an enum, and models named apart from them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import polars as pl

from polar_llama import settings
from polar_llama.errors import ConfigurationError
from polar_llama.providers.registry import embedding_model, known


class Provider(StrEnum):
    """Who is asked; wherever one is wanted, its name as a string does as well.

    >>> Provider("OpenAI"), str(Provider.GROQ)
    (<Provider.OPENAI: 'openai'>, 'groq')
    """

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    GROQ = "groq"
    BEDROCK = "bedrock"

    @classmethod
    def _missing_(cls, value: object) -> Provider | None:
        name = value.lower() if isinstance(value, str) else value
        return next((one for one in cls if one.value == name), None)

    def as_str(self) -> str:
        """The name."""
        return self.value


_MODELS = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-opus-4-8",
    "gemini": "gemini-2.5-flash",
    "groq": "llama-3.3-70b-versatile",
    "bedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
}
"""What was asked where no model was named, as of polar-llama 0.9.1."""


def model_of(provider: str | None, model: str | None, *, embedding: bool = False) -> str | None:
    """The `"provider:model"` that a provider and a model named apart mean.

    Args:
        provider: A name or a `Provider`; by default OpenAI, unless the model names its provider.
        model: By default the provider's; with neither, the model in force, and where none is set, OpenAI's.
        embedding: Whether a model for embeddings is wanted.

    Returns:
        None for the model in force.

    Raises:
        ConfigurationError: If the provider has no model that is known here.
    """
    if provider is None and model is None and settings.current().model is not None:
        return None
    if provider is None and model is not None and model.partition(":")[0] in known():
        return model
    name = str(provider or Provider.OPENAI).lower()
    if model is None and not embedding and name not in _MODELS:
        msg = f"the provider {name!r} has no model of its own. Hint: say which, model=…"
        raise ConfigurationError(msg)
    if model is None:
        return embedding_model(f"{name}:{_MODELS.get(name, name)}") if embedding else f"{name}:{_MODELS[name]}"
    return f"{name}:{model}"


def expression(value: Any) -> pl.Expr:
    """What Polars calls an `IntoExpr`: an expression, a column's name, or a value."""
    if isinstance(value, pl.Expr):
        return value
    return pl.col(value) if isinstance(value, str) else pl.lit(value)


def name_of(expr: pl.Expr) -> str:
    """The name of an expression's column, which is that of what is made of it."""
    return expr.meta.output_name(raise_if_undetermined=False) or "literal"
