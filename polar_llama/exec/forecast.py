"""What a run would send, counted without sending: prompts are digested and looked up, and that is all.

Nothing is written, also no cache directory is made. Retries, and second askings after an answer that
does not validate, are not foreseen.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from polar_llama.cache import open_cache
from polar_llama.cache.directory import DATABASE, located
from polar_llama.exec import record
from polar_llama.exec.calls import named, shared_by_all_rows
from polar_llama.exec.keys import Keyer
from polar_llama.exec.packing import Packing, room_of
from polar_llama.exec.pool import silent_provider
from polar_llama.exec.price import price
from polar_llama.exec.splice import distinct
from polar_llama.exec.tokens import CALIBRATION, guess, overhead, sized
from polar_llama.providers.registry import split_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from polar_llama.cache.base import AnswerCache
    from polar_llama.call import Call
    from polar_llama.exec.tokens import Calibration
    from polar_llama.providers.base import Ask, Room
    from polar_llama.settings import Settings

    Written = tuple[Call, str]  # a call and how its prompt was written

UNSEEN = 256
"""UTF-8 bytes that a prompt made of unknown answers is taken to have besides its template's."""

_COUNTS = ("rows", "prompts", "cached", "requests", "input_tokens", "output_tokens")

SCHEMA = pl.Schema(
    {"call": pl.String(), "model": pl.String()}
    | dict.fromkeys(_COUNTS, pl.Int64())
    | {"cost_usd": pl.Float64(), "exact": pl.Boolean(), "requests_as_written": pl.Int64()}
)


class Counting(NamedTuple):
    """A column of a stage that is counted.

    Attributes:
        column: Its name. It holds prompts, or, where those are not known, marks that are equal where prompts must be.
        call: Whose prompts they are.
        known: Whether it holds prompts.
    """

    column: str
    call: Call
    known: bool


@dataclass(slots=True, eq=False)
class _Asked:
    """Calls that a run takes for one: they differ in nothing but how the prompt was written.

    `seen` are the keys of their prompts, `missing` those that are not in the cache.
    """

    call: Call
    identity: str
    ask: Ask
    keyer: Keyer
    room: Room | None
    seen: set[bytes] = field(default_factory=set)
    missing: set[bytes] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Figures:
    """One row of the result. A prompt that several calls have in common counts for the first of them."""

    asked: _Asked
    rows: int = 0
    prompted: int = 0
    prompts: int = 0
    cached: int = 0
    requests: int = 0
    guessed: float = 0
    exact: bool = True
    bounded: bool = True


@dataclass(slots=True, eq=False)
class _Pass:
    """One call in one stage; `new` are the keys, and the marks of unknown prompts, that no call had before."""

    figures: _Figures
    new: set[bytes | str]
    slots: int = 0
    counts: _Figures = field(init=False)
    packing: Packing = field(init=False)
    all_cached: bool = True

    def __post_init__(self) -> None:
        self.counts = _Figures(self.figures.asked)
        self.packing = Packing(self.figures.asked.room)


class Forecast:
    """The figures of one run that is not run.

    Args:
        settings: The settings the run would have.
        environ: The environment, without credentials, which are not needed.
        calibration: How tokens are guessed.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str], calibration: Calibration = CALIBRATION) -> None:
        self.settings = settings
        self._environ = environ
        self._calibration = calibration
        self._lock = threading.Lock()
        self._calls: dict[Call, _Asked] = {}
        self._figures: dict[Written, _Figures] = {}
        self._asked: set[tuple[bytes, pl.DataType]] = set()
        self._cache: AnswerCache | None = None
        if settings.cache in {"use", "replay"} and (located(settings.cache_dir) / DATABASE).exists():
            self._cache = open_cache(settings.cache_dir)

    def count(
        self, batches: Iterable[pl.DataFrame], slots: Sequence[Counting], *, exact: bool, most: int | None
    ) -> list[bool]:
        """Count what one stage asks.

        Args:
            batches: Frames that hold the slots.
            slots: Its columns.
            exact: Whether these are the rows that the run will see, all of them; else it sees some.
            most: How many of the rows it sees at most, if that is known.

        Returns:
            Per slot, whether every answer is in the cache, so that it need not be asked.
        """
        passes: dict[int, _Pass] = {}
        new: dict[int, set[bytes | str]] = {}
        of_slot = []
        for slot in slots:
            with self._lock:
                figures = self._of(slot.call)
            one = passes.setdefault(id(figures), _Pass(figures, new.setdefault(id(figures.asked), set())))
            one.slots += 1
            of_slot.append(one)
        for batch in batches:
            with self._lock:
                for one in passes.values():
                    one.packing.rows(batch.height)
                for slot, one in zip(slots, of_slot, strict=True):
                    self._count(one, batch.get_column(slot.column), known=slot.known, exact=exact)
        with self._lock:
            for one in passes.values():
                self._add(one, exact=exact, most=None if most is None else most * one.slots)
        return [one.all_cached for one in of_slot]

    def unbounded(self, calls: Iterable[Call]) -> None:
        """Note calls of which nothing can be said before others are answered."""
        with self._lock:
            for call in calls:
                figures = self._of(call)
                figures.bounded = figures.exact = False

    def frame(self, written: Mapping[Written, int | None]) -> pl.DataFrame:
        """A row per call, as `SCHEMA`, in the order in which they would be asked.

        Args:
            written: What `prompted` gives for the plan as it was written.
        """
        rows = [
            self._row(key[1], figures) | {"requests_as_written": written.get(key)}
            for key, figures in self._figures.items()
        ]
        return pl.DataFrame(rows, schema=SCHEMA)

    def prompted(self) -> dict[Written, int | None]:
        """Rows with a prompt, per call; None where nothing bounds them."""
        return {key: figures.prompted if figures.bounded else None for key, figures in self._figures.items()}

    def _row(self, label: str, figures: _Figures) -> dict[str, object]:
        call, identity, ask = figures.asked.call, figures.asked.identity, figures.asked.ask
        row: dict[str, object] = {"call": label, "model": call.model, "exact": figures.exact}
        if not figures.bounded:
            return {name: row.get(name) for name in SCHEMA}
        short = not (call.returns.dtype.is_nested() or call.returns.dtype == pl.String)
        read = figures.guessed * self._calibration.ratio(identity, ask.model)
        written = figures.requests * self._calibration.answer(identity, ask, short=short)
        counts = {name: getattr(figures, name) for name in _COUNTS[:4]}
        tokens = {"input_tokens": round(read), "output_tokens": round(written)}
        return row | counts | tokens | {"cost_usd": self._cost(figures, read, written)}

    def _cost(self, figures: _Figures, read: float, written: float) -> float | None:
        if figures.requests == 0:
            return 0.0
        asked = figures.asked
        known = price(*split_model(asked.call.model or ""))
        if known is None:
            return None
        cached = self._calibration.cached(asked.identity, asked.ask.model)
        return read * ((1 - cached) * known.input + cached * known.cached) + written * known.output

    def _of(self, call: Call) -> _Figures:
        name = named(call, self.settings)
        same = replace(call, model=name, on_error=None)
        if same not in self._calls:
            provider, model = split_model(name)
            silent, ask = silent_provider(provider, model, self._environ), shared_by_all_rows(same, model)
            keyer, room = Keyer(silent.identity, ask), room_of(silent, ask)
            self._calls[same] = _Asked(same, silent.identity, ask, keyer, room)
        return self._figures.setdefault((same, call.label), _Figures(self._calls[same]))

    def _count(self, one: _Pass, column: pl.Series, *, known: bool, exact: bool) -> None:
        one.counts.rows += len(column)
        one.counts.prompted += len(column) - column.null_count()
        prompts = distinct(column).prompts
        if known:
            self._look_up(one, prompts, exact=exact)
        else:
            self._mark(one, prompts)

    def _look_up(self, one: _Pass, prompts: list[str], *, exact: bool) -> None:
        asked, counts = one.figures.asked, one.counts
        keys = asked.keyer.digests(prompts)
        new = {k: p for k, p in zip(keys, prompts, strict=True) if k not in asked.seen and k not in one.new}
        held = self._held(asked.call, list(new))
        asked.missing.update(key for key in new if key not in held)
        one.all_cached = one.all_cached and asked.missing.isdisjoint(keys)
        one.new.update(new)
        counts.prompts += len(new)
        counts.cached += len(held)
        for key, prompt in new.items():
            if key not in held and self._is_asked(asked.call, key, exact=exact):
                size = sized(prompt)
                one.packing.add(size)
                counts.guessed += guess(size + overhead(asked.ask))

    def _mark(self, one: _Pass, marks: list[str]) -> None:
        """Count prompts that are not known yet."""
        asked, counts = one.figures.asked, one.counts
        new = set(marks) - one.new
        one.new.update(new)
        sent = 0 if self.settings.cache == "replay" else len(new)
        counts.prompts += len(new)
        counts.requests += sent
        counts.guessed += sent * guess(UNSEEN + len(asked.call.label.encode()) + overhead(asked.ask))
        if marks:
            one.all_cached = counts.exact = False

    def _add(self, one: _Pass, *, exact: bool, most: int | None) -> None:
        figures, counts = one.figures, one.counts
        texts = counts.requests + one.packing.texts
        counts.requests += one.packing.requests
        if most is None or most >= counts.rows:
            # Else which of them are asked is not known: asked elsewhere, they count again.
            figures.asked.seen.update(key for key in one.new if isinstance(key, bytes))
            most = counts.rows
        share = min(1.0, most / max(1, texts))
        figures.exact = figures.exact and exact and counts.exact and one.packing.exact
        figures.rows += min(counts.rows, most)
        figures.prompted += min(counts.prompted, most)
        figures.prompts += min(counts.prompts, most)
        figures.cached += min(counts.cached, most)
        figures.requests += min(counts.requests, most)
        figures.guessed += counts.guessed * share

    def _held(self, call: Call, keys: list[bytes]) -> set[bytes]:
        """The keys whose answers a run would find: those that still validate."""
        if self._cache is None or not (call.cache or self.settings.cache == "replay"):
            return set()
        held = set()
        for key, stored in self._cache.get_many(keys).items():
            try:
                call.returns.reader(record.decode(stored).text)
            except ValueError:
                continue
            held.add(key)
        return held

    def _is_asked(self, call: Call, key: bytes, *, exact: bool) -> bool:
        """Whether a prompt that is not in the cache is asked: not when another call asks the very same."""
        if self.settings.cache == "replay":
            return False
        if not exact or self.settings.cache != "use" or not call.cache or call.returns.dtype.is_nested():
            return True
        asked = key, call.returns.dtype
        if asked in self._asked:
            return False
        self._asked.add(asked)
        return True
