"""What comes back: texts, usage, limits, and every kind of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from polar_llama.providers.base import Ask, Failure, Quota, Request, Response, Usage
from polar_llama.providers.openai_reply import find_object

if TYPE_CHECKING:
    from polar_llama.providers.base import Provider
    from tests.providers.conftest import Script

pytestmark = pytest.mark.anyio

PROMPT = "Does the walrus ride at midnight?"


async def outcome(provider: Provider, script: Script, reply: httpx.Response, prompt: str = PROMPT) -> Any:
    script.reply = lambda _number, _body: reply
    return await provider.complete(Request(Ask("m"), prompt))


async def test_everything_a_reply_tells(scripted: Provider, script: Script) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    headers = {
        "x-request-id": "req_1",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-limit-tokens": "200000",
        "x-ratelimit-remaining-tokens": "199000",
        "x-ratelimit-reset-tokens": "120ms",
    }
    said = await outcome(scripted, script, script.completion("yes", usage=usage, headers=headers, model="m-2026"))
    assert said == Response(
        text="yes",
        usage=Usage(100, 50, 64, 30, 40),
        model="m-2026",
        finish="stop",
        request_id="req_1",
        quota=Quota(10000, 9999, 360.0, 200000, 199000, 0.12),
    )


async def test_a_server_that_tells_little(scripted: Provider, script: Script) -> None:
    said = await outcome(scripted, script, httpx.Response(200, json={"choices": [{"message": {"content": "yes"}}]}))
    assert said == Response("yes")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "filtered"),
        ("tool_calls", "tool"),
        ("function_call", "tool"),
        ("error", "error"),
        ("eos", "stop"),
        (None, "stop"),
        ([], "stop"),
    ],
)
async def test_finish_reasons(scripted: Provider, script: Script, reason: Any, finish: str) -> None:
    assert (await outcome(scripted, script, script.completion("x", finish_reason=reason))).finish == finish


async def test_a_refusal(scripted: Provider, script: Script) -> None:
    said = await outcome(scripted, script, script.completion(None, refusal="I cannot help with that."))
    assert (said.finish, said.text) == ("refusal", "")


async def test_contents_in_parts_and_none(scripted: Provider, script: Script) -> None:
    parts: Any = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert (await outcome(scripted, script, script.completion(parts))).text == "ab"
    assert (await outcome(scripted, script, script.completion(None, finish_reason="tool_calls"))).text == ""


@pytest.mark.parametrize("usage", [None, 5, {}, {"prompt_tokens": "many"}, {"prompt_tokens": 1, "x_details": 3}])
async def test_unintelligible_usage_is_no_failure(scripted: Provider, script: Script, usage: Any) -> None:
    said = await outcome(scripted, script, script.completion("x", usage=usage))
    assert said.text == "x"
    assert said.usage in (None, Usage(input=1))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b'{"choices": [{"message": {"content": "tr',
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": {}}}]}',
        b"[" * 100_000,
    ],
    ids=range(15),
)
async def test_bodies_that_are_no_completion(scripted: Provider, script: Script, body: bytes) -> None:
    said = await outcome(scripted, script, httpx.Response(200, content=body))
    assert isinstance(said, Failure)
    assert (said.kind, said.status) == ("malformed", 200)
    assert "models.invalid:8080" in said.message


async def test_what_was_paid_for_without_an_answer_is_counted(scripted: Provider, script: Script) -> None:
    body = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
    said = await outcome(scripted, script, httpx.Response(200, json=body))
    assert said.billed == Usage(9, 3)


async def test_a_gateway_that_hides_an_error_in_a_200(scripted: Provider, script: Script) -> None:
    said = await outcome(scripted, script, httpx.Response(200, json={"error": {"code": 502, "message": "no upstream"}}))
    assert (said.kind, said.status) == ("overloaded", 502)


CASES: list[tuple[int, dict[str, Any], str]] = [
    (400, {"type": "invalid_request_error", "code": "context_length_exceeded"}, "bad_request"),
    (400, {"type": "exceed_context_size_error", "code": 400}, "bad_request"),
    (400, {"type": "invalid_request_error", "code": "model_not_found"}, "unknown_model"),
    (400, {"type": "invalid_request_error", "code": "content_filter"}, "refused"),
    (400, {"type": "invalid_request_error", "code": "json_validate_failed"}, "malformed"),
    (401, {"type": "invalid_request_error", "code": "invalid_api_key"}, "auth"),
    (401, {"type": "authentication_error", "code": 401}, "auth"),
    (402, {}, "quota"),
    (403, {"code": "unsupported_country_region_territory"}, "auth"),
    (403, {"code": "model_not_found"}, "unknown_model"),
    (404, {"code": "model_not_found"}, "unknown_model"),
    (404, {}, "unknown_model"),
    (408, {}, "overloaded"),
    (409, {}, "overloaded"),
    (413, {}, "bad_request"),
    (422, {}, "bad_request"),
    (429, {"type": "insufficient_quota", "code": "insufficient_quota"}, "quota"),
    (429, {"type": "tokens", "code": "rate_limit_exceeded"}, "rate_limited"),
    (429, {}, "rate_limited"),
    (498, {}, "overloaded"),
    (500, {}, "overloaded"),
    (501, {"type": "not_supported_error", "code": 501}, "bad_request"),
    (502, {}, "overloaded"),
    (503, {"type": "unavailable_error", "code": 503}, "overloaded"),
    (504, {}, "overloaded"),
    (529, {}, "overloaded"),
]


@pytest.mark.parametrize(("status", "names", "kind"), CASES)
async def test_errors(scripted: Provider, script: Script, status: int, names: dict[str, Any], kind: str) -> None:
    said = await outcome(scripted, script, script.refusal(status, "Something about it.", **names))
    assert (said.kind, said.status) == (kind, status)
    assert said.message.startswith(f"models.invalid:8080 answered {status}")
    assert "Something about it." in said.message
    if isinstance(names.get("code"), str):
        assert names["code"] in said.message


async def test_llama_servers_answer_to_an_image(scripted: Provider, script: Script) -> None:
    error = {"code": 500, "message": "image input is not supported - hint: provide the mmproj", "type": "server_error"}
    said = await outcome(scripted, script, httpx.Response(500, json={"error": error}))
    assert said.kind == "bad_request"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"error": "model is loading"}', "model is loading"),
        (b'{"detail": [{"loc": ["body", "seed"], "msg": "too low", "input": "walrus"}]}', "body seed too low"),
        (b'{"detail": "no such thing"}', "no such thing"),
        (b'{"object": "error", "message": "from vLLM", "code": 400}', "from vLLM"),
        (b'[{"error": {"message": "in a list"}}]', "in a list"),
        (b"plain words", "plain words"),
        (b"<html>teapot</html>", ""),
        (b"", ""),
        (b"[]", ""),
        (b'{"error": null}', ""),
        (b'{"error": {"message": 5, "code": {}}}', ""),
    ],
)
async def test_shapes_of_errors(scripted: Provider, script: Script, body: bytes, shown: str) -> None:
    said = await outcome(scripted, script, httpx.Response(400, content=body), prompt="x" * 50)
    assert said.message == "models.invalid:8080 answered 400" + (f": {shown}" if shown else "")


async def test_redirects_say_where_to_go(scripted: Provider, script: Script) -> None:
    said = await outcome(scripted, script, httpx.Response(307, headers={"location": "http://elsewhere.invalid"}))
    assert said.kind == "bad_request"
    assert "redirects are not followed" in said.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "9", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "9", "retry-after-ms": "soon"}, 9.0),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 09:00:00 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({}, None),
    ],
)
async def test_retry_after(scripted: Provider, script: Script, headers: dict[str, str], seconds: float | None) -> None:
    said = await outcome(scripted, script, script.refusal(429, "slow down", headers=headers))
    assert said.retry_after == seconds


async def test_limits_come_with_failures_too(scripted: Provider, script: Script) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "nonsense"}
    said = await outcome(scripted, script, script.refusal(429, "slow down", headers=headers))
    assert said.quota == Quota(requests_remaining=0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"n": 1}', '{"n": 1}'),
        ('```json\n{"n": {"m": 2}}\n```', '{"n": {"m": 2}}'),
        ('First ```{"a": 1}``` then ```json {"n": 1} ```', '{"n": 1}'),
        ('<think>maybe {"n": 0}</think> {"n": 1}', '{"n": 1}'),
        ('Use {braces} like {"n": "}"} so', '{"n": "}"}'),
        ("no object", "no object"),
        ('{"n": 1', '{"n": 1'),
        ("{" * 10_000, "{" * 10_000),
        ('{"a":' * 10_000, '{"a":' * 10_000),
    ],
    ids=range(9),
)
def test_finding_the_object(text: str, found: str) -> None:
    assert find_object(text) == found
