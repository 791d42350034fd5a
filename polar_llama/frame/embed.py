"""`embed(...)`: a Polars expression for the vectors of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polar_llama.call import altered, written
from polar_llama.errors import ConfigurationError
from polar_llama.frame.llm import llm
from polar_llama.types.vectors import vector_type

if TYPE_CHECKING:
    from polar_llama.call import OnError


def embed(
    expr: str | pl.Expr,
    *,
    model: str | None = None,
    dimensions: int | None = None,
    cache: bool = True,
    on_error: OnError | None = None,
) -> pl.Expr:
    """The vector of every text.

    Planned as `llm` is: nothing is sent until the frame is collected, and then only for rows that matter; equal
    texts are embedded once, and not again while the cache holds them. Many texts go into one request, as many as
    the provider takes.

    Args:
        expr: The texts, as a prompt of `llm`: a column's name, a template, or an expression. Null gives null.
        model: `"provider:model"`, such as `"openai:text-embedding-3-small"`; by default the embedding model of the
            provider in force (`openai`, `gemini`, `bedrock`, `local`).
        dimensions: How long the vectors are to be, for models that can shorten them.
        cache: False asks again although the cache holds a vector.
        on_error: As for `llm`.

    Returns:
        An expression named `embed`: Array(Float32, dimensions), or List(Float32) where no dimensions are given.

    Raises:
        ConfigurationError: If an option is wrong; when collected, if the provider has no embeddings.

    Examples:
        >>> import polars as pl
        >>> lf = pl.LazyFrame({"text": ["Where is my card?"]})
        >>> dict(lf.select(embed("text"), short=embed("text", dimensions=256)).collect_schema())
        {'embed': List(Float32), 'short': Array(Float32, shape=(256,))}
    """
    if dimensions is not None and (isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1):
        msg = f"embed(dimensions=…) must be a whole number of at least 1, not {dimensions!r}"
        raise ConfigurationError(msg)
    name = llm(expr, model=model, cache=cache, on_error=on_error).meta.root_names()[0]
    label = "embed" + written(name).call.label.removeprefix("llm")
    wanted = altered(name, returns=vector_type(dimensions), label=label, embedding=True, dimensions=dimensions)
    return pl.col(wanted).alias("embed")
