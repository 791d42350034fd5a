"""Every error this package raises, one class per phase.

```
PolarLlamaError
├── ConfigurationError   settings, models, keys, extras, directories: before anything runs
├── PlanError            a query that cannot be captured or planned: before the first request
│   └── UnknownColumnError   (also a polars ColumnNotFoundError)
├── ProviderError        a provider cannot be reached or refuses for good: stops the run
├── AnswerError          rows whose answer failed after every other row was answered and cached
└── BudgetError          `max_cost` or `max_requests` would be exceeded
```

A message says what happened and what to do next. It names row numbers and causes, never prompt
text and never a key.
"""

from __future__ import annotations

from polars.exceptions import ColumnNotFoundError


class PolarLlamaError(Exception):
    """The base of every error of this package."""


class ConfigurationError(PolarLlamaError):
    """A setting, model, key, extra or directory is missing or wrong; nothing was sent."""


class PlanError(PolarLlamaError):
    """The query holds a call where it cannot be captured or planned; nothing was sent."""


class ProviderError(PolarLlamaError):
    """A provider cannot be reached, or refuses for a reason that retrying cannot heal.

    Answers that had come back are in the cache: the next run asks only for what is missing.
    """


class AnswerError(PolarLlamaError):
    """Some rows have no answer, with `on_error="raise"`; all other rows are in the cache."""


class BudgetError(PolarLlamaError):
    """`max_cost` or `max_requests` would be exceeded; what came back is in the cache."""


class UnknownColumnError(PlanError, ColumnNotFoundError):
    """A prompt reads a column that is not in the frame; nothing was sent."""
