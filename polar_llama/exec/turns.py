"""What waits to be sent, in its order: calls take turns, so a short run need not wait for a long one.

The batches of one call do not overtake each other: the first is done first and flows on. A request for
embeddings is filled from as many of them as it takes; while more of them may arrive, one that is not full waits.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from polar_llama.exec.together import Try, together

if TYPE_CHECKING:
    from polar_llama.exec.base import Question
    from polar_llama.exec.job import Batch

LULL = 0.005
"""Seconds without a new batch after which a request for embeddings is sent though it is not full."""

LONGEST = 0.05
"""Seconds that such a request waits at most, whatever arrives."""


class Turns:
    """The batches with prompts to send; the prompts lie in `Batch.waiting`.

    Attributes:
        ripe_at: When what `peek` gave may be sent.
    """

    def __init__(self) -> None:
        self.ripe_at = 0.0
        self._arrived: dict[Question, tuple[float, float]] = {}
        self._turns: deque[deque[Batch]] = deque()
        self._lines: dict[Question, deque[Batch]] = {}
        self._paused: set[Question] = set()
        self._next: Try | None = None

    def __bool__(self) -> bool:
        return bool(self._turns)

    def add(self, batch: Batch, now: float) -> None:
        """Put a batch behind those of its call."""
        self._next = None
        if batch.question.ask.embedding:
            first, _ = self._arrived.get(batch.question, (now, now))
            self._arrived[batch.question] = first, now
        line = self._lines.get(batch.question)
        if line is None:
            self._lines[batch.question] = line = deque()
            if batch.question not in self._paused:
                self._turns.append(line)
        if batch not in line:
            line.append(batch)

    def ripen(self, question: Question) -> None:
        """Let what waits of a call wait no longer."""
        if question in self._arrived:
            self._arrived[question] = -inf, -inf
            self._next = None

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
            line = self._turns[0]
            batch = line[0]
            self.ripe_at = 0.0
            self._next = self._filled(line) if batch.question.ask.embedding else Try(batch, [batch.waiting[0]])
        return self._next

    def pop(self) -> Try:
        """What `peek` gives; the turn passes on."""
        attempt = self.peek()
        self._next = None
        self._turns.rotate(-1)
        for key, _ in attempt.pairs:
            batch = attempt.owner(key)
            batch.waiting.popleft()
            if not batch.waiting:
                self.remove(batch)
        question = attempt.batch.question
        if question in self._arrived:
            _, last = self._arrived[question]
            self._arrived[question] = last, last
        return attempt

    def _filled(self, line: deque[Batch]) -> Try:
        """A request for embeddings; one that is not full is not ripe at once."""
        attempt, full = together(line)
        if not full:
            first, last = self._arrived[attempt.batch.question]
            self.ripe_at = min(first + LONGEST, last + LULL)
        return attempt

    def remove(self, batch: Batch) -> None:
        """Take a batch out, if it is in."""
        self._next = None
        line = self._lines.get(batch.question)
        if line is None or batch not in line:
            return
        line.remove(batch)
        if not line:
            self._arrived.pop(batch.question, None)
            del self._lines[batch.question]
            self._turns = deque(other for other in self._turns if other is not line)
