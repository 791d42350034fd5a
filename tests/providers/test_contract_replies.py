"""Replies written by hand: what the emulator does not say, and what no server should."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from polar_llama.errors import ConfigurationError
from polar_llama.providers.base import Ask, Connection, Failure, Request, Response, Usage
from polar_llama.providers.bedrock_reply import read_reply
from polar_llama.providers.registry import create
from polar_llama.transport import open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.providers.conftest import Connect, Script

pytestmark = pytest.mark.anyio

KEY = "key-with-0123456789"
ENVIRON = {
    "openai": {"OPENAI_API_KEY": KEY},
    "anthropic": {"ANTHROPIC_API_KEY": KEY},
    "gemini": {"GEMINI_API_KEY": KEY},
    "groq": {"GROQ_API_KEY": KEY},
    "bedrock": {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-north-1"},
    "azure": {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "https://my.openai.azure.com"},
}
HTTP = sorted(ENVIRON.keys() - {"bedrock"})
PROMPT = "the walrus rides at midnight"
ASK = Ask("m")
TYPED = Ask("m", schema='{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}')


def saying(status: int, body: Any, **headers: str) -> Callable[[int, Any], httpx.Response]:
    """A script's reply that is always the same."""
    return lambda _number, _body: httpx.Response(status, json=body, headers=headers)


async def ask(
    script: Script, connect: Connect, name: str, request: Request | None = None, /, **environ: str
) -> Response | Failure:
    async with script.client() as client, connect(name, {**ENVIRON[name], **environ}, client) as provider:
        return await provider.complete(request or Request(ASK, PROMPT))


def message(*content: Any, **changed: Any) -> dict[str, Any]:
    usage = {"input_tokens": 5, "output_tokens": 2}
    return {"id": "msg_1", "model": "m", "content": content, "stop_reason": "end_turn", "usage": usage, **changed}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def candidate(*parts: Any, **changed: Any) -> dict[str, Any]:
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2}
    found = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", **changed}
    return {"candidates": [found], "usageMetadata": usage, "responseId": "r-1", "modelVersion": "m-1"}


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b'"ok"', b"3", b'{"choices":[]}', b'{"choices":[{}]}', b'{"content":3}',
        b'{"content":[3]}', b'{"content":[{"type":"text"}]}', b'{"candidates":3}', b'{"candidates":[3]}',
        b'{"candidates":[]}', b'{"candidates":[{"content":{"parts":[3]}}]}', b'{"promptFeedback":{}}', b"<html>",
        b'{"choices":[{"message":{"content":3}}]}', b"\xff\xfe", b'{"content":[{"type":"text","text":"cut o',
    ],
)  # fmt: skip
async def test_bodies_that_are_no_answers(script: Script, connect: Connect, name: str, body: bytes) -> None:
    script.reply = lambda _number, _body: httpx.Response(200, content=body)
    said = await ask(script, connect, name)
    assert isinstance(said, Failure)
    assert (said.kind, said.status) == ("malformed", 200)
    assert "walrus" not in said.message


@pytest.mark.parametrize("found", [{}, {"output": {}}, {"output": {"message": {"content": 3}}}, {"output": None}])
def test_bedrock_replies_that_are_no_answers(found: Any) -> None:
    with pytest.raises(ValueError, match="not an answer"):
        read_reply(found, "schema", ASK)


async def test_empty_answers_are_answers(script: Script, connect: Connect) -> None:
    empty = {
        "openai": {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
        "anthropic": message(),
        "gemini": candidate(),
    }
    for name, body in empty.items():
        script.reply = saying(200, body)
        said = await ask(script, connect, name)
        assert isinstance(said, Response)
        assert (said.text, said.finish) == ("", "stop")
    gone = {"output": {"message": {"content": []}}, "stopReason": "end_turn"}
    assert read_reply(gone, "schema", ASK) == Response("", model="m")


async def test_thoughts_are_not_the_answer(script: Script, connect: Connect) -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    bodies = {
        "anthropic": message(thinking, text("4"), {"type": "redacted_thinking", "data": "x"}, text("2")),
        "gemini": candidate({"text": "hm", "thought": True}, {"text": "4"}, {"text": "2"}),
    }
    for name, body in bodies.items():
        script.reply = saying(200, body)
        said = await ask(script, connect, name)
        assert isinstance(said, Response)
        assert said.text == "42"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("refusal", "refusal"),
        ("model_context_window_exceeded", "length"), ("tool_use", "tool"), ("pause_turn", "error"), (None, "stop"),
    ],
)  # fmt: skip
async def test_how_anthropic_ends(script: Script, connect: Connect, reason: Any, finish: str) -> None:
    script.reply = lambda _number, _body: httpx.Response(200, json=message(text("x"), stop_reason=reason))
    said = await ask(script, connect, "anthropic")
    assert isinstance(said, Response)
    assert (said.finish, said.usage) == (finish, Usage(5, 2))


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length"), ("SAFETY", "filtered"),
        ("RECITATION", "filtered"), ("IMAGE_SAFETY", "filtered"), ("SPII", "filtered"), ("OTHER", "error"),
        ("MALFORMED_FUNCTION_CALL", "error"), ("LANGUAGE", "error"), (None, "stop"),
    ],
)  # fmt: skip
async def test_how_gemini_ends(script: Script, connect: Connect, reason: Any, finish: str) -> None:
    script.reply = lambda _number, _body: httpx.Response(200, json=candidate({"text": "x"}, finishReason=reason))
    said = await ask(script, connect, "gemini")
    assert isinstance(said, Response)
    assert (said.finish, said.request_id, said.model) == (finish, "r-1", "m-1")


async def test_a_blocked_prompt_has_no_candidate(script: Script, connect: Connect) -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    script.reply = lambda _number, _body: httpx.Response(200, json=blocked)
    said = await ask(script, connect, "gemini")
    assert isinstance(said, Response)
    assert (said.text, said.finish, said.usage) == ("", "filtered", Usage(9))


async def test_everything_that_gemini_counts(script: Script, connect: Connect) -> None:
    counted = {
        "promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 7, "thoughtsTokenCount": 13,
        "toolUsePromptTokenCount": 5, "totalTokenCount": 125,
    }  # fmt: skip
    script.reply = lambda _number, _body: httpx.Response(200, json={**candidate(), "usageMetadata": counted})
    said = await ask(script, connect, "gemini")
    assert isinstance(said, Response)
    assert said.usage == Usage(105, 20, 60, 0, 13)


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
async def test_when_to_come_back(
    script: Script, connect: Connect, name: str, headers: dict[str, str], seconds: float | None
) -> None:
    script.reply = lambda _number, _body: httpx.Response(429, json={"error": {"message": "wait"}}, headers=headers)
    said = await ask(script, connect, name)
    assert isinstance(said, Failure)
    assert (said.kind, said.retry_after) == ("rate_limited", seconds)


async def test_gemini_says_in_the_body_when_to_come_back(script: Script, connect: Connect) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    error = {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
    for body in ({"error": error}, [{"error": error}]):
        script.reply = saying(429, body)
        said = await ask(script, connect, "gemini")
        assert isinstance(said, Failure)
        assert (said.kind, said.retry_after) == ("rate_limited", 34.5)
        assert "RESOURCE_EXHAUSTED" in said.message


async def test_anthropics_limits(script: Script, connect: Connect) -> None:
    now = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
    headers = {"date": now.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    for kind, limit, remaining, seconds in (("requests", 50, 49, 1.2), ("input-tokens", 30_000, 29_000, 2)):
        reset = (now + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
        values = {"limit": str(limit), "remaining": str(remaining), "reset": reset}
        headers |= {f"anthropic-ratelimit-{kind}-{name}": value for name, value in values.items()}
    script.reply = lambda _number, _body: httpx.Response(200, json=message(text("x")), headers=headers)
    said = await ask(script, connect, "anthropic")
    assert isinstance(said, Response)
    assert said.quota is not None
    assert (said.quota.requests_limit, said.quota.requests_remaining) == (50, 49)
    assert (said.quota.tokens_limit, said.quota.tokens_remaining) == (30_000, 29_000)
    assert said.quota.requests_reset == pytest.approx(1.2)
    assert said.quota.tokens_reset == 2


def anthropic_error(kind: str, words: str = "x", **details: str) -> dict[str, Any]:
    more = {"details": details} if details else {}
    return {"type": "error", "error": {"type": kind, "message": words, **more}, "request_id": "req_1"}


def google_error(status: str, *details: Any) -> dict[str, Any]:
    return {"error": {"code": 1, "message": "x", "status": status, "details": details}}


PER_DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
PER_MINUTE = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}


@pytest.mark.parametrize(
    ("name", "status", "body", "kind"),
    [
        ("anthropic", 400, anthropic_error("invalid_request_error"), "bad_request"),
        ("anthropic", 400, anthropic_error("invalid_request_error", "Your credit balance is too low"), "quota"),
        ("anthropic", 401, anthropic_error("authentication_error"), "auth"),
        ("anthropic", 402, anthropic_error("billing_error"), "quota"),
        ("anthropic", 403, anthropic_error("permission_error"), "auth"),
        ("anthropic", 404, anthropic_error("not_found_error"), "unknown_model"),
        ("anthropic", 409, anthropic_error("conflict_error"), "overloaded"),
        ("anthropic", 413, anthropic_error("request_too_large"), "bad_request"),
        ("anthropic", 429, anthropic_error("rate_limit_error"), "rate_limited"),
        ("anthropic", 429, anthropic_error("rate_limit_error", error_code="ramp_limit_exceeded"), "rate_limited"),
        ("anthropic", 429, anthropic_error("rate_limit_error", error_code="enforced_spend_limit_reached"), "quota"),
        ("anthropic", 500, anthropic_error("api_error"), "overloaded"),
        ("anthropic", 504, anthropic_error("timeout_error"), "overloaded"),
        ("anthropic", 529, anthropic_error("overloaded_error"), "overloaded"),
        ("gemini", 400, google_error("INVALID_ARGUMENT"), "bad_request"),
        ("gemini", 400, google_error("INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), "auth"),
        ("gemini", 403, google_error("PERMISSION_DENIED"), "auth"),
        ("gemini", 404, google_error("NOT_FOUND"), "unknown_model"),
        ("gemini", 429, google_error("RESOURCE_EXHAUSTED", PER_MINUTE), "rate_limited"),
        ("gemini", 429, google_error("RESOURCE_EXHAUSTED", PER_DAY), "quota"),
        ("gemini", 500, google_error("INTERNAL"), "overloaded"),
        ("gemini", 503, google_error("UNAVAILABLE"), "overloaded"),
        ("gemini", 504, google_error("DEADLINE_EXCEEDED"), "overloaded"),
        ("groq", 400, {"error": {"message": "x", "code": "json_validate_failed"}}, "malformed"),
        ("groq", 413, {"error": {"message": "x", "code": "rate_limit_exceeded"}}, "bad_request"),
        ("groq", 498, {"error": {"message": "x", "code": "flex_capacity"}}, "overloaded"),
        ("azure", 400, {"error": {"message": "x", "code": "content_filter"}}, "refused"),
        ("azure", 404, {"error": {"message": "x", "code": "DeploymentNotFound"}}, "unknown_model"),
    ],
)
async def test_classes_of_errors(
    script: Script, connect: Connect, name: str, status: int, body: Any, kind: str
) -> None:
    script.reply = lambda _number, _body: httpx.Response(status, json=body)
    said = await ask(script, connect, name)
    assert isinstance(said, Failure)
    assert (said.kind, said.status) == (kind, status)


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("status", [307, 400, 401, 500])
async def test_neither_key_nor_prompt_is_repeated(script: Script, connect: Connect, name: str, status: int) -> None:
    said = f"Wrong key {KEY} for the prompt: {PROMPT}"
    body = {"error": {"message": said, "type": "x", "status": "X", "details": [{"reason": said}]}, "detail": said}
    headers = {"location": "https://elsewhere.invalid/"}
    script.reply = lambda _number, _body: httpx.Response(status, json=body, headers=headers)
    failure = await ask(script, connect, name, Request(TYPED, PROMPT))
    assert isinstance(failure, Failure)
    assert KEY not in repr(failure)
    assert "walrus" not in repr(failure)
    assert "elsewhere" not in {r.url.host for r in script.requests}


async def test_a_redirect_is_not_followed(script: Script, connect: Connect) -> None:
    script.reply = lambda _number, _body: httpx.Response(308, headers={"location": "https://elsewhere.invalid/"})
    for name in HTTP:
        script.requests.clear()
        said = await ask(script, connect, name)
        assert isinstance(said, Failure)
        assert (said.kind, len(script.requests)) == ("bad_request", 1)
        assert "redirects are not followed" in said.message


@asynccontextmanager
async def raw_server(reply: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that reads one request a connection and answers with these bytes."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        seen.append(head + await reader.readexactly(length))
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


AWS = {"AWS_ACCESS_KEY_ID": "AKIA0123456789", "AWS_SECRET_ACCESS_KEY": "secret0123456789", "AWS_REGION": "eu-north-1"}


@pytest.mark.parametrize(
    ("status", "code", "words", "kind"),
    [
        (400, "ValidationException", "The provided model identifier is invalid.", "unknown_model"),
        (400, "ValidationException", "messages: too long", "bad_request"),
        (400, "ServiceQuotaExceededException", "x", "quota"),
        (403, "AccessDeniedException", "x", "auth"),
        (403, "ExpiredTokenException", "x", "auth"),
        (404, "ResourceNotFoundException", "x", "unknown_model"),
        (408, "ModelTimeoutException", "x", "timeout"),
        (424, "ModelErrorException", "x", "overloaded"),
        (429, "ModelNotReadyException", "x", "rate_limited"),
        (429, "ThrottlingException", "Too many requests, please wait", "rate_limited"),
        (429, "ThrottlingException", "Too many tokens per day, please wait", "quota"),
        (500, "InternalServerException", "x", "overloaded"),
        (503, "ServiceUnavailableException", "x", "overloaded"),
        (307, "Moved", "x", "bad_request"),
        (403, "SignatureDoesNotMatch", "AKIA0123456789 secret0123456789 the walrus rides at midnight", "auth"),
    ],
)
async def test_classes_of_errors_of_amazon(connect: Connect, status: int, code: str, words: str, kind: str) -> None:
    body = json.dumps({"message": words}).encode()
    head = (
        f"HTTP/1.1 {status} X\r\nx-amzn-errortype: {code}\r\ncontent-length: {len(body)}\r\n"
        "location: http://elsewhere.invalid/\r\nconnection: close\r\n\r\n"
    )
    async with (
        raw_server(head.encode() + body) as (url, seen),
        connect("bedrock", {**AWS, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url}) as provider,
    ):
        said = await provider.complete(Request(ASK, PROMPT))
    assert isinstance(said, Failure)
    assert (said.kind, said.status) == (kind, status)
    assert len(seen) == 1, "one request: no retry, no redirect"
    for secret in ("0123456789", "walrus"):
        assert secret not in repr(said)


async def test_bedrock_follows_no_redirect(connect: Connect) -> None:
    """Amazon's client would: with the prompt, and with the session token."""
    async with raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as (elsewhere, lured):
        head = f"HTTP/1.1 307 X\r\nlocation: {elsewhere}/\r\ncontent-length: 0\r\n\r\n"
        async with (
            raw_server(head.encode()) as (url, seen),
            connect("bedrock", {**AWS, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url}) as provider,
        ):
            said = await provider.complete(Request(ASK, PROMPT))
    assert isinstance(said, Failure)
    assert (said.kind, len(seen), lured) == ("bad_request", 1, [])
    assert "redirects are not followed" in said.message


async def test_bedrock_sends_by_the_users_own_client(script: Script, connect: Connect) -> None:
    answer = {"output": {"message": {"role": "assistant", "content": [{"text": "42"}]}}, "stopReason": "end_turn"}
    script.reply = lambda _number, _body: httpx.Response(200, json=answer)
    async with script.client() as client, connect("bedrock", AWS, client) as provider:
        said = await provider.complete(Request(ASK, PROMPT))
    assert isinstance(said, Response)
    assert said.text == "42"
    assert str(script.requests[0].url) == "https://bedrock-runtime.eu-north-1.amazonaws.com/model/m/converse"
    assert provider.host == "bedrock-runtime.eu-north-1.amazonaws.com"


async def test_bedrock_signs_and_takes_bearer_tokens(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as (url, seen):
        environ = {**AWS, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url}
        async with connect("bedrock", environ) as provider:
            said = await provider.complete(Request(Ask("arn:aws:x/y"), PROMPT))
            assert isinstance(said, Failure)
            assert said.kind == "malformed"
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-123")
        async with connect("bedrock", environ) as provider:
            await provider.complete(Request(ASK, PROMPT))
    assert b"authorization: AWS4-HMAC-SHA256 Credential=AKIA0123456789/" in seen[0].replace(
        b"Authorization", b"authorization"
    )
    assert b"/eu-north-1/bedrock/aws4_request" in seen[0]
    assert b"POST /model/arn%3Aaws%3Ax%2Fy/converse" in seen[0]
    assert b"Bearer bedrock-api-key-123" in seen[1]


def made(name: str, **environ: str) -> Any:
    return create(name, Connection(environ, environ.get, lambda: pytest.fail("nothing is sent")))


@pytest.mark.parametrize(
    ("name", "environ", "words"),
    [
        ("anthropic", {}, "ANTHROPIC_API_KEY is not set"),
        ("gemini", {}, "neither GEMINI_API_KEY nor GOOGLE_API_KEY is set"),
        ("groq", {}, "GROQ_API_KEY is not set"),
        ("azure", {}, "AZURE_OPENAI_ENDPOINT is not set"),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://my.openai.azure.com"}, "AZURE_OPENAI_API_KEY is not set"),
        ("bedrock", {}, "no AWS region is set"),
        ("bedrock", {"AWS_PROFILE": "nobody's"}, "AWS_PROFILE names a profile"),
        ("anthropic", {"ANTHROPIC_BASE_URL": "ftp://x", "ANTHROPIC_API_KEY": KEY}, "ANTHROPIC_BASE_URL does not hold"),
        ("gemini", {"GOOGLE_GEMINI_BASE_URL": "//x", "GEMINI_API_KEY": KEY}, "GOOGLE_GEMINI_BASE_URL does not hold"),
        ("groq", {"GROQ_BASE_URL": "file:///x", "GROQ_API_KEY": KEY}, "GROQ_BASE_URL does not hold"),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "x", "AZURE_OPENAI_API_KEY": KEY}, "AZURE_OPENAI_ENDPOINT does not hold"),
        ("bedrock", {"AWS_REGION": "r", "AWS_ENDPOINT_URL": "x"}, "does not hold a base URL"),
    ],
)
def test_what_is_missing_is_named(name: str, environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        made(name, **environ)
    assert KEY not in str(caught.value)


def test_keys_are_not_wanted_where_gateways_stand() -> None:
    for name, variable in (
        ("anthropic", "ANTHROPIC_BASE_URL"),
        ("gemini", "GOOGLE_GEMINI_BASE_URL"),
        ("groq", "GROQ_BASE_URL"),
    ):
        provider = made(name, **{variable: "http://me:secret@gateway.invalid/x/"})
        assert "secret" not in provider.identity + provider.host
        assert "http://gateway.invalid/x" in provider.identity


async def test_base_urls_may_hold_the_version(script: Script, connect: Connect) -> None:
    for url in ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/"):
        await ask(script, connect, "anthropic", ANTHROPIC_BASE_URL=url)
        assert str(script.requests[-1].url) == "http://127.0.0.1:8080/v1/messages"
    for url in ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/"):
        await ask(script, connect, "gemini", GOOGLE_GEMINI_BASE_URL=url)
        assert str(script.requests[-1].url) == "http://127.0.0.1:8080/v1/models/m:generateContent"
    await ask(script, connect, "gemini", GOOGLE_GENAI_API_VERSION="v1beta")
    assert script.requests[-1].url.path == "/v1beta/models/m:generateContent"
    for url in ("http://127.0.0.1:8080", "http://127.0.0.1:8080/openai/v1/"):
        await ask(script, connect, "groq", GROQ_BASE_URL=url)
        assert str(script.requests[-1].url) == "http://127.0.0.1:8080/openai/v1/chat/completions"


@pytest.mark.parametrize("name", ["anthropic", "gemini", "bedrock"])
async def test_a_lone_surrogate_is_not_sent(script: Script, connect: Connect, name: str) -> None:
    said = await ask(script, connect, name, Request(ASK, "a\ud800b"))
    assert isinstance(said, Failure)
    assert (said.kind, script.requests) == ("bad_request", [])


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "tool", "content": "x"}],
        [{"role": "system", "content": "x"}],
        [{"role": "system", "content": [{"type": "image"}]}, {"role": "user", "content": "x"}],
    ],
)
async def test_turns_that_cannot_be_sent(script: Script, connect: Connect, name: str, turns: Any) -> None:
    said = await ask(script, connect, name, Request(Ask("m", conversation=True), json.dumps(turns)))
    assert isinstance(said, Failure)
    assert (said.kind, script.requests) == ("bad_request", [])


@pytest.mark.parametrize(("name", "variable"), [("anthropic", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY")])
async def test_keys_that_are_none(script: Script, connect: Connect, name: str, variable: str) -> None:
    said = await ask(script, connect, name, **{variable: "kéy\n123"})
    assert isinstance(said, Failure)
    assert (said.kind, script.requests) == ("auth", [])
    assert variable in said.message
    assert "kéy" not in said.message


async def test_a_key_may_go_away(script: Script) -> None:
    secrets = {"ANTHROPIC_API_KEY": KEY}
    provider = create("anthropic", Connection({}, secrets.get, lambda: pytest.fail("nothing is sent")))
    secrets.clear()
    said = await provider.complete(Request(ASK, PROMPT))
    assert isinstance(said, Failure)
    assert (said.kind, "ANTHROPIC_API_KEY is not set any more" in said.message) == ("auth", True)


async def test_amazon_without_credentials(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with script.client() as client, connect("bedrock", {"AWS_REGION": "eu-north-1"}, client) as provider:
        said = await provider.complete(Request(ASK, PROMPT))
    assert isinstance(said, Failure)
    assert (said.kind, script.requests) == ("auth", [])
    assert "set AWS_ACCESS_KEY_ID" in said.message


async def test_amazon_takes_new_credentials(script: Script) -> None:
    answer = {"output": {"message": {"role": "assistant", "content": [{"text": "42"}]}}, "stopReason": "end_turn"}
    script.reply = saying(200, answer)
    secrets = dict(ENVIRON["bedrock"])
    async with script.client() as client:
        transport = open_transport(client)
        provider = create("bedrock", Connection({"AWS_REGION": "eu-north-1"}, secrets.get, lambda: transport))
        for key in ("AKIAOLD", "AKIAOLD", "AKIANEW"):
            secrets["AWS_ACCESS_KEY_ID"] = key
            assert isinstance(await provider.complete(Request(ASK, PROMPT)), Response)
        await provider.aclose()
    shown = [r.headers["authorization"].partition("Credential=")[2].partition("/")[0] for r in script.requests]
    assert shown == ["AKIAOLD", "AKIAOLD", "AKIANEW"]
