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

from typing import TYPE_CHECKING, Any

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
from polar_llama.frame import capture as _capture  # noqa: F401 -- listens to Polars' verbs
from polar_llama.frame import namespaces as _namespaces  # noqa: F401 -- registers `lf.llm`
from polar_llama.frame.ask import ask
from polar_llama.frame.embed import embed
from polar_llama.frame.files import read_files
from polar_llama.frame.llm import LLM, llm
from polar_llama.frame.looking import estimate, explain
from polar_llama.frame.neighbours import join_nearest, knn_hnsw
from polar_llama.frame.patch import disarm
from polar_llama.frame.similarity import cosine_similarity, dot_product, euclidean_distance
from polar_llama.providers.registry import register_provider
from polar_llama.seed import (
    Provider,
    combine_messages,
    embedding_async,
    inference,
    inference_async,
    inference_messages,
    string_to_message,
    tag_taxonomy,
    template,
)
from polar_llama.settings import Settings, configure, session

if TYPE_CHECKING:
    from polar_llama.providers.compatible import compatible as openai_compatible
    from polar_llama.sqlfront import sql

__all__ = [
    "LLM",
    "AnswerError",
    "BudgetError",
    "ConfigurationError",
    "PlanError",
    "PolarLlamaError",
    "Provider",
    "ProviderError",
    "RunReport",
    "Settings",
    "UnknownColumnError",
    "ask",
    "combine_messages",
    "configure",
    "cosine_similarity",
    "disarm",
    "dot_product",
    "embed",
    "embedding_async",
    "estimate",
    "euclidean_distance",
    "explain",
    "inference",
    "inference_async",
    "inference_messages",
    "join_nearest",
    "knn_hnsw",
    "last_run",
    "llm",
    "openai_compatible",
    "read_files",
    "register_provider",
    "session",
    "sql",
    "string_to_message",
    "tag_taxonomy",
    "template",
]

__version__ = "1.0.0"


def __getattr__(name: str) -> Any:
    if name == "sql":  # DuckDB and sqlglot, when they are needed
        from polar_llama.sqlfront import sql

        return sql
    if name == "openai_compatible":
        from polar_llama.providers.compatible import compatible

        return compatible
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
