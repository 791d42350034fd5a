"""What a run did: a report per call and in total, and the last one of the calling thread."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.exec.base import Tally
from polar_llama.exec.price import price

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 100
"""Columns of text that a printed report takes at most."""

_HEADINGS: dict[str, str] = {
    "rows": "rows",
    "null_prompts": "null",
    "distinct": "distinct",
    "cached": "cached",
    "shared": "shared",
    "sent": "sent",
    "retried": "retried",
    "failed": "failed",
    "input_tokens": "tok in",
    "output_tokens": "tok out",
    "cached_tokens": "tok hit",
}

_NOTES: dict[str, str] = {
    "stored_tokens": "tokens were put into the provider's prompt cache",
    "unenforced": "answers were typed in words or by a tool, and validated: nothing enforced their type",
}
"""Counts that are rarely there: told under the table."""

_COUNTS = (*_HEADINGS, *_NOTES)
_PLACES = (15, 5)
"""Counts are written out; where the table gets too wide, they take five places: `123k`."""

_ALWAYS = frozenset({"rows", "distinct", "cached", "sent"})


@dataclass(frozen=True, slots=True)
class CallReport:
    """What one call did in one run.

    Attributes:
        call: How the prompt was written; `"total"` for all calls together.
        model: `"provider:model"`; `""` for the total of several.
        rows: Rows that passed, whether they had a prompt or not.
        null_prompts: Rows without a prompt: nothing to ask.
        distinct: Different prompts.
        cached: Prompts whose answer was in the cache.
        shared: Prompts that another run or call of this process was asking at that moment.
        sent: Requests, retries included.
        retried: Requests that were sent again.
        failed: Prompts without an answer.
        input_tokens: Tokens the provider read, as it counted them.
        output_tokens: Tokens the provider wrote.
        cached_tokens: Those of `input_tokens` the provider found in its own prompt cache.
        stored_tokens: Those of `input_tokens` the provider put there, which may cost more than reading them.
        unenforced: Answers whose type no server enforced (it was asked for by a tool or in words), only validated.
        seconds: From the first prompt to the last answer.
    """

    call: str
    model: str
    rows: int
    null_prompts: int
    distinct: int
    cached: int
    shared: int
    sent: int
    retried: int
    failed: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    stored_tokens: int
    unenforced: int
    seconds: float
    _cost: Callable[[], float | None] = field(repr=False)

    @property
    def cost(self) -> float | None:
        """US dollars at list prices, or None where the price or the tokens are not known."""
        return self._cost()


@dataclass(frozen=True, slots=True, repr=False)
class RunReport:
    """What a run did; prints as a small table.

    Attributes:
        calls: A report per call, in the order in which they were first needed.
        seconds: How long the run took.
    """

    calls: tuple[CallReport, ...]
    seconds: float

    @property
    def total(self) -> CallReport:
        """All calls together."""
        counts = {name: sum(getattr(call, name) for call in self.calls) for name in _COUNTS}
        models = {call.model for call in self.calls}
        model = models.pop() if len(models) == 1 else ""
        return CallReport(call="total", model=model, seconds=self.seconds, _cost=self._sum, **counts)

    @property
    def cost(self) -> float | None:
        """US dollars at list prices, or None where a price is not known."""
        return self._sum()

    def to_frame(self) -> pl.DataFrame:
        """A row per call: `call, model, rows, …, seconds, cost_usd` (null where it is not known)."""
        counts = {name: pl.Int64() for name in _COUNTS}
        schema = pl.Schema(
            {"call": pl.String(), "model": pl.String(), **counts, "seconds": pl.Float64(), "cost_usd": pl.Float64()}
        )
        rows = [
            {"cost_usd": call.cost, **{f.name: getattr(call, f.name) for f in fields(call) if f.name in schema}}
            for call in self.calls
        ]
        return pl.DataFrame(rows, schema=schema)

    def __repr__(self) -> str:
        if not self.calls:
            return f"polar_llama run: nothing was asked ({self.seconds:.1f} s)"
        numbered = [(f"#{i}", call) for i, call in enumerate(self.calls, 1)]
        total = [("total", self.total)] if len(numbered) > 1 else []
        legend = [_cut(f"{label} {call.model}: {' '.join(call.call.split())}") for label, call in numbered]
        legend += [
            _cut(f"{label} {count:,} {words}")
            for label, call in numbered
            for name, words in _NOTES.items()
            if (count := getattr(call, name))
        ]
        tables = (_table([*numbered, *total], places) for places in _PLACES)
        table = next((lines for lines in tables if len(lines[0]) <= WIDTH), None)
        return "\n".join([*(table or _table([*numbered, *total], _PLACES[-1])), *legend])

    def _sum(self) -> float | None:
        costs = [call.cost for call in self.calls]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None


def call_report(label: str, name: str, tally: Tally, seconds: float) -> CallReport:
    """The report of one call.

    Args:
        label: How its prompt was written.
        name: `"provider:model"`.
        tally: What it did; copied.
        seconds: How long it took.
    """
    counts = {name: getattr(tally, name) for name in _COUNTS}
    provider, _, model = name.partition(":")
    return CallReport(
        call=label,
        model=name,
        seconds=seconds,
        _cost=lambda: _priced(provider, model, Tally(**counts)),
        **counts,
    )


def _priced(provider: str, model: str, tally: Tally) -> float | None:
    if not tally.sent:
        return 0.0
    known = price(provider, model)
    if known is None or (known.input and not tally.input_tokens and tally.sent > tally.failed):
        return None
    return known.of(tally)


def _table(shown: Sequence[tuple[str, CallReport]], places: int) -> list[str]:
    total = shown[-1][1]
    names = [name for name in _HEADINGS if name in _ALWAYS or getattr(total, name)]
    head = ["", *(_HEADINGS[name] for name in names), "cost", "seconds"]
    rows = [
        [label, *(_count(getattr(call, name), places) for name in names), _dollars(call.cost), f"{call.seconds:,.1f}"]
        for label, call in shown
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [" ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]


def _count(number: int, places: int) -> str:
    """A count, abbreviated to three digits where it does not fit.

    >>> _count(1_234_567, 15), _count(1_234_567, 5), _count(999_999, 5), _count(9_999, 5)
    ('1,234,567', '1.23M', '1M', '9,999')
    """
    written = f"{number:,}"
    if len(written) <= places:
        return written
    power, rounded = 0, float(number)
    while (rounded := float(f"{rounded:.3g}")) >= 1_000:  # noqa: PLR2004
        rounded /= 1_000
        power += 1
    return f"{rounded:g}{'kMGTP'[power - 1]}"


def _dollars(cost: float | None) -> str:
    if cost is None:
        return "unknown"
    if 0 < cost < 1:
        return f"${cost:.4f}"
    return f"${cost:,.2f}" if cost < 1_000 else f"${cost:,.0f}"  # noqa: PLR2004 -- cents matter below


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


class Place:
    """Where a run that was started in this context puts its report when it is finished, by whatever thread."""

    __slots__ = ("report",)

    def __init__(self, report: RunReport | None) -> None:
        self.report = report


_place: ContextVar[Place | None] = ContextVar("polar_llama_last_run", default=None)


def new_place() -> Place:
    """A place for the report of a run that starts now, in the calling thread or context."""
    place = Place(last_run())
    _place.set(place)
    return place


def last_run() -> RunReport | None:
    """The report of the last run that the calling thread or context started and that has finished."""
    place = _place.get()
    return None if place is None else place.report


def publish(report: RunReport | None) -> None:
    """Make a report the last one of the calling thread or context."""
    _place.set(Place(report))
