"""A stage: batches with slots in, the same batches answered out, in order, as the answers come.

Batches are cut into pieces, so that the answers of one stage feed the next while it still runs.
What is in flight is bounded by prompts and by bytes, never by the rows of the frame.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from polar_llama.exec import splice
from polar_llama.exec.asked import Claim
from polar_llama.exec.failures import SAMPLE
from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from polar_llama.call import Call, OnError
    from polar_llama.exec.asked import Asked
    from polar_llama.exec.failures import Failures

PIECE_ROWS = 1_024
"""Rows of a piece: small enough to feed the next stage early; larger ones save less than 0.1 µs a row."""

PIECE_BYTES = 4 << 20
"""Bytes of a piece, about: of wide rows a piece has fewer."""

WINDOW_BYTES = 64 << 20
"""Bytes of the pieces that wait for answers, about."""

WINDOW_PROMPTS = 2_048
"""Prompts without an answer, at least: enough to keep hundreds of requests in flight."""

WINDOW_HELD = 65_536
"""Prompts of the pieces that wait for answers: those that were quick wait in memory for a slow one before them."""

TICK = 0.2
"""Seconds between two signs of life while nothing comes back."""

GLANCE = 0.02
"""Seconds between two looks for room while there is more to ask: a slow answer must not keep the others waiting."""


class Slot(NamedTuple):
    """A column of prompts (String; null: no question) that is replaced, in place, by answers."""

    column: str
    call: Call


class Filling(NamedTuple):
    """A slot of a run: which call answers it, and what becomes of its failures."""

    slot: Slot
    asked: Asked
    on_error: OnError


@dataclass(slots=True, eq=False)
class _Part:
    """One slot of one piece."""

    filling: Filling
    found: splice.Distinct
    keys: list[bytes]
    claims: list[Claim]
    sources: set[Claim]


@dataclass(slots=True, eq=False)
class _Piece:
    """Rows that wait for their answers."""

    frame: pl.DataFrame
    first_row: int
    size: int
    prompts: int
    parts: list[_Part]


class Stage:
    """One pass of batches through some slots.

    Args:
        fillings: What is to be answered.
        failures: Where failed rows are recorded.
        tick: Called whenever something has moved, and while waiting; raises when the run is cancelled.
        most: Prompts that may wait for answers.
        ordered: Whether the rows stay in order.
        heartbeat: Whether an empty batch is given every `TICK` seconds while waiting.
    """

    def __init__(
        self,
        fillings: Sequence[Filling],
        failures: Failures,
        tick: Callable[[], None],
        *,
        most: int,
        ordered: bool,
        heartbeat: bool,
    ) -> None:
        self._fillings = fillings
        self._failures = failures
        self._tick = tick
        self._most = most
        self._ordered = ordered
        self._heartbeat = heartbeat
        self._window: deque[_Piece] = deque()
        self._bytes = self._held = 0
        self._rows = 0
        self._asking: list[tuple[Asked, Claim]] = []
        self._more = True
        self._hopeless = False

    def answers(self, batches: Iterable[pl.DataFrame]) -> Generator[pl.DataFrame]:
        """Give the answered batches. Closing this asks nothing more; what is in flight completes.

        Raises:
            ProviderError, BudgetError: When nothing more can come, for rows that are to raise.
        """
        try:
            with closing(_pieces(batches)) as pieces:
                while self._more or self._window:
                    self._tick()
                    frame = self._step(pieces)
                    if frame is not None:
                        yield frame
            if self._hopeless:
                self._failures.raise_error()
        finally:
            for asked, claim in self._asking:
                if not claim.job.done:
                    asked.give_up(claim)

    def _step(self, pieces: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
        """Answer a piece, or ask for one more, or wait for a moment; what is to be given now."""
        piece = self._next_ready()
        if piece is not None:
            return self._answered(piece)
        if self._more and self._has_room():
            return self._pull(pieces)
        if not self._wait(self._window[0]) and self._heartbeat:
            return self._answered(self._ask(self._window[0].frame.clear()))
        return None

    def _pull(self, pieces: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
        frame = next(pieces, None)
        if frame is None:
            self._more = False
            for asked, claim in self._asking:
                asked.hurry(claim)
        elif self._heartbeat and frame.is_empty():
            return self._answered(self._ask(frame))
        else:
            self._window.append(self._ask(frame))
        return None

    def _has_room(self) -> bool:
        self._asking = [entry for entry in self._asking if not entry[1].job.done]
        unanswered = sum(claim.size - claim.answered() for _, claim in self._asking)
        small = self._bytes < WINDOW_BYTES and self._held < WINDOW_HELD
        return not self._window or (unanswered < self._most and small)

    def _ask(self, frame: pl.DataFrame) -> _Piece:
        parts = []
        for filling in self._fillings:
            column = frame.get_column(filling.slot.column)
            filling.asked.count_rows(len(column), column.null_count())
            part = _Part(filling, splice.distinct(column), [], [], set())
            self._claim(part)
            parts.append(part)
        piece = _Piece(frame, self._rows, int(frame.estimated_size()), sum(len(part.keys) for part in parts), parts)
        self._rows += frame.height
        self._bytes += piece.size
        self._held += piece.prompts
        return piece

    def _claim(self, part: _Part) -> None:
        if part.found.prompts:
            part.keys, part.claims, made = part.filling.asked.claim(part.found.prompts)
            part.sources = set(part.claims)
            self._asking += [(part.filling.asked, claim) for claim in made]

    def _next_ready(self) -> _Piece | None:
        for piece in self._window:
            if self._is_ready(piece):
                self._window.remove(piece)
                return piece
            if self._ordered:
                break
        return None

    def _is_ready(self, piece: _Piece) -> bool:
        for part in piece.parts:
            if not all(claim.job.done for claim in part.sources):
                return False
            if any(claim.given_up for claim in part.sources) and any(map(Claim.lost, part.claims, part.keys)):
                self._claim(part)
                return False
        return True

    def _wait(self, piece: _Piece) -> bool:
        """Wait for something that a piece needs, or for room; False when neither came in a `TICK`."""
        waiting = (claim for part in piece.parts for claim in part.sources if not claim.job.done)
        claim = next(waiting, None)
        if claim is None:
            return True
        patience = TICK if self._ordered else TICK / 4
        if not self._more:
            return claim.job.wait(patience)
        return any(claim.job.wait(GLANCE) or self._has_room() for _ in range(round(patience / GLANCE)))

    def _answered(self, piece: _Piece) -> pl.DataFrame:
        self._bytes -= piece.size
        self._held -= piece.prompts
        if any(filling.on_error == "raise" for filling in self._fillings):
            self._failures.passed(piece.frame.height)
        return piece.frame.with_columns([self._column(piece, part) for part in piece.parts])

    def _column(self, piece: _Piece, part: _Part) -> pl.Series:
        slot, asked, on_error = part.filling
        for claim in part.sources:
            if claim.job.error is not None:
                raise claim.job.error
        values = [claim.job.results[key] for claim, key in zip(part.claims, part.keys, strict=True)]
        if on_error == "raise":
            failed = {i: value for i, value in enumerate(values) if isinstance(value, Failure)}
            if failed:
                self._record(piece, part, failed)
        asked.seen()
        return splice.column_of(slot.column, slot.call, on_error, values, part.found.index)

    def _record(self, piece: _Piece, part: _Part, failed: dict[int, Failure]) -> None:
        """Record the rows of failed prompts, a cause at a time."""
        index = part.found.index
        if index is None:
            index = pl.int_range(len(part.keys), eager=True)
        causes: dict[str, list[int]] = {}
        for i, failure in failed.items():
            causes.setdefault(splice.title(failure), []).append(i)
        for prompts in causes.values():
            rows = index.is_in(prompts).arg_true()
            sample = (rows.head(SAMPLE) + piece.first_row).to_list()
            self._failures.add(failed[prompts[0]], part.filling.asked.name, len(rows), sample)
        if any(map(self._failures.is_hopeless, failed.values())):
            self._hopeless, self._more = True, False


def _pieces(batches: Iterable[pl.DataFrame]) -> Generator[pl.DataFrame]:
    """Cut batches; closing this closes where they come from."""
    try:
        for batch in batches:
            if batch.is_empty():
                yield batch
                continue
            of_bytes = PIECE_BYTES * batch.height // max(1, int(batch.estimated_size()))
            yield from batch.iter_slices(max(1, min(PIECE_ROWS, of_bytes)))
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()
