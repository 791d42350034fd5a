"""Every provider, with a key, a password in its base URL and a prompt: none of them is ever shown."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import TYPE_CHECKING

import cloudpickle
import polars as pl
import pytest

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODELS = [
    "openai:gpt-6-luna",
    "anthropic:claude-haiku-5-5",
    "gemini:gemini-3.8-flash",
    "groq:openai/gpt-oss-20b",
    "bedrock:amazon.nova-lite-v1:0",
    "azure:gpt-6-luna",
]
CANARY = "canary-" + "0123456789abcdef"
PROMPT = "the walrus rides at midnight"


@pytest.fixture(params=["a wrong key", "a right one"])
def leading_there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Emulator(key="another" if request.param == "a wrong key" else None) as emulator:
        for name, value in emulator.environ().items():
            secret = "KEY" in name
            monkeypatch.setenv(name, f"sk-{CANARY}" if secret else value.replace("://", f"://user:pw-{CANARY}@"))
        monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-{CANARY}")
        yield


def _shown(model: str) -> tuple[str, str]:
    """What is shown of a query and its error; what is pickled of the query, which holds the prompt."""
    lf = pl.LazyFrame({"q": [PROMPT]}).with_columns(a=pll.llm("q", model=model), v=pl.lit(1))
    error: Exception | None = None
    try:
        lf.collect()
    except pll.PolarLlamaError as raised:
        error = raised
    said = [repr(error), str(error), repr(pll.last_run()), repr(lf), pll.explain(lf)]
    if error is not None:
        said.append(repr(pickle.dumps(error)))
    pickled = [repr(cloudpickle.dumps(lf)), repr(lf.serialize())]
    if error is not None:
        pickled += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "".join(said), "".join(pickled)


@pytest.mark.usefixtures("leading_there")
@pytest.mark.parametrize("model", MODELS)
def test_nothing_secret_is_shown(model: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.DEBUG):
        said, pickled = _shown(model)
    assert CANARY not in said + pickled
    assert "walrus" not in said
    for record in caplog.records:
        assert CANARY not in record.getMessage(), record.name
        assert "walrus" not in record.getMessage(), record.name
    for file in (tmp_path / "cache").rglob("*"):
        assert file.is_dir() or CANARY.encode() not in file.read_bytes()
    assert CANARY not in repr(pll.estimate(pl.LazyFrame({"q": [PROMPT]}).select(pll.llm("q", model=model))))


@pytest.mark.usefixtures("leading_there")
def test_the_log_of_others_is_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        _shown("bedrock:amazon.nova-lite-v1:0")
        caplog.clear()
        logging.getLogger("botocore.endpoint").debug("somebody else's")
    assert [record.getMessage() for record in caplog.records] == ["somebody else's"]


WRONG = {
    "a setting": ({"POLAR_LLAMA_MAX_COST": "much"}, "openai:gpt-6-luna"),
    "no provider": ({}, "nobody:m"),
    "no region": ({"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, "bedrock:m"),
    **{
        f"the URL of {name}": ({variable: f"ftp://user:pw-{CANARY}@host"}, f"{name}:m")
        for name, variable in {
            "openai": "OPENAI_BASE_URL",
            "anthropic": "ANTHROPIC_BASE_URL",
            "gemini": "GOOGLE_GEMINI_BASE_URL",
            "groq": "GROQ_BASE_URL",
            "azure": "AZURE_OPENAI_ENDPOINT",
            "bedrock": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        }.items()
    },
}


@pytest.mark.usefixtures("leading_there")
@pytest.mark.parametrize("looks", ["collect", "estimate"])
@pytest.mark.parametrize("wrong", WRONG)
def test_no_error_shows_the_environment(wrong: str, looks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do the local variables beside it, which tools that report errors show."""
    environ, model = WRONG[wrong]
    monkeypatch.setenv("DATABASE_URL", f"postgres://user:pw-{CANARY}@host/base")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    lf = pl.LazyFrame({"q": [PROMPT]}).select(pll.llm("q", model=model))
    error = _error(lf.collect if looks == "collect" else lambda: pll.estimate(lf))
    assert CANARY not in "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def _error(ask: Callable[[], object]) -> pll.ConfigurationError:
    """What is raised, without this module's own variables."""
    try:
        ask()
    except pll.ConfigurationError as error:
        return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    pytest.fail("nothing was wrong")
