"""Where a model has no native way to follow a schema: a tool it must call, JSON in words; found out once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from polar_llama.providers.base import Ask, Failure, Request, Response
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from polar_llama.providers.base import Provider
    from tests.providers.conftest import Connect, Script

pytestmark = pytest.mark.anyio

SCHEMA = '{"properties":{"n":{"type":"integer"}},"required":["n"],"type":"object"}'
OPEN = '{"additionalProperties":{"type":"integer"},"type":"object"}'
TREE = json.dumps(
    {
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
                "required": ["kids"],
            }
        },
        "$ref": "#/$defs/Node",
    }
)


def form(body: Any) -> str:
    config = body.get("generationConfig", {})
    if "output_config" in body or "outputConfig" in body or "responseJsonSchema" in config:
        return "schema"
    if "tool_choice" in body or "toolConfig" in body:
        return "tool"
    return "object" if "responseMimeType" in config else "prompt"


def anthropic(body: Any) -> httpx.Response:
    usage = {"input_tokens": 5, "output_tokens": 2}
    if form(body) == "tool":
        blocks = [
            {"type": "text", "text": "Calling it."},
            {"type": "tool_use", "id": "t", "name": "answer", "input": {"n": 1}},
        ]
        return httpx.Response(200, json={"content": blocks, "stop_reason": "tool_use", "usage": usage})
    text = '{"n":1}' if form(body) == "schema" else 'Sure:\n```json\n{"n": 1}\n```'
    content = [{"type": "text", "text": text}]
    return httpx.Response(200, json={"content": content, "stop_reason": "end_turn", "usage": usage})


def gemini(body: Any) -> httpx.Response:
    text = 'It is {"n": 1}.' if form(body) == "prompt" else '{"n": 1}'
    candidate = {"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}
    return httpx.Response(200, json={"candidates": [candidate]})


ORDER = {"anthropic": ["schema", "tool", "prompt"], "gemini": ["schema", "object", "prompt"]}
WORDS = {
    "schema": "output_config: schemas are not supported",
    "tool": "tool_choice is unknown",
    "object": "JSON mode is not enabled",
}


def taking(script: Script, vendor: str, *forms: str) -> None:
    """Let the server take these forms only."""
    answer = anthropic if vendor == "anthropic" else gemini

    def reply(_number: int, body: Any) -> httpx.Response:
        if form(body) in forms:
            return answer(body)
        return httpx.Response(400, json={"error": {"message": WORDS[form(body)], "type": "x", "status": "X"}})

    script.reply = reply


async def asked(provider: Provider, ask: Ask) -> Response:
    said = await provider.complete(Request(ask, "?"))
    assert isinstance(said, Response), said
    return said


KEYS = {"ANTHROPIC_API_KEY": "k-123456789", "GEMINI_API_KEY": "k-123456789"}


@pytest.mark.parametrize("vendor", ["anthropic", "gemini"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("model", ["{}-4-6-new", "unknown"])
async def test_the_best_form_there_is(script: Script, connect: Connect, vendor: str, place: int, model: str) -> None:
    ask = Ask(model.format("claude-opus" if vendor == "anthropic" else "gemini"), schema=SCHEMA)
    order = ORDER[vendor]
    taking(script, vendor, order[place])
    async with script.client() as client, connect(vendor, KEYS, client) as provider:
        first, second = await asked(provider, ask), await asked(provider, ask)
        if model == "unknown":
            await asked(provider, Ask(ask.model, system="another call", schema=SCHEMA))
    assert json.loads(first.text) == json.loads(second.text) == {"n": 1}
    assert (first.finish, first.native) == ("stop", place == 0)
    expected = order[: place + 1] + [order[place]] * (2 if model == "unknown" else 1)
    assert [form(body) for body in script.bodies] == expected


async def test_old_models_are_not_even_tried(script: Script, connect: Connect) -> None:
    taking(script, "anthropic", "tool")
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        said = await asked(provider, Ask("claude-sonnet-4-20250514", schema=SCHEMA))
    assert (said.text, said.native, len(script.requests)) == ('{"n":1}', False, 1)


@pytest.mark.parametrize("schema", [OPEN, TREE], ids=["open", "recursive"])
async def test_schemas_beyond_the_subset_go_by_a_tool(script: Script, connect: Connect, schema: str) -> None:
    taking(script, "anthropic", "schema", "tool")
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        assert not (await asked(provider, Ask("claude-haiku-5-5", schema=schema))).native
        assert (await asked(provider, Ask("claude-haiku-5-5", schema=SCHEMA))).native
    assert [form(body) for body in script.bodies] == ["tool", "schema"]
    assert script.bodies[0]["tools"][0]["input_schema"]["type"] == "object"


async def test_gemini_takes_open_and_recursive_schemas(script: Script, connect: Connect) -> None:
    taking(script, "gemini", "schema")
    async with script.client() as client, connect("gemini", KEYS, client) as provider:
        for schema in (OPEN, TREE):
            assert (await asked(provider, Ask("gemini-4-argon", schema=schema))).native


async def test_a_tool_that_is_not_called(script: Script, connect: Connect) -> None:
    """Some gateways let the model write instead."""
    content = [{"type": "text", "text": 'Here: {"n": 1}'}]
    body = {"content": content, "stop_reason": "end_turn"}
    script.reply = lambda _number, _body: httpx.Response(200, json=body)
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        said = await asked(provider, Ask("claude-3-opus", schema=SCHEMA))
    assert (said.text, said.finish, said.usage) == ('{"n": 1}', "stop", None)


@pytest.mark.parametrize("vendor", ["anthropic", "gemini"])
async def test_a_truncated_answer_stays_truncated(script: Script, connect: Connect, vendor: str) -> None:
    content = [{"type": "tool_use", "id": "t", "name": "answer", "input": {}}]
    bodies = {
        "anthropic": {"content": content, "stop_reason": "max_tokens"},
        "gemini": {"candidates": [{"content": {"parts": [{"text": '{"n"'}]}, "finishReason": "MAX_TOKENS"}]},
    }
    script.reply = lambda _number, _body: httpx.Response(200, json=bodies[vendor])
    async with script.client() as client, connect(vendor, KEYS, client) as provider:
        assert (await asked(provider, Ask("claude-3-opus", schema=SCHEMA))).finish == "length"


async def test_a_wrong_key_is_not_the_forms_fault(script: Script, connect: Connect) -> None:
    script.reply = lambda _number, _body: httpx.Response(401, json={"error": {"message": "schema", "type": "x"}})
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        said = await provider.complete(Request(Ask("m", schema=SCHEMA), "?"))
    assert isinstance(said, Failure)
    assert (said.kind, len(script.requests)) == ("auth", 1)


async def test_bedrock_without_structured_output_in_the_service_model(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with aioboto3 15.5: the tool is forced from the start."""
    seen: list[str] = []

    def answer(request: Any) -> Any:
        seen.append(form(request.body))
        return {"n": 1}

    with Emulator(answer=answer) as emulator:
        async with connect("bedrock", emulator.environ()) as provider:
            assert (await asked(provider, Ask("amazon.nova-lite-v1:0", schema=SCHEMA))).native
            assert not (await asked(provider, Ask("amazon.nova-lite-v1:0", schema=OPEN))).native
            assert not (await asked(provider, Ask("anthropic.claude-3-opus-v1:0", schema=SCHEMA))).native
        async with connect("bedrock", emulator.environ()) as provider:
            monkeypatch.setattr(provider, "_native", False)
            said = await asked(provider, Ask("amazon.nova-lite-v1:0", schema=SCHEMA))
    assert seen == ["schema", "tool", "tool", "tool"]
    assert (json.loads(said.text), said.finish, said.native) == ({"n": 1}, "stop", False)


@pytest.mark.parametrize("follows", ["tool", "prompt", None])
async def test_a_server_that_passes_over_schemas(script: Script, connect: Connect, follows: str | None) -> None:
    """llama.cpp's server does, for requests in Anthropic's format: the answer in prose shows it."""

    def reply(_number: int, body: Any) -> httpx.Response:
        if form(body) == follows:
            return anthropic(body)
        content = [{"type": "text", "text": "Seven is prime."}]
        usage = {"input_tokens": 7, "output_tokens": 3}
        return httpx.Response(200, json={"content": content, "stop_reason": "end_turn", "usage": usage})

    script.reply = reply
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        first = await asked(provider, Ask("smollm", schema=SCHEMA))
        second = await asked(provider, Ask("smollm", schema=SCHEMA))
        other = await asked(provider, Ask("smollm", system="another call", schema=SCHEMA))
    tried = ["schema", "tool", "prompt"][: 2 if follows == "tool" else 3]
    assert [form(body) for body in script.bodies] == [*tried, tried[-1], tried[-1]]
    assert first.usage is not None
    assert first.usage.input == 7 * (len(tried) - 1) + (5 if follows else 7), "all that was paid for is counted"
    assert second.text == other.text == first.text
    assert not first.native


async def test_an_answer_that_was_cut_off_proves_nothing(script: Script, connect: Connect) -> None:
    prose = [{"type": "text", "text": "Seven is"}]

    def reply(number: int, body: Any) -> httpx.Response:
        ended = "end_turn" if number else "max_tokens"
        return (
            anthropic(body)
            if form(body) == "tool"
            else httpx.Response(200, json={"content": prose, "stop_reason": ended})
        )

    script.reply = reply
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        assert (await asked(provider, Ask("smollm", schema=SCHEMA))).finish == "length"
        assert (await asked(provider, Ask("smollm", schema=SCHEMA))).text == '{"n":1}'
    assert [form(body) for body in script.bodies] == ["schema", "schema", "tool"]


async def test_passing_over_one_form_and_refusing_the_next(script: Script, connect: Connect) -> None:
    def reply(_number: int, body: Any) -> httpx.Response:
        if form(body) == "tool":
            return httpx.Response(400, json={"error": {"message": "tools are not supported", "type": "x"}})
        prose = [{"type": "text", "text": "Seven is prime."}]
        return anthropic(body) if form(body) == "prompt" else httpx.Response(200, json={"content": prose})

    script.reply = reply
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        for _ in range(2):
            assert json.loads((await asked(provider, Ask("smollm", schema=SCHEMA))).text) == {"n": 1}
    assert [form(body) for body in script.bodies] == ["schema", "tool", "prompt", "prompt"]


async def test_one_schema_beyond_the_subset_says_nothing_of_others(script: Script, connect: Connect) -> None:
    taking(script, "anthropic", "schema", "prompt")
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        for schema in (OPEN, OPEN, SCHEMA):
            await asked(provider, Ask("smollm", schema=schema))
    assert [form(body) for body in script.bodies] == ["tool", "prompt", "prompt", "schema"]


async def test_trouble_on_the_way_down_is_told_so_that_it_is_tried_again(script: Script, connect: Connect) -> None:
    def reply(number: int, body: Any) -> httpx.Response:
        if form(body) == "schema":
            return httpx.Response(200, json={"content": [{"type": "text", "text": "Seven is prime."}]})
        return anthropic(body) if number > 1 else httpx.Response(529, json={"error": {"type": "overloaded_error"}})

    script.reply = reply
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        said = await provider.complete(Request(Ask("smollm", schema=SCHEMA), "?"))
        assert isinstance(said, Failure)
        assert said.kind == "overloaded"
        assert (await asked(provider, Ask("smollm", schema=SCHEMA))).text == '{"n":1}'
    assert [form(body) for body in script.bodies] == ["schema", "tool", "schema", "tool"]


async def test_gateways_are_not_trusted_to_take_schemas(script: Script, connect: Connect) -> None:
    """Even for models that do where they come from."""

    def reply(_number: int, body: Any) -> httpx.Response:
        prose = [{"type": "text", "text": "Seven is prime."}]
        return anthropic(body) if form(body) == "tool" else httpx.Response(200, json={"content": prose})

    script.reply = reply
    environ = {**KEYS, "ANTHROPIC_BASE_URL": "http://gateway.invalid"}
    async with script.client() as client, connect("anthropic", environ, client) as provider:
        assert (await asked(provider, Ask("claude-haiku-5-5", schema=SCHEMA))).text == '{"n":1}'
