"""Providers by name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from polar_llama.errors import ConfigurationError
from polar_llama.providers import registry
from polar_llama.providers.base import Connection
from polar_llama.providers.registry import create, known, register_provider, split_model


class Parrot:
    identity = "parrot"
    host = "parrot"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection


def connection() -> Connection:
    def transport() -> Any:
        raise AssertionError

    return Connection({}, {"OPENAI_API_KEY": "k"}.get, transport)


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("openai:gpt-6-luna", ("openai", "gpt-6-luna")),
        ("groq:openai/gpt-oss-20b", ("groq", "openai/gpt-oss-20b")),
        ("bedrock:amazon.nova-lite-v1:0", ("bedrock", "amazon.nova-lite-v1:0")),
        ("local", ("local", "")),
        ("local:/models/a b:c.gguf", ("local", "/models/a b:c.gguf")),
        (" openai:m ", ("openai", "m")),
    ],
)
def test_splitting(model: str, parts: tuple[str, str]) -> None:
    assert split_model(model) == parts


@pytest.mark.parametrize("model", ["", "gpt-6-luna", "openai", "openai:", ":m", "local:", "   "])
def test_what_cannot_be_split(model: str) -> None:
    with pytest.raises(ConfigurationError, match="provider:model"):
        split_model(model)


def test_a_bare_model_name_is_helped() -> None:
    with pytest.raises(ConfigurationError, match='such as "openai:gpt-6-luna-mini"'):
        split_model("gpt-6-luna-mini")


def test_unknown_providers_are_corrected() -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean \"openai\"\? The providers are .*local.*openai"):
        create("OpenAi", connection())
    with pytest.raises(ConfigurationError, match=r"no provider 'zzz'\. The providers are"):
        create("zzz", connection())


def test_a_provider_of_your_own() -> None:
    handed = connection()
    register_provider("parrot", Parrot)  # type: ignore[arg-type]
    made = create("parrot", handed)
    assert isinstance(made, Parrot)
    assert made.connection is handed
    assert "parrot" in known()
    register_provider("openai", Parrot)  # type: ignore[arg-type]
    assert create("openai", handed).identity == "parrot"


@pytest.mark.parametrize("name", ["", "My Provider", "a:b", "Ünï", "1st"])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be named"):
        register_provider(name, Parrot)  # type: ignore[arg-type]


def test_factories_must_be_callable() -> None:
    with pytest.raises(ConfigurationError, match="must be callable, not str"):
        register_provider("parrot", "parrot")  # type: ignore[arg-type]


def test_entry_points_are_found_when_nothing_else_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    package = tmp_path / "parrots-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[polar_llama.providers]\npolly = parrots:Polly\n")
    (tmp_path / "parrots.py").write_text("def Polly(connection):\n    return connection\n")
    monkeypatch.syspath_prepend(tmp_path)
    handed = connection()
    assert create("polly", handed) is handed  # type: ignore[comparison-overlap]
    with pytest.raises(ConfigurationError, match='did you mean "polly"'):
        create("poly", handed)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "needy.py").write_text("import boto_of_the_future.client\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry._BUILT_IN, "needy", "needy:create")
    with pytest.raises(ConfigurationError, match=r'boto_of_the_future.* pip install "polar-llama\[needy\]"'):
        create("needy", connection())


def test_our_own_missing_modules_are_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._BUILT_IN, "broken", "polar_llama.providers.not_written:create")
    with pytest.raises(ModuleNotFoundError):
        create("broken", connection())


def test_providers_of_one_model_are_handed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polar_llama.providers.local.create", lambda handed, model: (handed, model))
    handed = connection()
    assert create("local", handed, "/m.gguf") == (handed, "/m.gguf")  # type: ignore[comparison-overlap]


def test_nothing_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, polar_llama.providers.registry\n"
        "found = [m[22:] for m in sys.modules if m.startswith('polar_llama.providers.')]\n"
        "print(sorted(set(found) - {'registry', 'base'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
