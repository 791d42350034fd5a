"""Requests that wait for their time: until a retry is due."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polar_llama.exec.job import Batch
    from polar_llama.exec.together import Try


class Waiting:
    """A lane's requests that are not sent before a time; on the loop's thread only.

    Attributes:
        heap: Times and requests, the first to come first; the lane looks here before every request.
    """

    __slots__ = ("_order", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Try]] = []
        self._order = itertools.count()

    def push(self, attempt: Try, at: float) -> None:
        """Keep a request until a time."""
        heapq.heappush(self.heap, (at, next(self._order), attempt))

    def pop(self) -> Try:
        """The first."""
        return heapq.heappop(self.heap)[2]

    def take(self, batch: Batch) -> list[bytes]:
        """Give the keys of a batch back: it is not asked any more."""
        taken = [key for entry in self.heap for key in entry[2].leave(batch)]
        self.heap = [entry for entry in self.heap if entry[2].pairs]
        heapq.heapify(self.heap)
        return taken
