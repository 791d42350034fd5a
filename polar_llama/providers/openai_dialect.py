"""In what servers of OpenAI's wire format differ."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Dialect:
    """One server, or one kind of them.

    Attributes:
        key: The environment variable that holds the key.
        max_tokens: What the limit of the answer's tokens is called.
        knows_schemas: Whether the server is known to take `json_schema`; others are tried.
        needs_key: Whether nothing is sent without a key.
        headers: Sent with every request.
        key_header: Where the key goes; in `authorization` it is a bearer token.
        strict: The models that can be held to a schema, of a server that knows schemas.
        unknown: Parameters that the server refuses.
    """

    key: str = "OPENAI_API_KEY"
    max_tokens: str = "max_tokens"
    knows_schemas: bool = False
    needs_key: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    key_header: str = "authorization"
    strict: re.Pattern[str] = re.compile("")
    unknown: frozenset[str] = frozenset()
