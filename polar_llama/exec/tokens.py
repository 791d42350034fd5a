"""How many tokens a request takes: guessed from bytes, corrected by what providers have counted in this process."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.providers.base import Ask, Usage

BYTES_A_TOKEN = 4
"""UTF-8 bytes: what providers' guides give as a rule of thumb for English."""

FIRST_ANSWER = 256
"""Tokens that an answer is taken to have until the first has come."""

FIRST_SHORT_ANSWER = 16
"""The same of a Boolean, a number, a date or one of some words: `{"answer":true}`."""

MEMORY = 1 / 8
"""How much the latest answer weighs in a running average."""

LESSON = 16
"""A call's first answers teach, so many of them; then one in so many: learning costs as much as reading an answer."""

KNOWN = 1_024
"""Models and calls that are remembered; the oldest are forgotten."""


@dataclass(slots=True)
class _Seen:
    """Running averages: counted over guessed input tokens, the share of them that was cached, output tokens."""

    ratio: float
    cached: float
    output: float


IMAGE = 4_000
"""UTF-8 bytes that an image or a document counts as, whatever its own size: about a thousand tokens."""

_FILE = re.compile(r'"data":"[A-Za-z0-9+/=]{400,}"')


def sized(prompt: str) -> int:
    """UTF-8 bytes of a prompt, in which each image counts as `IMAGE`."""
    size = len(prompt.encode())
    if size < IMAGE or '"data":"' not in prompt:
        return size
    return size + sum(IMAGE - (found.end() - found.start()) for found in _FILE.finditer(prompt))


def guess(size: int) -> int:
    """Tokens of a request of so many UTF-8 bytes, before any correction."""
    return max(1, -(-size // BYTES_A_TOKEN))


def overhead(ask: Ask) -> int:
    """UTF-8 bytes that every request of a call carries besides its prompt: system prompt, schema, examples."""
    return sum(len((text or "").encode()) for text in (ask.system, ask.schema, ask.examples))


def teaches(answers: int) -> bool:
    """Whether the latest of a call's answers is to be learned from.

    >>> [n for n in range(1, 50) if teaches(n)][-3:]
    [16, 32, 48]
    """
    return answers <= LESSON or answers % LESSON == 0


class Calibration:
    """What providers have counted so far; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, Ask | str], _Seen] = OrderedDict()

    def saw(self, identity: str, ask: Ask, prompt: str, usage: Usage) -> None:
        """Learn from an answer.

        Args:
            identity: The provider's.
            ask: What the request shared with others.
            prompt: The rest of it.
            usage: What the provider counted; a server that counts nothing teaches nothing.
        """
        if usage.input <= 0:
            return
        guessed = guess(sized(prompt) + overhead(ask))
        seen = _Seen(usage.input / guessed, usage.cached / usage.input, usage.output)
        with self._lock:
            for key in ((identity, ask.model), (identity, ask)):
                self._learn(key, seen)

    def ratio(self, identity: str, model: str) -> float:
        """Counted tokens over guessed ones, 1.0 until something was counted."""
        seen = self._seen.get((identity, model))
        return 1.0 if seen is None else seen.ratio

    def cached(self, identity: str, model: str) -> float:
        """The share of input tokens that the provider finds in its own prompt cache, which are cheaper."""
        seen = self._seen.get((identity, model))
        return 0.0 if seen is None else seen.cached

    def answer(self, identity: str, ask: Ask, *, short: bool) -> float:
        """Output tokens of an answer: `max_tokens` where the call sets it, else what its answers had so far.

        Args:
            identity: The provider's.
            ask: The call.
            short: Whether an answer is a single Boolean, number, date or word of some.
        """
        if ask.max_tokens is not None or ask.embedding:
            return ask.max_tokens or 0
        seen = self._seen.get((identity, ask))
        return seen.output if seen is not None else FIRST_SHORT_ANSWER if short else FIRST_ANSWER

    def _learn(self, key: tuple[str, Ask | str], new: _Seen) -> None:
        old = self._seen.get(key)
        if old is None:
            self._seen[key] = _Seen(new.ratio, new.cached, new.output)
            if len(self._seen) > KNOWN:
                self._seen.popitem(last=False)
            return
        for name in ("ratio", "cached", "output"):
            before = getattr(old, name)
            setattr(old, name, before + (getattr(new, name) - before) * MEMORY)


CALIBRATION = Calibration()
"""What this process has seen."""


def most_around(asks: Mapping[Ask, str]) -> tuple[float, float]:
    """The most tokens that go with a prompt of some calls: around it, and as its answer.

    Args:
        asks: What the calls share with their requests, and their providers' identities; one at least.
    """
    answers = (CALIBRATION.answer(identity, ask, short=False) for ask, identity in asks.items())
    return max(map(overhead, asks)) / BYTES_A_TOKEN, max(answers)
