"""What waits to be sent, in its order: calls take turns, so a short run need not wait for a long one.

The batches of one call do not overtake each other: the first is done first and flows on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from polar_llama.exec.together import Try, together

if TYPE_CHECKING:
    from polar_llama.exec.base import Question
    from polar_llama.exec.job import Batch


class Turns:
    """The batches with prompts to send; the prompts lie in `Batch.waiting`."""

    def __init__(self) -> None:
        self._turns: deque[deque[Batch]] = deque()
        self._lines: dict[Question, deque[Batch]] = {}
        self._paused: set[Question] = set()
        self._next: Try | None = None

    def __bool__(self) -> bool:
        return bool(self._turns)

    def add(self, batch: Batch) -> None:
        """Put a batch behind those of its call."""
        self._next = None
        line = self._lines.get(batch.question)
        if line is None:
            self._lines[batch.question] = line = deque()
            if batch.question not in self._paused:
                self._turns.append(line)
        if batch not in line:
            line.append(batch)

    def pause(self, question: Question) -> None:
        """Let the other calls pass until `resume`."""
        self._paused.add(question)
        self._next = None
        line = self._lines.get(question)
        self._turns = deque(other for other in self._turns if other is not line)

    def resume(self, question: Question) -> None:
        """Let a call have its turns again, the next one first."""
        if question in self._paused:
            self._paused.remove(question)
            if question in self._lines:
                self._turns.appendleft(self._lines[question])
                self._next = None

    def peek(self) -> Try:
        """The request whose turn it is: of one prompt, or of the texts that go into one for embeddings."""
        if self._next is None:
            batch = self._turns[0][0]
            self._next = Try(batch, together(batch))
        return self._next

    def pop(self) -> Try:
        """What `peek` gives; the turn passes on."""
        attempt = self.peek()
        self._next = None
        self._turns.rotate(-1)
        waiting = attempt.batch.waiting
        for _ in attempt.pairs:
            waiting.popleft()
        if not waiting:
            self.remove(attempt.batch)
        return attempt

    def remove(self, batch: Batch) -> None:
        """Take a batch out, if it is in."""
        self._next = None
        line = self._lines.get(batch.question)
        if line is None or batch not in line:
            return
        line.remove(batch)
        if not line:
            del self._lines[batch.question]
            self._turns = deque(other for other in self._turns if other is not line)
