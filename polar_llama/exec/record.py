"""What the cache holds for a key: the raw answer and where it came from, as compact JSON.

`[1, text, model, created, [input, output, cached, cache_write, reasoning]]`; the last may be null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json, to_json

from polar_llama.providers.base import Usage

if TYPE_CHECKING:
    from polar_llama.providers.base import Response

VERSION = 1


class Record(NamedTuple):
    """A stored answer.

    Attributes:
        text: The answer's text as the model gave it.
        model: The model that answered, as the provider named it.
        created: When it answered, in seconds since 1970 (UTC).
        counts: The fields of `Usage` in order, or None when the server did not say.
    """

    text: str
    model: str | None
    created: int
    counts: list[int] | None

    @property
    def usage(self) -> Usage | None:
        """Tokens as the provider counted them."""
        return None if self.counts is None else Usage(*self.counts)


def encode(response: Response, created: float) -> bytes:
    """The bytes to store for an answer."""
    usage = response.usage
    counts = usage and (usage.input, usage.output, usage.cached, usage.cache_write, usage.reasoning)
    return to_json((VERSION, response.text, response.model, int(created), counts))


def text_of(stored: bytes) -> str | None:
    """The answer's text alone, at half the price of `decode`; None if the bytes are not a record of this version."""
    try:
        found = from_json(stored)
    except ValueError:
        return None
    if type(found) is list and len(found) == len(Record._fields) + 1 and found[0] == VERSION:
        text = found[1]
        return text if type(text) is str else None
    return None


def decode(stored: bytes) -> Record:
    """The answer behind stored bytes.

    Raises:
        ValueError: If the bytes are not a record of this version.
    """
    match from_json(stored):
        case [1, str() as text, str() | None as model, int() as created, list() | None as counts]:
            return Record(text, model, created, counts)
        case _:
            msg = "not an answer record of this version"
            raise ValueError(msg)
