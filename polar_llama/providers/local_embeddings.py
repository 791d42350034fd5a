"""Embeddings of the embedded local model: a second llama.cpp server, since one either answers or embeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polar_llama.providers import embedded
from polar_llama.providers.base import Failure, Room, Usage, Vectors
from polar_llama.providers.embedding import NoVectorsError, packed, without_empty

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROOM = Room(texts=32, size=64_000)
"""A request cannot be stopped half-way, so it is kept short: measured 0.5 s on 2 cores."""


async def embed(path: Path, digest: str, texts: Sequence[str], timeout: float) -> Vectors | Failure:
    """Ask once for the vectors of texts.

    Args:
        path: The weights.
        digest: Their digest.
        texts: The texts; empty ones fail alone.
        timeout: Seconds.
    """
    return await without_empty(texts, lambda full: _embed(path, digest, full, timeout))


async def _embed(path: Path, digest: str, texts: list[str], timeout: float) -> Vectors | Failure:
    body = {"input": texts, "encoding_format": "base64"}
    try:
        done = await embedded.engine(path, digest, embedding=True).generate(body, timeout)
        found: Any = done.vectors
        if "error" in found:
            return _refused(found["error"])
        vectors = tuple(packed(one["embedding"]) for one in sorted(found["data"], key=lambda one: one["index"]))
    except embedded.LoadError as error:
        return Failure("unknown_model", str(error))
    except (ValueError, KeyError, TypeError, NoVectorsError):
        return Failure("bad_request", "llama.cpp refuses the request")
    return Vectors(vectors, Usage(input=found["usage"]["prompt_tokens"]), path.stem)


def _refused(error: dict[str, Any]) -> Failure:
    message = str(error.get("message", ""))
    if "too large" in message or "exceed" in message:
        message = f"the text has more than the {embedded.CONTEXT:,} tokens that the embedded local model takes"
    return Failure("bad_request", f"llama.cpp refuses the request: {message}", error.get("code"))
