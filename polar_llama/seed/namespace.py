"""`pl.Expr.llama`: the same functions, as methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.frame.neighbours import knn_hnsw
from polar_llama.frame.similarity import cosine_similarity, dot_product, euclidean_distance
from polar_llama.seed.inference import embedding_async, inference, inference_async, inference_messages
from polar_llama.seed.messages import string_to_message
from polar_llama.seed.provider import expression
from polar_llama.seed.taxonomy import tag_taxonomy

if TYPE_CHECKING:
    from pydantic import BaseModel


@pl.api.register_expr_namespace("llama")
class LlamaNamespace:
    """`expr.llama`."""

    def __init__(self, expr: pl.Expr) -> None:
        """Look at an expression."""
        self._expr = expr

    def to_message(self, *, role: str = "user") -> pl.Expr:
        """See `string_to_message`."""
        return string_to_message(self._expr, message_type=role)

    def inference(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        response_model: type[BaseModel] | None = None,
        response_format: type[BaseModel] | None = None,
    ) -> pl.Expr:
        """See `inference`."""
        return inference(
            self._expr, provider=provider, model=model, response_model=response_model, response_format=response_format
        )

    def inference_async(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        response_model: type[BaseModel] | None = None,
        response_format: type[BaseModel] | None = None,
    ) -> pl.Expr:
        """See `inference_async`."""
        return inference_async(
            self._expr, provider=provider, model=model, response_model=response_model, response_format=response_format
        )

    def inference_messages(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        response_model: type[BaseModel] | None = None,
        response_format: type[BaseModel] | None = None,
    ) -> pl.Expr:
        """See `inference_messages`."""
        return inference_messages(
            self._expr, provider=provider, model=model, response_model=response_model, response_format=response_format
        )

    def tag_taxonomy(
        self, taxonomy: dict[str, dict[str, Any]], *, provider: str | None = None, model: str | None = None
    ) -> pl.Expr:
        """See `tag_taxonomy`."""
        return tag_taxonomy(self._expr, taxonomy, provider=provider, model=model)

    def embedding(self, *, provider: str | None = None, model: str | None = None) -> pl.Expr:
        """See `embedding_async`."""
        return embedding_async(self._expr, provider=provider, model=model)

    def cosine_similarity(self, other: Any) -> pl.Expr:
        """See `cosine_similarity`."""
        return cosine_similarity(self._expr, expression(other))

    def dot_product(self, other: Any) -> pl.Expr:
        """See `dot_product`."""
        return dot_product(self._expr, expression(other))

    def euclidean_distance(self, other: Any) -> pl.Expr:
        """See `euclidean_distance`."""
        return euclidean_distance(self._expr, expression(other))

    def knn_hnsw(self, reference: Any, *, k: int = 5) -> pl.Expr:
        """See `knn_hnsw`."""
        return knn_hnsw(self._expr, expression(reference), k=k)
