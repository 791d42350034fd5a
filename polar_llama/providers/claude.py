"""What is known of Claude models by their names, wherever they are served (read 2026-11-23)."""

from __future__ import annotations

import re

_NAME = re.compile(
    r"claude-(?:(opus|sonnet|haiku|fable|mythos)-)?(\d+)(?:[-.](\d{1,2})(?!\d))?(?:-(opus|sonnet|haiku))?"
)

_CACHE_MINIMUM = {
    ("sonnet", 4, 5): 1024,
    ("sonnet", 4, 6): 1024,
    ("sonnet", 5, 0): 1024,
    ("opus", 4, 5): 4096,
    ("opus", 4, 6): 4096,
    ("opus", 4, 7): 2048,
    ("opus", 4, 8): 1024,
    ("haiku", 4, 5): 4096,
}


def generation(model: str) -> tuple[str, int, int] | None:
    """A model's family and version, or None where the name is not a Claude model's.

    >>> generation("claude-haiku-5-5"), generation("claude-sonnet-4-20250514"), generation("gpt-6")
    (('haiku', 5, 5), ('sonnet', 4, 0), None)
    >>> generation("us.anthropic.claude-3-5-sonnet-20241022-v2:0")
    ('sonnet', 3, 5)
    """
    found = _NAME.search(model)
    if found is None:
        return None
    before, major, minor, after = found.groups()
    return before or after or "", int(major), int(minor or 0)


def takes_sampling(model: str) -> bool:
    """Whether a model may take `temperature` and the like: those after 4.6 refuse or ignore it (litellm's table).

    >>> takes_sampling("claude-haiku-4-5-20251001"), takes_sampling("claude-opus-4-7"), takes_sampling("my-own")
    (True, False, True)
    """
    found = generation(model)
    return found is None or found[1:] <= (4, 6)


def takes_schemas(model: str) -> bool | None:
    """Whether a model enforces schemas: Claude 4.5 and later (Anthropic's guide); None where it is not known."""
    found = generation(model)
    return None if found is None else found[1:] >= (4, 5)


def cache_minimum(model: str) -> int:
    """The fewest tokens of a beginning that is cached (Anthropic's guide to prompt caching); shorter ones never are.

    >>> cache_minimum("claude-haiku-5-5"), cache_minimum("claude-haiku-4-5"), cache_minimum("claude-sonnet-4")
    (512, 4096, 1024)
    """
    found = generation(model)
    if found is None:
        return 1024
    return _CACHE_MINIMUM.get(found, 512 if found[1] >= 5 else 1024)  # noqa: PLR2004 -- the fifth generation
