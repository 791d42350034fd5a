"""What tokens cost, by the bundled table of `genai-prices`; never by the network.

These are list prices of the first tier: discounts, long-context surcharges and the surcharge for
writing a provider's prompt cache are not in them. A vendor's model behind a base URL of one's own is
taken at the vendor's price.
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
    """US dollars per token. `cached` is for input tokens the provider found in its own prompt cache."""

    input: float
    cached: float
    output: float

    def of(self, tally: Tally) -> float:
        """What the tokens of a call cost, in US dollars."""
        fresh = tally.input_tokens - tally.cached_tokens
        return fresh * self.input + tally.cached_tokens * self.cached + tally.output_tokens * self.output


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
        plain, cached = (
            calc_price(
                Usage(input_tokens=_SAMPLE, cache_read_tokens=found, output_tokens=_SAMPLE),
                model,
                provider_id=_NAMES.get(provider, provider),
            )
            for found in (0, _SAMPLE)
        )
    except LookupError:
        return None
    return Price(*(float(cost) / _SAMPLE for cost in (plain.input_price, cached.input_price, plain.output_price)))
