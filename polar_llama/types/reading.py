"""Reading an answer: strict JSON first, and where that fails what models write in its place.

Tolerated are blanks and a Markdown fence around the JSON, a bare value where `{"answer": …}` was asked for,
and a label in other letters, quotes or with a full stop, if it can mean one label only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import from_json

from polar_llama.types.invalid import InvalidAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_REASON = 500
"""The most characters of a reason: it is shown to the model, which pays for it."""

_MAX_ERRORS = 5
_ABSENT = object()
_AROUND_WORDS = " \t\r\n\"'`*"


@dataclass(frozen=True, slots=True)
class Reader:
    """From a text to the value of one answer type.

    Attributes:
        validate: Validates JSON.
        plain: From a validated value, not None, to what the dtype holds.
        wrapped: Whether the value stands under `answer`.
        labels: The labels of a choice.
        words: Whether a bare word that is not JSON can be the answer (`yes`, `2026-11-23`). Not for strings: half
            a JSON text is a string too.
    """

    validate: Callable[[str], Any]
    plain: Callable[[Any], Any]
    wrapped: bool
    labels: tuple[str, ...]
    words: bool

    def __call__(self, text: str) -> object:
        """The value; None is a null that the type allows.

        Raises:
            InvalidAnswer: If the text is not an answer.
        """
        try:
            return self._read(text)
        except Exception as error:  # noqa: BLE001 -- a user's validator may raise anything: a failure of this row
            last = error
        for other in self._others(text):
            try:
                return self._read(other)
            except Exception as error:  # noqa: BLE001
                last = error
        raise InvalidAnswer(_reason(last)) from None

    def _read(self, text: str) -> object:
        value = self.validate(text)
        if self.wrapped:
            value = value["answer"]
        return None if value is None else self.plain(value)

    def _others(self, text: str) -> Iterator[str]:
        """What the text may have been meant to be, in JSON; never another reading of a well-formed answer."""
        bare = _unfenced(text)
        if bare != text:
            yield bare
        if not self.wrapped:
            return
        value = _json(bare)
        if isinstance(value, dict) and "answer" in value:
            value = value["answer"] if isinstance(value["answer"], str) and self.labels else _ABSENT
        elif value is _ABSENT and bare and bare[0] not in '{["':
            value = bare if self.words else _ABSENT
        if isinstance(value, str) and self.words:
            word = value.strip(_AROUND_WORDS).removesuffix(".").strip(_AROUND_WORDS)
            value = _label(value, word, self.labels) if self.labels else word
        if value is not _ABSENT:
            yield json.dumps({"answer": value})


def _unfenced(text: str) -> str:
    """The text without blanks, a byte order mark and a Markdown fence around it."""
    bare = text.strip("\ufeff \t\r\n")
    if len(bare) < 6 or not (bare.startswith("```") and bare.endswith("```")):  # noqa: PLR2004 -- two fences
        return bare
    inside = bare[3:-3]
    language, newline, rest = inside.partition("\n")
    if newline and (not language.strip() or language.strip().isalnum()):
        inside = rest
    return inside.removeprefix("json").strip()


def _json(text: str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):  # a TypeError for text that is not valid Unicode
        return _ABSENT


def _label(value: str, word: str, labels: tuple[str, ...]) -> str:
    """The one label that is meant, or the value as it stands."""
    for exact in (value, value.strip(), word):
        if exact in labels:
            return exact
    alike = [label for label in labels if label.casefold() == word.casefold()]
    return alike[0] if len(alike) == 1 else value


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        parts = [f"{_place(e['loc'])}{e['msg']}" for e in found[:_MAX_ERRORS]]
        if len(found) > _MAX_ERRORS:
            parts.append(f"and {len(found) - _MAX_ERRORS} more")
        reason = "; ".join(parts)
    elif isinstance(error, ValueError):
        reason = str(error)
    else:
        reason = f"a validator of the type failed with {type(error).__name__}: {error}"
    reason = reason.encode(errors="backslashreplace").decode()
    return reason if len(reason) <= MAX_REASON else reason[: MAX_REASON - 1] + "…"


def _place(loc: tuple[int | str, ...]) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).removeprefix(".")
    return f"{path}: " if path else ""
