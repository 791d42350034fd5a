"""The names of polar-llama 0.2: the same meaning, on the same planner as everything else.

New code is better written with `llm`, `ask` and `embed`; `docs/migrating.md` shows old beside new.
"""

from __future__ import annotations

from polar_llama.frame.neighbours import knn_hnsw
from polar_llama.frame.similarity import cosine_similarity, dot_product, euclidean_distance
from polar_llama.seed.formatting import template
from polar_llama.seed.inference import embedding_async, inference, inference_async, inference_messages
from polar_llama.seed.messages import combine_messages, string_to_message
from polar_llama.seed.namespace import LlamaNamespace
from polar_llama.seed.provider import Provider
from polar_llama.seed.taxonomy import tag_taxonomy

__all__ = [
    "LlamaNamespace",
    "Provider",
    "combine_messages",
    "cosine_similarity",
    "dot_product",
    "embedding_async",
    "euclidean_distance",
    "inference",
    "inference_async",
    "inference_messages",
    "knn_hnsw",
    "string_to_message",
    "tag_taxonomy",
    "template",
]
