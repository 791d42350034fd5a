"""LLM calls first-class in Polars: planned, deduplicated, cached.

```python
import polars as pl
import polar_llama as pll

pll.configure(model="local")
lf = pl.LazyFrame({"question": ["Where is my card?"]})
lf.with_columns(answer=pll.llm("question")).collect()
```
"""

from __future__ import annotations

from polar_llama.errors import (
    AnswerError,
    BudgetError,
    ConfigurationError,
    PlanError,
    PolarLlamaError,
    ProviderError,
    UnknownColumnError,
)
from polar_llama.exec.report import RunReport, last_run
from polar_llama.frame import namespaces as _namespaces  # noqa: F401 -- registers `lf.llm`
from polar_llama.frame.capture import disarm
from polar_llama.frame.llm import LLM, llm
from polar_llama.frame.looking import estimate, explain
from polar_llama.providers.registry import register_provider
from polar_llama.settings import Settings, configure, session

__all__ = [
    "LLM",
    "AnswerError",
    "BudgetError",
    "ConfigurationError",
    "PlanError",
    "PolarLlamaError",
    "ProviderError",
    "RunReport",
    "Settings",
    "UnknownColumnError",
    "configure",
    "disarm",
    "estimate",
    "explain",
    "last_run",
    "llm",
    "register_provider",
    "session",
]

__version__ = "1.0.0"
