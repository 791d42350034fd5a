"""What tokens cost, by the bundled table of `genai-prices`; never by the network.

These are list prices of the first tier: discounts and long-context surcharges are not in them. A vendor's
model behind a base URL of one's own is taken at the vendor's price.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polar_llama.exec.base import Tally

_NAMES = {"gemini": "google", "bedrock": "aws"}
_SAMPLE = 1_000
"""Tokens at which a price is read: inside the first tier of every model."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per token.

    Attributes:
        input: For input tokens.
        cached: For those the provider found in its own prompt cache.
        output: For output tokens, thoughts included.
        stored: For input tokens the provider put into its prompt cache; None: as for others.
    """

    input: float
    cached: float
    output: float
    stored: float | None = None

    def of(self, tally: Tally) -> float:
        """What the tokens of a call cost, in US dollars."""
        fresh = tally.input_tokens - tally.cached_tokens - tally.stored_tokens
        stored = self.input if self.stored is None else self.stored
        inputs = fresh * self.input + tally.cached_tokens * self.cached + tally.stored_tokens * stored
        return inputs + tally.output_tokens * self.output


FREE = Price(0.0, 0.0, 0.0)


@lru_cache(maxsize=256)
def price(provider: str, model: str) -> Price | None:
    """The price of a model.

    Args:
        provider: The provider's name, as in `"provider:model"`.
        model: The model's name as the provider knows it.

    Returns:
        The price, or None when it is not known. `local` is free.
    """
    if provider == "local":
        return FREE
    from genai_prices import Usage, calc_price

    try:
        plain, cached, stored = (
            calc_price(
                Usage(input_tokens=_SAMPLE, cache_read_tokens=found, cache_write_tokens=put, output_tokens=_SAMPLE),
                model,
                provider_id=_NAMES.get(provider, provider),
            )
            for found, put in ((0, 0), (_SAMPLE, 0), (0, _SAMPLE))
        )
    except LookupError:
        return None
    costs = plain.input_price, cached.input_price, plain.output_price, stored.input_price
    return Price(*(float(cost) / _SAMPLE for cost in costs))
