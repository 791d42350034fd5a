"""How many requests texts become: one each, but for embeddings as many go into one as it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.exec.stage import PIECE_ROWS
from polar_llama.providers.base import Embeds

if TYPE_CHECKING:
    from polar_llama.providers.base import Ask, Provider, Room


def room_of(provider: Provider, ask: Ask) -> Room | None:
    """What one request for embeddings holds; None where each prompt is a request."""
    return provider.room(ask) if ask.embedding and isinstance(provider, Embeds) else None


class Packing:
    """Counts the requests of one call in one stage.

    A run fills requests from what it has read of its rows. So the count is exact for what it reads at once, which is
    a piece of `PIECE_ROWS` rows; of several pieces it fills them better than is foreseen here.

    Args:
        room: From `room_of`.
    """

    def __init__(self, room: Room | None) -> None:
        self.requests = self.texts = 0
        self._room = room
        self._rows = 0
        self._open = self._size = 0

    @property
    def exact(self) -> bool:
        """Whether a run sends just as many."""
        return self._room is None or self._room.texts == 1 or self.texts == 0 or self._rows <= PIECE_ROWS

    def rows(self, count: int) -> None:
        """So many rows of the frame come now."""
        if self._rows // PIECE_ROWS != (self._rows + count) // PIECE_ROWS:
            self._open = 0
        self._rows += count

    def add(self, size: int) -> None:
        """Count a text of so many bytes."""
        self.texts += 1
        room = self._room
        if room is None or not self._open or self._open >= room.texts or self._size + size > room.size:
            self.requests += 1
            self._open = self._size = 0
        self._open += 1
        self._size += size
