"""llama.cpp's own server over HTTP: OpenAI's format, and Anthropic's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import pytest
from pydantic import BaseModel

import polar_llama as pll
from polar_llama.providers import weights

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.local_model

KEY = "a-key-of-the-test"
OPENAI, ANTHROPIC = "openai:smollm2", "anthropic:smollm2"


class Pet(BaseModel):
    name: str
    kind: Literal["cat", "dog"]


@pytest.fixture(scope="module")
def _address() -> Iterator[str]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights.locate(""))
    params.ui, params.warmup, params.verbosity = False, False, -1
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 4096, 2, 1
    params.api_keys = [KEY]
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


@pytest.fixture
def llama_cpp(_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{_address}/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", _address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    return _address


def _ask(prompt: Any, model: str, **options: Any) -> dict[str, Any]:
    options = {"max_tokens": 24, "temperature": 0.0, "on_error": "struct", **options}
    found: dict[str, Any] = pl.DataFrame({"q": [prompt]}).select(pll.llm("q", model=model, **options)).item()
    return found


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
def test_text_system_prompt_and_conversation(llama_cpp: str, model: str) -> None:
    said = _ask("Say hello.", model, system="Be brief.")
    assert said["error"] is None
    assert said["answer"]
    report = pll.last_run()
    assert report is not None
    assert report.total.input_tokens > 10
    assert 0 < report.total.output_tokens <= 24
    turns = [{"role": role, "content": text} for role, text in (("user", "1?"), ("assistant", "1"), ("user", "2?"))]
    assert _ask(turns, model)["error"] is None


@pytest.mark.parametrize("returns", [bool, int, Literal["yes", "no"], list[bool], Pet])
def test_typed_answers_are_held_to_their_schema(llama_cpp: str, returns: Any) -> None:
    said = _ask("Is Rex a dog?", OPENAI, returns=returns, max_tokens=60, seed=1)
    report = pll.last_run()
    assert report is not None
    assert said["error"] is None or "truncated" in said["error"]
    assert (report.total.sent, report.total.unenforced) == (1, 0)


def test_over_its_messages_nothing_holds_an_answer_to_its_schema_and_that_is_said(llama_cpp: str) -> None:
    """It passes over `output_config`, and over tools where the model's template has none: this is found out once."""
    _ask("Say yes.", ANTHROPIC, returns=bool, system="Answer with one word.", max_tokens=100)
    report = pll.last_run()
    assert report is not None
    assert report.total.unenforced >= 1
    assert "typed in words or by a tool" in repr(report)


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
def test_errors(llama_cpp: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _ask("word " * 5_000, model)["error"].startswith("400 bad_request")
    assert "exceed_context_size_error" in _ask("word " * 5_000, model)["error"]
    image = pll.llm("q", images=pl.lit(b"GIF89a"), model=model, on_error="struct")
    assert "image input is not supported" in pl.DataFrame({"q": ["?"]}).select(image).item()["error"]
    report = pll.last_run()
    assert report is not None
    assert report.total.sent == 1, "its 500 is not asked again"
    monkeypatch.setenv(f"{model.partition(':')[0].upper()}_API_KEY", "another-key")
    assert _ask("another question", model)["error"].startswith("401 auth")


def test_a_server_that_answers_does_not_embed_and_says_so(llama_cpp: str) -> None:
    found = pl.DataFrame({"q": ["?"]}).select(pll.embed("q", model=OPENAI, on_error="struct")).item()
    assert "does not support embeddings" in found["error"]
