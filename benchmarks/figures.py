"""A figure with its target, and medians of paired runs."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.work import MODEL, digest
from polar_llama.testing import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.contender import Measured
    from benchmarks.work import Work

OKS = {"<=": operator.le, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table.

    Attributes:
        what: What was measured.
        value: The figure that has a target.
        unit: Its unit; `"x"` for a ratio.
        target: The most it may be.
        absolute: The figures behind it.
        below: Whether it must stay below the target.
    """

    what: str
    value: float
    unit: str
    target: float
    absolute: str
    below: bool = False

    def __str__(self) -> str:
        sign = "<" if self.below else "<="
        verdict = "ok" if OKS[sign](self.value, self.target) else "MISSED"
        against = f"{self.value:8.2f} {self.unit:<3} {sign:>2} {self.target:<4g} {verdict:<6}"
        return f"{self.what:<60} {against} {self.absolute}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Our run and the bare client's, one right after the other."""

    ours: Measured
    bare: Measured


def paired(
    pairs: int, work: Callable[[str], Work], ours: Callable[[Work], Measured], bare: Callable[[Work], Measured]
) -> list[Pair]:
    """Interleaved runs, A B A B, after one of each that warms the connections up; every answer is checked."""
    measured = [_pair(work(f"r{i}"), ours, bare) for i in range(pairs + 1)]
    return measured[1:]


def _pair(work: Work, ours: Callable[[Work], Measured], bare: Callable[[Work], Measured]) -> Pair:
    pair = Pair(ours(work), bare(work))
    check(work, pair.ours, pair.bare)
    return pair


def check(work: Work, ours: Measured, bare: Measured | None = None) -> None:
    """Every answer must be right."""
    answers = {prompt: answer_text(prompt, model=MODEL) for prompt in work.prompts()}
    assert ours.digest == digest(answers[prompt] for prompt in work.column()), "a wrong answer, or a lost one"
    assert bare is None or bare.digest == digest(answers.values()), "the bare client lost an answer"


def ratio(pairs: Sequence[Pair], of: Callable[[Measured], float]) -> float:
    """The median of the pairs' ratios."""
    return median(of(pair.ours) / of(pair.bare) for pair in pairs)


def both(pairs: Sequence[Pair], of: Callable[[Measured], float], unit: str) -> str:
    """The absolute medians of both sides."""
    return f"ours {median(of(p.ours) for p in pairs):.3g} {unit}, bare {median(of(p.bare) for p in pairs):.3g} {unit}"
