"""Parameters that a model cannot take are errors before the first request; those it can are sent only when given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from pydantic_core import from_json

import polar_llama as pll
from polar_llama.errors import ConfigurationError
from polar_llama.providers.base import Ask, Checks, Request, Response, Usage
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from tests.providers.conftest import Connect, Script

pytestmark = pytest.mark.anyio

KEYS = {
    "ANTHROPIC_API_KEY": "k-123456789",
    "GEMINI_API_KEY": "k-123456789",
    "GROQ_API_KEY": "k-123456789",
    "OPENAI_API_KEY": "k-123456789",
    "AWS_REGION": "eu-north-1",
}


@pytest.mark.parametrize(
    ("provider", "ask", "words"),
    [
        ("anthropic", Ask("claude-haiku-5-5", seed=7), "take no seed"),
        ("anthropic", Ask("claude-haiku-5-5", temperature=0.0), "no sampling parameters"),
        ("anthropic", Ask("claude-opus-4-7", temperature=1.0), "no sampling parameters"),
        ("anthropic", Ask("claude-sonnet-5", options='{"top_k":5}'), "no sampling parameters"),
        ("anthropic", Ask("claude-fable-5-2", temperature=1.0), "no sampling parameters"),
        ("anthropic", Ask("claude-haiku-5-5", options='{"system":"x"}'), "options cannot set system"),
        ("gemini", Ask("gemini-3.8-flash", temperature=0.5), "no sampling parameters"),
        ("gemini", Ask("gemini-3.5-flash-lite", options='{"generationConfig":{"topP":0.5}}'), "no sampling parameters"),
        ("gemini", Ask("gemini-2.5-pro", options='{"contents":[]}'), "options cannot set contents"),
        ("gemini", Ask("gemini-2.5-pro", options='{"generationConfig":3}'), "must be an object"),
        ("gemini", Ask("gemini-2.5-pro", options='{"top_p":0.5}'), "options hold top_p where Gemini has"),
        ("groq", Ask("openai/gpt-oss-20b", options='{"logprobs":true}'), "does not take logprobs"),
        ("groq", Ask("openai/gpt-oss-20b", options='{"n":2}'), "options cannot set n"),
        ("openai", Ask("gpt-6-luna", options='{"messages":[]}'), "options cannot set messages"),
        ("openai", Ask("o4-mini", temperature=0.0), "no temperature but 1"),
        ("openai", Ask("gpt-5-mini-2025-08-07", temperature=0.5), "no temperature but 1"),
        ("openai", Ask("gpt-6-luna", temperature=0.0, options='{"reasoning_effort":"low"}'), "while it reasons"),
        ("openai", Ask("openai/o3", options='{"temperature":0.2}'), "no temperature but 1"),
        ("anthropic", Ask("claude-haiku-4-5", temperature=1.5), "from 0 to 1"),
        ("bedrock", Ask("amazon.nova-lite-v1:0", temperature=1.5), "from 0 to 1"),
        ("bedrock", Ask("amazon.nova-lite-v1:0", seed=7), "takes no seed"),
        ("bedrock", Ask("anthropic.claude-haiku-5-5", temperature=0.5), "no sampling parameters"),
        ("bedrock", Ask("amazon.nova-lite-v1:0", options='{"topK":5}'), 'Unknown parameter in input: "topK"'),
        ("bedrock", Ask("amazon.nova-lite-v1:0", options='{"inferenceConfig":{"topK":5}}'), "Unknown parameter"),
    ],
)
async def test_what_a_model_cannot_take(connect: Connect, provider: str, ask: Ask, words: str) -> None:
    async with connect(provider, KEYS) as made:
        assert isinstance(made, Checks)
        with pytest.raises(ConfigurationError, match=words):
            made.check(ask)


@pytest.mark.parametrize(
    ("provider", "ask"),
    [
        ("anthropic", Ask("claude-haiku-4-5", temperature=0.0, max_tokens=9)),
        ("anthropic", Ask("claude-sonnet-4-20250514", options='{"top_p":0.5}')),
        ("anthropic", Ask("some-model-of-a-gateway", temperature=0.0)),
        ("gemini", Ask("gemini-2.5-flash", temperature=0.0, seed=7)),
        ("gemini", Ask("gemini-3.8-flash", seed=7, max_tokens=9)),
        ("groq", Ask("openai/gpt-oss-20b", temperature=0.0, seed=7)),
        ("openai", Ask("gpt-6-luna", temperature=0.0, seed=7)),
        ("openai", Ask("gpt-6-luna", temperature=0.5, options='{"reasoning_effort":"none"}')),
        ("openai", Ask("gpt-5.4-nano", temperature=0.5)),
        ("openai", Ask("o4-mini", temperature=1)),
        ("openai", Ask("openai/gpt-oss-20b", temperature=0.5, options='{"reasoning_effort":"low"}')),
        ("bedrock", Ask("amazon.nova-lite-v1:0", temperature=0.0, max_tokens=9)),
        ("bedrock", Ask("anthropic.claude-haiku-4-5-20251001-v1:0", temperature=0.0)),
    ],
)
async def test_what_a_model_can_take(connect: Connect, provider: str, ask: Ask) -> None:
    async with connect(provider, KEYS) as made:
        assert isinstance(made, Checks)
        made.check(ask)
        made.check(
            Ask(**{**{n: getattr(ask, n) for n in ask.__slots__}, "schema": '{"type":"object","properties":{}}'})
        )


def test_a_run_checks_before_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        asked = pl.LazyFrame({"q": ["a", "b"]}).with_columns(
            first=pll.llm("q", model="openai:gpt-6-luna"),
            second=pll.llm("q", model="anthropic:claude-haiku-5-5", seed=1),
        )
        with pytest.raises(ConfigurationError, match=r"claude-haiku-5-5 cannot be asked: .* take no seed"):
            asked.collect()
        assert emulator.stats().requests == 0


async def test_anthropics_older_version_is_asked_for_samplings_sake_only(script: Script, connect: Connect) -> None:
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        for ask in (Ask("claude-haiku-4-5"), Ask("claude-haiku-4-5", temperature=0.0), Ask("m", options='{"top_p":1}')):
            await provider.complete(Request(ask, "?"))
    assert [r.headers["anthropic-version"] for r in script.requests] == ["2026-10-21", "2023-06-01", "2023-06-01"]
    assert [b.get("temperature") for b in script.bodies] == [None, 0.0, None]


async def test_objects_in_options_are_merged(script: Script, connect: Connect) -> None:
    schema = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
    asks = {
        "anthropic": Ask("claude-haiku-5-5", options='{"output_config":{"effort":"low"}}', schema=schema),
        "gemini": Ask("gemini-4-argon", options='{"generationConfig":{"candidateCount":1}}', schema=schema),
    }
    for name, ask in asks.items():
        async with script.client() as client, connect(name, KEYS, client) as provider:
            await provider.complete(Request(ask, "?"))
    assert set(script.bodies[0]["output_config"]) == {"effort", "format"}
    assert set(script.bodies[1]["generationConfig"]) == {"candidateCount", "responseMimeType", "responseJsonSchema"}


# The estimate is a token per four bytes; an emoji has four.
SHORT, LONG = "🦙" * 511, "🦙" * 512
CASES = [
    ("anthropic", "claude-haiku-5-5", 512),
    ("anthropic", "claude-sonnet-5", 1024),
    ("anthropic", "claude-opus-4-7", 2048),
    ("anthropic", "claude-haiku-4-5", 4096),
    ("bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", 4096),
    ("bedrock", "anthropic.claude-sonnet-4-6", 1024),
    ("bedrock", "amazon.nova-lite-v1:0", 1024),
]


@pytest.mark.parametrize(("provider", "model", "least"), CASES)
async def test_a_system_prompt_that_is_long_enough_is_marked_for_the_cache(
    connect: Connect, provider: str, model: str, least: int
) -> None:
    seen: list[Any] = []

    def answer(request: Any) -> str:
        seen.append(request.body["system"])
        return "ok"

    with Emulator(answer=answer) as emulator:
        async with connect(provider, emulator.environ()) as made:
            for tokens in (least - 1, least):
                said = await made.complete(Request(Ask(model, system="🦙" * tokens), "?"))
                assert isinstance(said, Response)
    marked = [
        json.dumps(system).count('"cache_control"' if provider == "anthropic" else '"cachePoint"') for system in seen
    ]
    assert marked == [0, 1]
    assert seen[1][0]["text"] == "🦙" * least


async def test_models_without_a_cache_are_not_told_of_one(connect: Connect) -> None:
    seen: list[Any] = []

    def answer(request: Any) -> str:
        seen.append(request.body["system"])
        return "ok"

    with Emulator(answer=answer) as emulator:
        async with connect("bedrock", emulator.environ()) as made:
            await made.complete(Request(Ask("meta.llama4-scout-17b-instruct-v1:0", system="🦙" * 9000), "?"))
    assert seen == [[{"text": "🦙" * 9000}]]


async def test_the_users_own_cache_mark_stands(script: Script, connect: Connect) -> None:
    options = '{"cache_control":{"type":"ephemeral","ttl":"1h"}}'
    async with script.client() as client, connect("anthropic", KEYS, client) as provider:
        await provider.complete(Request(Ask("claude-haiku-5-5", system="🦙" * 9000, options=options), "?"))
    assert script.bodies[0]["system"] == [{"type": "text", "text": "🦙" * 9000}]
    assert script.bodies[0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize("provider", ["anthropic", "bedrock"])
async def test_tokens_read_from_and_written_to_a_cache_are_reported(connect: Connect, provider: str) -> None:
    from polar_llama.testing import EmulatedAnswer

    usage = Usage(5000, 10, 3000, 1000)
    with Emulator(answer=lambda _: EmulatedAnswer("ok", usage=usage)) as emulator:
        async with connect(provider, emulator.environ()) as made:
            said = await made.complete(Request(Ask("anthropic.claude-haiku-5-5"), "?"))
    assert isinstance(said, Response)
    assert said.usage == usage


async def test_prompts_come_after_what_all_rows_share(script: Script, connect: Connect) -> None:
    for name, model in (("anthropic", "claude-haiku-5-5"), ("gemini", "gemini-4-argon")):
        async with script.client() as client, connect(name, KEYS, client) as provider:
            await provider.complete(Request(Ask(model, system="shared", max_tokens=5), "the row"))
        content = script.requests[-1].content
        assert content.index(b"shared") < content.index(b"the row")
        assert from_json(content)


@pytest.mark.parametrize(
    ("provider", "model"), [("anthropic", "claude-haiku-5-5"), ("bedrock", "amazon.nova-lite-v1:0")]
)
async def test_the_end_of_the_examples_is_marked_too(connect: Connect, provider: str, model: str) -> None:
    seen: list[Any] = []

    def answer(request: Any) -> str:
        seen.append(request.body)
        return "ok"

    long = json.dumps([["q", "🦙" * 2000]], ensure_ascii=False)
    with Emulator(answer=answer) as emulator:
        async with connect(provider, emulator.environ()) as made:
            for examples in ('[["q","a"]]', long):
                said = await made.complete(Request(Ask(model, system="short", examples=examples), "?"))
                assert isinstance(said, Response)
    mark = "cache_control" if provider == "anthropic" else "cachePoint"
    marked = [[mark in json.dumps(turn) for turn in body["messages"]] for body in seen]
    assert marked == [[False, False, False], [False, True, False]]
    assert not any(mark in json.dumps(body["system"]) for body in seen)
