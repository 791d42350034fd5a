"""The work both sides are given: which prompts, in which rows. Standard library only: the bare client stays bare."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MODEL = "gpt-6-luna"


@dataclass(frozen=True, slots=True)
class Work:
    """One measured run.

    Attributes:
        salt: Makes the prompts of each run new to every cache.
        rows: Rows of the frame.
        distinct: Distinct prompts among them.
        concurrency: Requests at once; None leaves it to the product.
        cache: The product's cache mode.
        cache_dir: The product's cache directory.
        retry: Whether the bare client asks again for what failed.
    """

    salt: str
    rows: int
    distinct: int
    concurrency: int | None = 256
    cache: str = "use"
    cache_dir: str = ""
    retry: bool = False

    def prompts(self) -> list[str]:
        """The distinct prompts, in order of appearance."""
        return [
            f"Ticket {self.salt}-{i}: my card was charged twice for one coffee. Which desk answers this, and how soon?"
            for i in range(self.distinct)
        ]

    def column(self) -> list[str]:
        """A prompt per row: every distinct one comes once before any returns."""
        prompts = self.prompts()
        return [prompts[i % self.distinct] for i in range(self.rows)]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def digest(answers: Iterable[str | None]) -> str:
    """A fingerprint of answers in order: whether all are right, without sending them around."""
    seen = sha256()
    for answer in answers:
        seen.update(repr(answer).encode())
    return seen.hexdigest()
