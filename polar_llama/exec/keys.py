"""The key of a request: a digest of everything that can change the answer, and of nothing else."""

from __future__ import annotations

from dataclasses import fields
from hashlib import blake2b
from typing import TYPE_CHECKING

from pydantic_core import to_json

from polar_llama.providers.base import Ask

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
"""Part of every key: raise it when a request with the same `Ask` is worded differently."""

KEY_BYTES = 20

_DEFAULTS = {f.name: f.default for f in fields(Ask)}


class Keyer:
    """Makes the keys of one call's prompts.

    What all prompts share is digested once: the version, the provider's identity and the `Ask`,
    as one JSON array, which ends where it says; the prompt's UTF-8 bytes follow. Parameters at
    their default are left out, so a parameter this package learns later changes no existing key.
    """

    __slots__ = ("_shared",)

    def __init__(self, identity: str, ask: Ask) -> None:
        given = {name: getattr(ask, name) for name in sorted(_DEFAULTS) if getattr(ask, name) != _DEFAULTS[name]}
        if ask.schema is None:
            given.pop("schema_name", None)
        self._shared = blake2b(to_json([VERSION, identity, given]), digest_size=KEY_BYTES)

    def digests(self, prompts: Sequence[str]) -> list[bytes]:
        """One key of `KEY_BYTES` bytes per prompt, in order."""
        copy = self._shared.copy
        keys = []
        for prompt in prompts:
            digest = copy()
            digest.update(prompt.encode())
            keys.append(digest.digest())
        return keys
