"""Settings: call argument > `session` > `configure` > environment > default, as one frozen snapshot.

Only the front ends read the settings in force; everything below is handed a snapshot. A snapshot
holds no credentials.
"""

from __future__ import annotations

import contextlib
import os
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import platformdirs

from polar_llama.call import OnError
from polar_llama.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

CacheMode = Literal["use", "refresh", "replay", "off"]


@dataclass(frozen=True, slots=True)
class Settings:
    """One frozen snapshot of every setting.

    Attributes:
        model: `"provider:model"` for calls that name none.
        cache_dir: Where answers are kept.
        cache: `"use"` reads and writes; `"refresh"` asks again and writes; `"replay"` only reads, and
            a miss is an error; `"off"` neither reads nor writes.
        max_concurrency: The most requests in flight per provider and model; also the starting
            value. None adapts from a careful start.
        requests_per_minute: The most requests a minute per provider and model.
        tokens_per_minute: The most tokens (in and out) a minute per provider and model.
        timeout: Seconds for one request.
        max_retries: How often a request that can heal is sent again.
        max_cost: The most US dollars a run may cost: exact for calls of text with `max_tokens`, else nearly so.
        max_requests: The most requests a run may send.
        on_error: `"raise"`, `"null"` or `"struct"`.
        progress: `"auto"` shows a bar in terminals and notebooks, on long work.
        http_client: The user's own `httpx.AsyncClient`.
    """

    model: str | None = None
    cache_dir: Path = field(default_factory=lambda: Path(platformdirs.user_cache_dir("polar_llama")))
    cache: CacheMode = "use"
    max_concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 600.0
    max_retries: int = 6
    max_cost: float | None = None
    max_requests: int | None = None
    on_error: OnError = "raise"
    progress: bool | Literal["auto"] = "auto"
    http_client: httpx.AsyncClient | None = field(default=None, repr=False)


_KEYS = frozenset(f.name for f in fields(Settings))
_configured: dict[str, Any] = {}
_session: ContextVar[Mapping[str, Any] | None] = ContextVar("polar_llama_session", default=None)


def configure(**settings: Any) -> None:
    """Set settings for this process; `None` returns a setting to its default.

    Args:
        **settings: Any attribute of `Settings`.

    Raises:
        ConfigurationError: If a key is unknown or a value is wrong.
    """
    checked = _checked(settings)
    for key, value in checked.items():
        if value is None:
            _configured.pop(key, None)
        else:
            _configured[key] = value


@contextlib.contextmanager
def session(**settings: Any) -> Iterator[None]:
    """Set settings inside a `with` block, for this thread or task only.

    Args:
        **settings: Any attribute of `Settings`; `None` is the default of the setting.

    Raises:
        ConfigurationError: If a key is unknown or a value is wrong.
    """
    token = _session.set({**(_session.get() or {}), **_checked(settings)})
    try:
        yield
    finally:
        _session.reset(token)


def current() -> Settings:
    """The settings in force for the calling thread, as a snapshot.

    Raises:
        ConfigurationError: If an environment variable holds a value that cannot be read.
    """
    found: dict[str, Any] = {}
    for key in sorted(_KEYS - {"http_client"}):
        # No name here is bound to the environment: tools that report errors show local variables.
        if text := os.environ.get(f"POLAR_LLAMA_{key.upper()}"):
            found[key] = _from_text(key, text)
    merged = {**_checked(found), **_configured, **(_session.get() or {})}
    return replace(Settings(), **{k: v for k, v in merged.items() if v is not None})


def _from_text(key: str, text: str) -> Any:
    readers = {
        "max_concurrency": int,
        "requests_per_minute": int,
        "tokens_per_minute": int,
        "max_retries": int,
        "max_requests": int,
        "timeout": float,
        "max_cost": float,
    }
    if key == "progress":
        return {"auto": "auto", "1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)
    try:
        return readers.get(key, str)(text)
    except ValueError:
        msg = f"the environment variable POLAR_LLAMA_{key.upper()} must hold a number, not {text!r}"
        raise ConfigurationError(msg) from None


_CHOICES: dict[str, tuple[Any, ...]] = {
    "cache": get_args(CacheMode),
    "on_error": get_args(OnError),
    "progress": ("auto", True, False),
}
_INTEGERS = ("max_concurrency", "requests_per_minute", "tokens_per_minute", "max_requests", "max_retries")
_NUMBERS = ("timeout", "max_cost")


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(settings) - _KEYS)
    if unknown:
        msg = f"unknown setting {', '.join(unknown)}; the settings are {', '.join(sorted(_KEYS))}"
        raise ConfigurationError(msg)
    return {key: None if value is None else _check(key, value) for key, value in settings.items()}


def _check(key: str, value: Any) -> Any:
    if key in _CHOICES and not any(value is c or (value == c and type(value) is type(c)) for c in _CHOICES[key]):
        _wrong(key, value, "one of " + ", ".join(map(repr, _CHOICES[key])))
    least = 0 if key in {"max_retries", "max_requests", "max_cost"} else 1
    if key in _INTEGERS and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        _wrong(key, value, f"a whole number of at least {least}")
    if key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
        _wrong(key, value, "a number that is not negative")
    if key == "timeout" and not value:
        _wrong(key, value, "a number of seconds above zero")
    if key == "model" and not isinstance(value, str):
        _wrong(key, value, 'a string such as "openai:gpt-6-luna" or "local"')
    if key == "cache_dir":
        if not isinstance(value, str | os.PathLike):
            _wrong(key, value, "a path")
        return Path(value).expanduser()
    if key == "http_client" and not (hasattr(value, "request") and hasattr(value, "aclose")):
        _wrong(key, value, "an httpx.AsyncClient")
    return value


def _wrong(key: str, value: object, wanted: str) -> None:
    shown = type(value).__name__ if key == "http_client" else repr(value)
    msg = f"the setting {key} must be {wanted}, not {shown}"
    raise ConfigurationError(msg)
