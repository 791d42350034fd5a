"""What the engine needs of a cache: keys and bytes, in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class AnswerCache(Protocol):
    """A store of raw answers, safe to use from several threads and several processes at once."""

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The stored values of those keys that are present."""
        ...

    def put_many(self, items: Mapping[bytes, bytes]) -> None:
        """Store values in one transaction; they are on disk when this returns."""
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...
