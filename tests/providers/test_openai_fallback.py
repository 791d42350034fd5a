"""Servers that do not take `json_schema`: found out once, by one request, and remembered."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from polar_llama.providers.base import Ask, Failure, Request, Response

if TYPE_CHECKING:
    from polar_llama.providers.base import Provider
    from tests.providers.conftest import Script

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
ASK = Ask("m", schema=json.dumps(SCHEMA))


def form(body: Any) -> str:
    kind: str = body.get("response_format", {}).get("type", "prompt")
    return kind


def taking(script: Script, *forms: str, status: int = 400, words: str = "response_format is not supported") -> None:
    """Let the server take these forms, and refuse the others."""

    def reply(_number: int, body: Any) -> httpx.Response:
        return script.completion('{"n": 1}') if form(body) in forms else script.refusal(status, words)

    script.reply = reply


def forms(script: Script) -> list[str]:
    return [form(body) for body in script.bodies]


async def asked(provider: Provider, ask: Ask = ASK) -> Response:
    said = await provider.complete(Request(ask, "How many?"))
    assert isinstance(said, Response), said
    return said


async def test_a_server_that_takes_schemas(scripted: Provider, script: Script) -> None:
    taking(script, "json_schema")
    assert (await asked(scripted)).native
    assert (await asked(scripted)).native
    assert forms(script) == ["json_schema"] * 2


@pytest.mark.parametrize("status", [400, 404, 422, 501])
@pytest.mark.parametrize("takes", ["json_object", "prompt"])
async def test_falling_back_once(scripted: Provider, script: Script, status: int, takes: str) -> None:
    taking(script, takes, status=status, words="'response_format.type' must be something else")
    for _ in range(3):
        said = await asked(scripted)
        assert (said.text, said.native) == ('{"n": 1}', False)
    tried = ["json_schema", "json_object", "prompt"]
    assert forms(script) == [*tried[: tried.index(takes) + 1], takes, takes]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refusal_without_a_reason(scripted: Provider, script: Script, status: int) -> None:
    taking(script, "prompt", status=status, words="bad request")
    await asked(scripted)
    await asked(scripted)
    assert forms(script) == ["json_schema", "json_object", "prompt", "prompt"]


async def test_a_wrong_request_is_not_the_forms_fault(scripted: Provider, script: Script) -> None:
    """Everything is refused: the first refusal is the answer, and nothing is learned from it."""
    taking(script, words="bad temperature")
    said = await scripted.complete(Request(ASK, "?"))
    assert isinstance(said, Failure)
    assert (said.kind, said.status) == ("bad_request", 400)
    taking(script, "json_schema", "json_object", "prompt")
    assert (await asked(scripted)).native
    taking(script, words="bad temperature")
    await scripted.complete(Request(ASK, "?"))
    assert forms(script)[3:] == ["json_schema"] * 2, "schemas have been answered: no doubt is left"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "the context length is exceeded"),
        (401, "response_format"),
        (404, "no such model"),
        (429, "slow down"),
        (500, "oops"),
        (503, "loading"),
    ],
)
async def test_other_failures_are_not_about_forms(scripted: Provider, script: Script, status: int, words: str) -> None:
    taking(script, status=status, words=words)
    assert isinstance(await scripted.complete(Request(ASK, "?")), Failure)
    assert forms(script) == ["json_schema"]


async def test_trouble_on_the_way_down_is_passed_on(scripted: Provider, script: Script) -> None:
    def reply(_number: int, body: Any) -> httpx.Response:
        if form(body) == "json_schema":
            return script.refusal(400, "response_format")
        return script.refusal(503, "busy")

    script.reply = reply
    said = await scripted.complete(Request(ASK, "?"))
    assert isinstance(said, Failure)
    assert said.kind == "overloaded", "it can heal: the engine asks again"


@pytest.mark.parametrize("takes", ["json_schema", "json_object", "prompt"])
async def test_many_at_once_find_out_once(scripted: Provider, script: Script, takes: str) -> None:
    taking(script, takes)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asked(scripted)) for _ in range(50)]
    assert {task.result().text for task in tasks} == {'{"n": 1}'}
    tried = ["json_schema", "json_object", "prompt"]
    assert Counter(forms(script)) == Counter(tried[: tried.index(takes)]) + Counter({takes: 50})


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_lost_first_question_holds_nobody_up(scripted: Provider, script: Script, how: str) -> None:
    script.hold = asyncio.Event()
    script.reply = lambda number, _body: script.completion('{"n": 1}') if number else httpx.Response(503)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(scripted.complete(Request(ASK, "?")))
        others = [group.create_task(asked(scripted)) for _ in range(5)]
        await asyncio.wait_for(script.arrived.wait(), 5)
        assert len(script.requests) == 1
        if how == "cancelled":
            first.cancel()
        script.hold.set()
    assert first.cancelled() if how == "cancelled" else isinstance(first.result(), Failure)
    assert [task.result().text for task in others] == ['{"n": 1}'] * 5


async def test_models_are_told_apart(scripted: Provider, script: Script) -> None:
    def reply(_number: int, body: Any) -> httpx.Response:
        able = body["model"] == "able" or form(body) == "prompt"
        return script.completion('{"n": 1}') if able else script.refusal(400, "json_schema is unknown")

    script.reply = reply
    for model in ("able", "unable", "able", "unable"):
        await asked(scripted, Ask(model, schema=ASK.schema))
    assert forms(script) == ["json_schema", "json_schema", "json_object", "prompt", "json_schema", "prompt"]


async def test_one_schema_that_is_refused_spoils_no_other(official: Provider, script: Script) -> None:
    """OpenAI is known to take schemas; what it refuses is this one."""

    def reply(_number: int, body: Any) -> httpx.Response:
        odd = "odd" in body.get("response_format", {}).get("json_schema", {}).get("name", "")
        return script.refusal(400, "Invalid schema for response_format") if odd else script.completion('{"n": 1}')

    script.reply = reply
    odd = Ask("m", schema=ASK.schema, schema_name="odd")
    assert not (await asked(official, odd)).native
    assert (await asked(official)).native
    assert not (await asked(official, odd)).native
    assert forms(script) == ["json_schema", "json_object", "json_schema", "json_object"]


async def test_openai_is_not_doubted(official: Provider, script: Script) -> None:
    taking(script, "prompt", words="bad request")
    assert isinstance(await official.complete(Request(ASK, "?")), Failure)
    assert forms(script) == ["json_schema"]


async def test_words_around_the_object_are_cut_off(scripted: Provider, script: Script) -> None:
    script.reply = lambda _number, _body: script.completion('Sure:\n```json\n{"n": 1}\n```')
    assert (await asked(scripted)).text == '{"n": 1}'
    assert (await scripted.complete(Request(Ask("m"), "?"))).text.startswith("Sure")  # type: ignore[union-attr]


async def test_optional_properties_left_out_come_back_left_out(scripted: Provider, script: Script) -> None:
    """Strict mode makes the model write null where it would leave a property out."""
    schema = {**SCHEMA, "properties": {"n": {"type": "integer"}, "unit": {"type": "string", "default": "kg"}}}
    script.reply = lambda _number, _body: script.completion('{"n":1,"unit":null}')
    said = await asked(scripted, Ask("m", schema=json.dumps(schema)))
    sent = script.bodies[0]["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["properties"]["unit"] == {"type": ["string", "null"]}
    assert said.text == '{"n":1}'


async def test_a_schema_beyond_strict_mode_is_sent_all_the_same(official: Provider, script: Script) -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    script.reply = lambda _number, _body: script.completion('{"n":1}')
    said = await asked(official, Ask("m", schema=json.dumps(schema)))
    sent = script.bodies[0]["response_format"]["json_schema"]
    assert (sent["strict"], sent["schema"]) == (False, schema)
    assert not said.native, "OpenAI only tries to follow it"
