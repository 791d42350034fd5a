"""Request bodies, judged by OpenAI's own SDK: its types, and what it sends itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter
from pydantic_core import from_json

from polar_llama.errors import ConfigurationError
from polar_llama.providers.base import Ask, Request
from polar_llama.providers.openai_body import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.providers.base import Failure, Provider, Response
    from tests.providers.conftest import Connect, Script

pytestmark = pytest.mark.anyio

STRICT = {
    "type": "object",
    "properties": {"prime": {"type": "boolean"}},
    "required": ["prime"],
    "additionalProperties": False,
}
ALL = Ask(
    "gpt-6-luna",
    system="Be brief.",
    temperature=0.5,
    max_tokens=20,
    seed=7,
    options='{"reasoning_effort":"none","stop":["\\n"]}',
    schema=json.dumps(STRICT),
    schema_name="Verdict",
)


def judge(body: Any) -> None:
    """Only known parameters, each of the SDK's type."""
    params = CompletionCreateParamsNonStreaming
    assert set(body) <= params.__required_keys__ | params.__optional_keys__
    TypeAdapter(params).validate_python(body)


def sdk_body(**asked: Any) -> Any:
    """What the SDK itself sends."""
    sent: list[Any] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        sent.append(from_json(request.content))
        return httpx2.Response(418)

    with (
        openai.OpenAI(
            api_key="k", max_retries=0, http_client=httpx2.Client(transport=httpx2.MockTransport(handle))
        ) as sdk,
        pytest.raises(openai.APIStatusError),
    ):
        sdk.chat.completions.create(**asked)
    return sent[0]


def test_a_body_is_what_the_sdk_sends() -> None:
    asked = prepare(ALL, "schema", "max_completion_tokens").write(Request(ALL, 'Is "7" prime?'))
    body = from_json(asked)
    judge(body)
    assert body == sdk_body(
        model="gpt-6-luna",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": 'Is "7" prime?'}],
        temperature=0.5,
        max_completion_tokens=20,
        seed=7,
        reasoning_effort="none",
        stop=["\n"],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "Verdict", "schema": STRICT, "strict": True},
        },
    )


def test_what_is_not_given_is_not_sent() -> None:
    ask = Ask("m")
    body = from_json(prepare(ask, "schema", "max_tokens").write(Request(ask, "x")))
    judge(body)
    assert body == {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def test_zero_is_given() -> None:
    ask = Ask("m", temperature=0.0, seed=0, system="")
    body = from_json(prepare(ask, "schema", "max_tokens").write(Request(ask, "")))
    assert (body["temperature"], body["seed"]) == (0.0, 0)
    assert body["messages"] == [{"role": "system", "content": ""}, {"role": "user", "content": ""}]


@pytest.mark.parametrize("form", ["object", "prompt"])
def test_the_lesser_forms_say_it_in_words(form: Any) -> None:
    body = from_json(prepare(ALL, form, "max_tokens").write(Request(ALL, "Is 7 prime?")))
    judge(body)
    system = body["messages"][0]["content"]
    assert system.startswith("Be brief.\n\n")
    assert "JSON" in system
    assert json.loads(system[system.index("{") :]) == STRICT
    assert body.get("response_format") == ({"type": "json_object"} if form == "object" else None)
    assert body["max_tokens"] == 20


def test_common_parts_come_first() -> None:
    """So that servers find the common beginning in their prompt caches."""
    first, second = (prepare(ALL, "schema", "max_tokens").write(Request(ALL, p)) for p in ("aaa", "bbb"))
    assert first.index(b"Be brief.") < first.index(b"aaa")
    assert first[: first.index(b"aaa")] == second[: second.index(b"bbb")]


def test_conversations_and_repairs() -> None:
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q", "name": "n"}]
    ask = Ask("m", conversation=True)
    asked = Request(ask, json.dumps(turns), repair=('{"n": "x"}', "n: not a number"))
    body = from_json(prepare(ask, "schema", "max_tokens").write(asked))
    judge(body)
    assert body["messages"][:3] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": '{"n": "x"}'},
    ]
    assert "n: not a number" in body["messages"][3]["content"]


@pytest.mark.parametrize("options", ['{"stream":true}', '{"messages":[]}', '{"model":"x"}', '{"n":2}'])
async def test_options_cannot_break_the_exchange(
    scripted: Provider, script: Script, failed: Callable[[Response | Failure], Failure], options: str
) -> None:
    said = failed(await scripted.complete(Request(Ask("m", options=options), "x")))
    assert said.kind == "bad_request"
    assert "options cannot set" in said.message
    assert not script.requests


async def test_lone_surrogates_are_not_sent(
    scripted: Provider, script: Script, failed: Callable[[Response | Failure], Failure]
) -> None:
    said = failed(await scripted.complete(Request(Ask("m"), "walrus \ud800")))
    assert said.kind == "bad_request"
    assert "surrogate" in said.message
    assert "walrus" not in said.message
    assert not script.requests


async def test_openais_headers_and_address(official: Provider, script: Script) -> None:
    await official.complete(Request(Ask("gpt-6-luna", max_tokens=5), "x"))
    sent = script.requests[0]
    assert str(sent.url) == "https://api.openai.com/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-proj-0123456789abcdef"
    assert sent.headers["content-type"] == "application/json"
    assert (sent.headers["openai-organization"], sent.headers["openai-project"]) == ("org-1", "proj_1")
    assert script.bodies[0]["max_completion_tokens"] == 5
    assert official.identity == "openai-chat https://api.openai.com/v1"
    assert official.host == "api.openai.com"


@pytest.mark.parametrize(
    ("model", "name"),
    [("llama-3", "max_tokens"), ("openai/gpt-oss-20b", "max_tokens"), ("gpt-6-luna", "max_completion_tokens")],
)
async def test_the_name_of_the_limit(scripted: Provider, script: Script, model: str, name: str) -> None:
    await scripted.complete(Request(Ask(model, max_tokens=5), "x"))
    assert {k: v for k, v in script.bodies[0].items() if k.startswith("max")} == {name: 5}


async def test_local_servers_need_no_key(connect: Connect, script: Script) -> None:
    environ = {"OPENAI_BASE_URL": " http://me:userpass@LocalHost:8080/v1/?api-version=2 "}
    async with script.client() as client, connect("openai", environ, client) as provider:
        await provider.complete(Request(Ask("m"), "x"))
    sent = script.requests[0]
    assert (sent.url.path, sent.url.query) == ("/v1/chat/completions", b"api-version=2")
    assert not sent.headers.get("authorization", "").startswith("Bearer")
    assert provider.identity == "openai-chat http://localhost:8080/v1"
    assert provider.host == "localhost:8080"


@pytest.mark.parametrize("key", [None, "", "  \n"])
async def test_openai_needs_a_key(connect: Connect, key: str | None) -> None:
    environ = {} if key is None else {"OPENAI_API_KEY": key}
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as caught:
        async with connect("openai", environ):
            pass
    assert 'model="local"' in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8080/v1", "ftp://x/v1", "http://", "http://u:topsecret@:99999/v1", "a b"])
async def test_wrong_base_urls(connect: Connect, url: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL") as caught:
        async with connect("openai", {"OPENAI_BASE_URL": url}):
            pass
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-walrus\nrides", "sk-walrus\u2019", ""])
async def test_keys_are_read_when_sending(
    connect: Connect, script: Script, failed: Callable[[Response | Failure], Failure], key: str
) -> None:
    environ = {"OPENAI_API_KEY": "sk-first-0123456789"}
    from polar_llama.providers.base import Connection
    from polar_llama.providers.registry import create
    from polar_llama.transport import open_transport

    async with script.client() as client:
        transport = open_transport(client)
        provider = create("openai", Connection({}, environ.get, lambda: transport))
        await provider.complete(Request(Ask("m"), "x"))
        environ["OPENAI_API_KEY"] = " sk-second-0123456789\n"
        await provider.complete(Request(Ask("m"), "x"))
        environ["OPENAI_API_KEY"] = key
        said = failed(await provider.complete(Request(Ask("m"), "x")))
    assert [r.headers["authorization"] for r in script.requests] == [
        "Bearer sk-first-0123456789",
        "Bearer sk-second-0123456789",
    ]
    assert said.kind == "auth"
    assert "OPENAI_API_KEY" in said.message
    assert "walrus" not in said.message
    assert "sk-" not in repr(vars(provider))


async def test_many_calls_stay_bounded(scripted: Provider, script: Script) -> None:
    for number in range(200):
        await scripted.complete(Request(Ask("m", system=f"call {number}"), "x"))
    assert [b["messages"][0]["content"] for b in script.bodies] == [f"call {n}" for n in range(200)]
    assert len(scripted._bodies) <= 64  # type: ignore[attr-defined]
