"""Every fault that llmock (PyPI, `llmock`) knows, and its own verdict on how we took it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from server_kit import Server, command_of

import polar_llama as pll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = command_of("LLMOCK", "llmock")
MODELS = {
    "openai": "openai:gpt-4o-mini",
    "anthropic": "anthropic:claude-haiku-4-5",
    "gemini": "gemini:gemini-2.5-flash",
    "groq": "groq:openai/gpt-oss-20b",
}
HEALS = (408, 409, 429, 500, 502, 503, 504, 529)
FINAL = {400: "bad_request", 401: "auth", 403: "auth", 404: "unknown_model", 413: "bad_request", 422: "bad_request"}
CLAUDE_3 = "anthropic:claude-3-opus"
"""Enforces no schemas: its typed answers are the input of a tool."""


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return MODELS[request.param]


@pytest.fixture(scope="module")
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts a server with options; one for each that differ."""
    running: dict[tuple[str, ...], Server] = {}

    def start(*options: str) -> Server:
        if options not in running:
            log = tmp_path_factory.mktemp("llmock") / "log"
            whole = [COMMAND, "serve", "--port", "PORT", "--log-level", "error", *options]
            running[options] = Server(whole, "/_llmock/verdict", log)
        running[options].ask("POST", "/_llmock/reset")
        return running[options]

    yield start
    for server in running.values():
        server.stop()


@pytest.fixture
def llmock(starting: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """The same, and every vendor's environment leads there."""

    def start(*options: str) -> Server:
        server = starting(*options)
        paths = {"OPENAI": "/v1", "ANTHROPIC": "/anthropic", "GOOGLE_GEMINI": "/gemini/v1beta", "GROQ": "/groq"}
        for name, path in paths.items():
            monkeypatch.setenv(f"{name}_BASE_URL", server.url + path)
            monkeypatch.setenv(f"{name.removeprefix('GOOGLE_')}_API_KEY", "key-0123456789")
        return server

    return start


def _ask(model: str, rows: int, **options: Any) -> list[str | None]:
    """The rows' errors."""
    settings = {name: options.pop(name) for name in ("timeout", "max_retries") if name in options}
    with pll.session(cache="off", progress=False, **settings):
        asked = pll.llm(options.pop("prompt", "q"), model=model, on_error="struct", **options)
        answers = pl.DataFrame({"q": [f"Question {i}?" for i in range(rows)]}).select(a=asked)["a"]
    errors: list[str | None] = answers.struct.field("error").to_list()
    return errors


def _judged(server: Server, calls: int) -> Any:
    """Its verdict: passed, and without so much as a warning that we gave up."""
    verdict = server.ask("GET", "/_llmock/verdict")
    assert verdict["passed"], verdict["findings"]
    assert not [f for f in verdict["findings"] if f["code"] == "gave_up"], verdict["findings"]
    assert verdict["calls"] == calls
    return verdict


def test_nothing_goes_wrong(llmock: Callable[..., Server], model: str) -> None:
    server = llmock()
    assert _ask(model, 20) == [None] * 20
    assert _judged(server, 20)["attempts"] == 20


def test_typed_answers(llmock: Callable[..., Server], model: str) -> None:
    server = llmock()
    assert _ask(model, 5, returns=bool) == [None] * 5
    assert server.ask("GET", "/_llmock/verdict")["passed"]


@pytest.mark.parametrize("status", HEALS)
def test_what_heals(llmock: Callable[..., Server], model: str, status: int) -> None:
    server = llmock()
    server.ask("POST", "/_llmock/scenario", {"behaviors": [{"type": "fail", "status": status, "times": 2}]})
    assert _ask(model, 3) == [None] * 3
    assert _judged(server, 3)["attempts"] == 5


def test_when_it_says_to_wait(llmock: Callable[..., Server], model: str) -> None:
    server = llmock()
    fault = {"type": "fail", "status": 429, "times": 3, "retry_after": 1}
    server.ask("POST", "/_llmock/scenario", {"behaviors": [fault]})
    assert _ask(model, 3) == [None] * 3
    assert _judged(server, 3)["attempts"] == 6


@pytest.mark.parametrize("status", FINAL)
def test_what_does_not_heal(llmock: Callable[..., Server], model: str, status: int) -> None:
    server = llmock()
    server.ask("POST", "/_llmock/scenario", {"behaviors": [{"type": "fail", "status": status, "times": 1}]})
    errors = [error for error in _ask(model, 3) if error]
    assert len(errors) == 1
    assert errors[0].startswith(f"{status} {FINAL[status]}")
    assert _judged(server, 3)["attempts"] == 3


def test_a_slow_answer(llmock: Callable[..., Server], model: str) -> None:
    server = llmock()
    server.ask("POST", "/_llmock/scenario", {"behaviors": [{"type": "delay", "seconds": 2, "times": 1}]})
    assert _ask(model, 1, timeout=0.5) == [None]
    report = pll.last_run()
    assert report is not None
    assert (report.total.sent, report.total.retried) == (2, 1)


@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
def test_a_broken_tool_call(llmock: Callable[..., Server], kind: str) -> None:
    server = llmock()
    server.ask("POST", "/_llmock/scenario", {"behaviors": [{"type": "tool_fault", "kind": kind, "times": 1}]})
    assert _ask(CLAUDE_3, 3, returns=bool) == [None] * 3
    assert server.ask("GET", "/_llmock/verdict")["passed"]


def test_faults_at_random(llmock: Callable[..., Server], model: str) -> None:
    rates = ["429=0.1", "500=0.05", "503=0.05", "529=0.05"]
    server = llmock(*[word for rate in rates for word in ("--error-rate", rate)])
    assert _ask(model, 100, max_retries=9) == [None] * 100
    assert _judged(server, 100)["faults_injected"] > 5


def test_errors_at_random(llmock: Callable[..., Server], model: str) -> None:
    server = llmock("--error-rate", "400=0.1", "--error-rate", "429=0.1")
    errors = [error for error in _ask(model, 100) if error]
    assert 0 < len(errors) < 40
    assert all(error.startswith("400 bad_request") for error in errors)
    _judged(server, 100)


def test_requests_a_minute(llmock: Callable[..., Server], model: str) -> None:
    server = llmock("--rpm", "60")
    assert _ask(model, 65) == [None] * 65
    _judged(server, 65)


def test_tokens_a_minute(llmock: Callable[..., Server], model: str) -> None:
    """It counts the tokens that an answer may have, as OpenAI does; Gemini says nothing of what is left."""
    server = llmock("--tpm", "6000", "--latency-ms", "100")
    assert _ask(model, 140, max_tokens=40) == [None] * 140
    assert _judged(server, 140)["attempts"] < (300 if model == MODELS["gemini"] else 220)


def test_a_window_that_is_too_small(llmock: Callable[..., Server], model: str) -> None:
    server = llmock("--context-window", "50")
    errors = _ask(model, 2, prompt="{q}" + " word" * 200)
    assert all(error and error.startswith("400 bad_request") for error in errors)
    assert _judged(server, 2)["attempts"] == 2
