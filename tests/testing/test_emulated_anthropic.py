"""Anthropic's own SDK is the judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import jsonschema
import pytest
from pydantic import BaseModel

from polar_llama.providers.base import Usage
from polar_llama.testing import EmulatedAnswer, EmulatedFault, Emulator, Limits, answer_text

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "claude-haiku-5-5"
ASKED: Any = [{"role": "user", "content": "Is 7 prime?"}]
SCHEMA = {
    "type": "object",
    "properties": {"prime": {"type": "boolean"}, "why": {"type": "string"}},
    "required": ["prime"],
    "additionalProperties": False,
}
OLD = {"anthropic-version": "2023-06-01"}


def client(emulator: Emulator) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=emulator.base_url("anthropic"), api_key="any", max_retries=0)


@pytest.fixture(scope="module")
def sdk(running: Emulator) -> Iterator[anthropic.Anthropic]:
    with client(running) as made:
        yield made


def test_a_message(sdk: anthropic.Anthropic, emulator: Emulator) -> None:
    reply = sdk.messages.create(model=MODEL, max_tokens=100, messages=ASKED, system="Be brief.")
    assert [b.text for b in reply.content if b.type == "text"] == [
        answer_text("Is 7 prime?", model=MODEL, system="Be brief.")
    ]
    assert reply.stop_reason == "end_turn"
    assert reply.usage.input_tokens > 0
    assert reply._request_id
    assert emulator.stats().by_provider == {"anthropic": 1}
    counted = sdk.messages.count_tokens(model=MODEL, messages=ASKED, system="Be brief.")
    assert counted.input_tokens == reply.usage.input_tokens


def test_structured_output(sdk: anthropic.Anthropic) -> None:
    config: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    reply = sdk.messages.create(model=MODEL, max_tokens=100, messages=ASKED, output_config=config)
    text = "".join(b.text for b in reply.content if b.type == "text")
    jsonschema.validate(json.loads(text), SCHEMA)
    assert text == answer_text("Is 7 prime?", model=MODEL, schema=SCHEMA)


def test_the_sdks_own_parsing(sdk: anthropic.Anthropic) -> None:
    class Verdict(BaseModel):
        prime: bool
        why: str | None

    reply = sdk.messages.parse(model=MODEL, max_tokens=100, messages=ASKED, output_format=Verdict)
    assert isinstance(reply.parsed_output, Verdict)


def test_a_forced_tool(sdk: anthropic.Anthropic) -> None:
    tool: Any = {"name": "answer", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    choice: Any = {"type": "tool", "name": "answer"}
    reply = sdk.messages.create(model=MODEL, max_tokens=100, messages=ASKED, tools=[tool], tool_choice=choice)
    block = reply.content[0]
    assert block.type == "tool_use"
    jsonschema.validate(block.input, tool["input_schema"])
    assert reply.stop_reason == "tool_use"


def test_prompt_caching_is_asked_for(sdk: anthropic.Anthropic) -> None:
    block: Any = {"type": "text", "text": "word " * 1000}
    assert (
        sdk.messages.create(model=MODEL, max_tokens=9, messages=ASKED, system=[block]).usage.cache_read_input_tokens
        == 0
    )
    marked: Any = [{**block, "cache_control": {"type": "ephemeral"}}]
    usage = sdk.messages.create(model=MODEL, max_tokens=9, messages=ASKED, system=marked).usage
    assert usage.cache_read_input_tokens == 1250
    assert usage.input_tokens < 20


@pytest.mark.parametrize("old", [True, False])
def test_sampling_only_on_the_old_version(sdk: anthropic.Anthropic, *, old: bool) -> None:
    def ask() -> Any:
        return sdk.messages.create(
            model="claude-haiku-4-5",
            max_tokens=100,
            messages=ASKED,
            extra_body={"temperature": 0.0},
            extra_headers=OLD if old else {},
        )

    if old:
        assert ask().stop_reason == "end_turn"
    else:
        with pytest.raises(anthropic.BadRequestError, match="temperature: Extra inputs are not permitted"):
            ask()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"extra_body": {"seed": 1}}, "seed: Extra inputs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "string"}}}}, "object"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": True}}}},
            "additionalProperties",
        ),
        (
            {
                "output_config": {
                    "format": {
                        "type": "json_schema",
                        "schema": {**SCHEMA, "properties": {"n": {"type": "integer", "minimum": 0}}},
                    }
                }
            },
            "minimum",
        ),
        (
            {
                "output_config": {
                    "format": {
                        "type": "json_schema",
                        "schema": {
                            **SCHEMA,
                            "properties": {"n": {"$ref": "#/$defs/N"}},
                            "$defs": {"N": {**SCHEMA, "properties": {"next": {"$ref": "#/$defs/N"}}}},
                        },
                    }
                }
            },
            "recursive",
        ),
        ({"output_config": {"colour": "red"}}, "output_config"),
        ({"tools": "none", "tool_choice": {"type": "tool", "name": "x"}}, "wrong type"),
    ],
)
def test_wrong_requests_are_refused(sdk: anthropic.Anthropic, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=says) as refused:
        sdk.messages.create(**{"model": MODEL, "max_tokens": 100, "messages": ASKED, **changed})
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, {}, 400),
        ({"anthropic-version": "2020-01-01"}, {}, 400),
        (OLD, {}, 401),
        ({**OLD, "x-api-key": "k"}, {"model": MODEL, "messages": ASKED}, 400),
        ({**OLD, "x-api-key": "k"}, {"model": MODEL, "messages": ASKED, "max_tokens": 5}, 200),
    ],
)
def test_required_headers_and_fields(emulator: Emulator, headers: Any, body: Any, status: int) -> None:
    reply = httpx.post(emulator.base_url("anthropic") + "/v1/messages", headers=headers, json=body)
    assert reply.status_code == status
    assert reply.headers["request-id"]
    assert reply.json()["type"] == ("message" if status == 200 else "error")


def test_refusals_limits_and_overload() -> None:
    now = [0.0]
    said = {"refuse": EmulatedAnswer("No.", "refusal", Usage(50, 5, 20, 10, 2)), "cut": EmulatedAnswer("x", "length")}
    with (
        Emulator(
            answer=lambda r: said.get(r.prompt, "yes"), limits=Limits(requests_per_minute=3), clock=lambda: now[0]
        ) as emulator,
        client(emulator) as sdk,
    ):

        def ask(prompt: str) -> Any:
            messages: Any = [{"role": "user", "content": prompt}]
            return sdk.messages.create(model=MODEL, max_tokens=100, messages=messages)

        refused = ask("refuse")
        assert refused.stop_reason == "refusal"
        assert refused.stop_details.explanation == "No."
        usage = refused.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (20, 20, 10)
        assert ask("cut").stop_reason == "max_tokens"
        emulator.fail(lambda request: EmulatedFault("overloaded") if request.prompt == "busy" else None)
        with pytest.raises(anthropic.APIStatusError) as busy:
            ask("busy")
        assert (busy.value.status_code, busy.value.type) == (529, "overloaded_error")
        ask("third")
        with pytest.raises(anthropic.RateLimitError) as limited:
            ask("fourth")
        assert limited.value.response.headers["retry-after"] == "20"
        assert limited.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert limited.value.response.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        with pytest.raises(anthropic.NotFoundError):
            sdk.messages.create(model="missing-model", max_tokens=5, messages=ASKED)
