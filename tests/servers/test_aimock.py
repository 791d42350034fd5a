"""Bedrock's Converse as aimock (npm, `@copilotkit/aimock`) serves it: text, typed answers, errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest
from server_kit import Server, command_of

import polar_llama as pll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = command_of("AIMOCK", "aimock")
NOVA = "bedrock:amazon.nova-lite-v1:0"
CLAUDE = "bedrock:us.anthropic.claude-haiku-4-5-20251001-v1:0"
OLD = "bedrock:anthropic.claude-3-haiku-20240307-v1:0"


def _fixture(words: str, **response: object) -> dict[str, object]:
    return {"match": {"userMessage": words}, "response": response}


def _error(status: int, words: str) -> dict[str, object]:
    return {"status": status, "error": {"message": f"{words} happened", "type": words}}


FIXTURES = [
    _fixture("typed by a tool", toolCalls=[{"name": "answer", "arguments": {"answer": True}}]),
    _fixture("typed natively", content='{"answer": true}'),
    _fixture("refused", content="I cannot", finishReason="content_filtered"),
    _fixture("long", content="and so on", finishReason="length"),
    _fixture("counted", content="ten", usage={"input_tokens": 10, "output_tokens": 3}),
    *(_fixture(f"status {status}", **_error(status, words)) for status, words in (
        (400, "ValidationException"), (403, "AccessDeniedException"), (404, "ResourceNotFoundException"),
    )),
    {"match": {"userMessage": "busy", "sequenceIndex": 0}, "response": _error(429, "ThrottlingException")},
    {"match": {"userMessage": "busy", "sequenceIndex": 1}, "response": _error(503, "ServiceUnavailableException")},
    _fixture("busy", content="at last"),
    _fixture("hello", content="Hello there"),
]  # fmt: skip


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": FIXTURES}))
    server = Server([COMMAND, "--port", "PORT", "--fixtures", str(folder / "fixtures.json")], "/health", folder / "log")
    yield server
    server.stop()


@pytest.fixture
def aimock(_running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", _running.url)
    for name, value in (("AWS_REGION", "eu-north-1"), ("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "s")):
        monkeypatch.setenv(name, value)
    return _running


def _ask(prompt: str, model: str = NOVA, **options: object) -> dict[str, object]:
    asked = pll.llm(pl.lit(prompt), model=model, on_error="struct", **options)  # type: ignore[arg-type]
    found: dict[str, object] = pl.select(asked).item()
    return found


@pytest.mark.parametrize("model", [NOVA, CLAUDE, OLD])
def test_a_text(aimock: Server, model: str) -> None:
    assert _ask("hello", model) == {"answer": "Hello there", "error": None}


def test_usage(aimock: Server) -> None:
    assert _ask("counted")["answer"] == "ten"
    report = pll.last_run()
    assert report is not None
    assert (report.total.input_tokens, report.total.output_tokens) == (10, 3)


@pytest.mark.parametrize(("model", "prompt"), [(CLAUDE, "typed natively"), (OLD, "typed by a tool")])
def test_a_typed_answer(aimock: Server, model: str, prompt: str) -> None:
    assert _ask(prompt, model, returns=bool) == {"answer": True, "error": None}
    report = pll.last_run()
    assert report is not None
    assert report.total.unenforced == (model == OLD)


def test_how_it_ends(aimock: Server) -> None:
    assert "content filter" in str(_ask("refused")["error"])
    assert _ask("long") == {"answer": "and so on", "error": None}
    assert "truncated" in str(_ask("long", CLAUDE, returns=bool)["error"])


@pytest.mark.parametrize(("status", "kind"), [(400, "bad_request"), (403, "auth"), (404, "unknown_model")])
def test_errors(aimock: Server, status: int, kind: str) -> None:
    assert str(_ask(f"status {status}")["error"]).startswith(f"{status} {kind}")


def test_what_heals_is_asked_again(aimock: Server, tmp_path: Path) -> None:
    assert _ask("busy") == {"answer": "at last", "error": None}
    report = pll.last_run()
    assert report is not None
    assert report.total.retried == 2
