"""Groq: OpenAI's chat completions, without some of OpenAI's parameters."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from polar_llama.errors import ConfigurationError
from polar_llama.providers.endpoint import endpoint
from polar_llama.providers.openai import ChatProvider
from polar_llama.providers.openai_dialect import Dialect

if TYPE_CHECKING:
    from polar_llama.providers.base import Connection, Provider

BASE_URL = "https://api.groq.com"

_PATH = "/openai/v1"

DIALECT = Dialect(
    key="GROQ_API_KEY",
    max_tokens="max_completion_tokens",
    knows_schemas=True,
    strict=re.compile(r"openai/gpt-oss-(?:20b|120b)"),
    unknown=frozenset({
        "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "metadata", "store",
    }),
)  # fmt: skip
"""Groq's reference, read 2026-11-23; other models only try to follow schemas, and some know JSON objects only."""


def create(connection: Connection) -> Provider:
    """Groq, or whatever server `GROQ_BASE_URL` names, with or without `/openai/v1`.

    Raises:
        ConfigurationError: If the base URL is wrong, or Groq is to be asked without a key.
    """
    at = endpoint(_base_url(connection), "GROQ_BASE_URL")
    official = at.host == "api.groq.com"
    if official and not (connection.secret(DIALECT.key) or "").strip():
        raise ConfigurationError(
            "GROQ_API_KEY is not set, and api.groq.com wants a key. Set GROQ_API_KEY; or set GROQ_BASE_URL to a "
            'gateway of your own; or use model="local", which runs offline and needs no key'
        )
    return ChatProvider(at, replace(DIALECT, needs_key=official), connection)


def _base_url(connection: Connection) -> str:
    given = (connection.environ.get("GROQ_BASE_URL") or BASE_URL).strip().rstrip("/")
    return given.removesuffix(_PATH) + _PATH
