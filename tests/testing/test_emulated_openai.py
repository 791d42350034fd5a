"""OpenAI's own SDK is the judge: it parses every answer and error with its own types."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import jsonschema
import openai
import pytest
from pydantic import BaseModel

from polar_llama.providers.base import Usage
from polar_llama.testing import EmulatedAnswer, Emulator, Limits, answer_text, answer_vector, example

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "gpt-6-luna"
ASKED = [{"role": "user", "content": "Is 7 prime?"}]
STRICT = {
    "type": "object",
    "properties": {"prime": {"type": "boolean"}, "why": {"type": ["string", "null"]}},
    "required": ["prime", "why"],
    "additionalProperties": False,
}


def client(emulator: Emulator, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=emulator.base_url("openai"), api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def sdk(running: Emulator) -> Iterator[openai.OpenAI]:
    with client(running) as made:
        yield made


def wanting(schema: Any, *, strict: bool = True, name: str = "answer") -> Any:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}}


def test_a_chat_completion(sdk: openai.OpenAI, emulator: Emulator) -> None:
    messages: Any = [{"role": "system", "content": "Be brief."}, *ASKED]
    reply = sdk.chat.completions.create(model=MODEL, messages=messages, temperature=0, seed=1, max_completion_tokens=99)
    assert reply.choices[0].message.content == answer_text("Is 7 prime?", model=MODEL, system="Be brief.")
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == MODEL
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 2
    assert reply.usage.prompt_tokens_details is not None
    assert reply.usage.prompt_tokens_details.cached_tokens == 0
    assert str(reply._request_id).startswith("req_")
    stats = emulator.stats()
    assert (stats.requests, stats.answered, stats.by_provider, stats.by_status) == (1, 1, {"openai": 1}, {200: 1})
    assert stats.prompts == Counter(["Is 7 prime?"])
    assert stats.usage == Usage(reply.usage.prompt_tokens, reply.usage.completion_tokens)


def test_a_long_system_prompt_is_cached(sdk: openai.OpenAI) -> None:
    messages: Any = [{"role": "system", "content": "word " * 1000}, *ASKED]
    usage = sdk.chat.completions.create(model=MODEL, messages=messages).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 1250 // 128 * 128


def test_conversations_and_parts(sdk: openai.OpenAI) -> None:
    parts: Any = [{"type": "text", "text": "Is 7 "}, {"type": "text", "text": "prime?"}]
    messages: Any = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": parts},
    ]
    reply = sdk.chat.completions.create(model=MODEL, messages=messages)
    before = [("user", "Hello"), ("assistant", "Hi")]
    assert reply.choices[0].message.content == answer_text("Is 7 prime?", model=MODEL, before=before)
    assert reply.choices[0].message.content != answer_text("Is 7 prime?", model=MODEL)


def test_json_schema(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(model=MODEL, messages=ASKED, response_format=wanting(STRICT))  # type: ignore[arg-type]
    text = reply.choices[0].message.content or ""
    jsonschema.validate(json.loads(text), STRICT)
    assert text == answer_text("Is 7 prime?", model=MODEL, schema=STRICT)


def test_the_sdks_own_parsing(sdk: openai.OpenAI) -> None:
    class Step(BaseModel):
        explanation: str
        number: int

    class Maths(BaseModel):
        steps: list[Step]
        sure: bool | None

    reply = sdk.chat.completions.parse(model=MODEL, messages=ASKED, response_format=Maths)  # type: ignore[arg-type]
    assert isinstance(reply.choices[0].message.parsed, Maths)


def test_json_object_and_forced_tools(sdk: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Answer in JSON"}]
    reply = sdk.chat.completions.create(model=MODEL, messages=messages, response_format={"type": "json_object"})
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)
    tool: Any = {"type": "function", "function": {"name": "answer", "parameters": STRICT}}
    choice: Any = {"type": "function", "function": {"name": "answer"}}
    called = sdk.chat.completions.create(model=MODEL, messages=messages, tools=[tool], tool_choice=choice)
    calls: Any = called.choices[0].message.tool_calls
    jsonschema.validate(json.loads(calls[0].function.arguments), STRICT)


def test_the_token_limit_cuts_the_answer(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(model=MODEL, messages=ASKED, max_completion_tokens=2)  # type: ignore[arg-type]
    assert reply.choices[0].finish_reason == "length"
    assert reply.choices[0].message.content == answer_text("Is 7 prime?", model=MODEL)[:8]


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"extra_body": {"colour": "red"}}, "colour"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": 0.5, "reasoning_effort": "high"}, "temperature"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stop": list("abcde")}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"response_format": {"type": "json_object"}}, "messages"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": wanting(STRICT, name="not a name")}, "response_format.json_schema.name"),
        ({"response_format": wanting({**STRICT, "additionalProperties": True})}, "response_format"),
        ({"response_format": wanting({**STRICT, "required": ["prime"]})}, "response_format"),
        ({"response_format": wanting({"type": "string"})}, "response_format"),
        ({"response_format": wanting({**STRICT, "allOf": []})}, "response_format"),
    ],
)
def test_wrong_requests_are_refused(sdk: openai.OpenAI, changed: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(**{"model": MODEL, "messages": ASKED, **changed})
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"


def test_lenient_schemas_pass_when_not_strict(sdk: openai.OpenAI) -> None:
    lenient = {"type": "object", "properties": {"n": {"type": "integer"}}}
    reply = sdk.chat.completions.create(
        model="llama-of-a-compatible-server",
        messages=ASKED,  # type: ignore[arg-type]
        max_tokens=50,
        response_format=wanting(lenient, strict=False),
    )
    jsonschema.validate(json.loads(reply.choices[0].message.content or ""), lenient)


def test_unknown_models_paths_and_keys(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        sdk.chat.completions.create(model="missing-model", messages=ASKED)  # type: ignore[arg-type]
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        sdk.responses.create(model=MODEL, input="x")
    assert sdk.models.retrieve(MODEL).id == MODEL
    assert MODEL in [m.id for m in sdk.models.list()]
    with Emulator(key="right") as locked, client(locked, "wrong") as wrong, client(locked, "right") as right:
        with pytest.raises(openai.AuthenticationError) as shut:
            wrong.models.list()
        assert shut.value.code == "invalid_api_key"
        assert "wrong" not in str(shut.value)
        assert right.models.list().data
        assert locked.environ()["OPENAI_API_KEY"] == "right"


@pytest.mark.parametrize("packed", ["float", "base64"])
def test_embeddings(sdk: openai.OpenAI, packed: Any, emulator: Emulator) -> None:
    model = "text-embedding-3-small"
    reply = sdk.embeddings.create(model=model, input=["a", "b", "a"], dimensions=64, encoding_format=packed)
    vectors = [d.embedding for d in reply.data]
    if packed == "float":
        assert vectors[0] == answer_vector("a", model=model, dimensions=64)
        assert vectors[0] == vectors[2] != vectors[1]
        assert math.isclose(math.hypot(*vectors[0]), 1, rel_tol=1e-6)
    else:
        plain = sdk.embeddings.create(model=model, input=["a"], dimensions=64)
        assert plain.data[0].embedding == answer_vector("a", model=model, dimensions=64)
    assert [d.index for d in reply.data] == [0, 1, 2]
    assert emulator.stats().prompts["a"] >= 2


@pytest.mark.parametrize("texts", ["", [], ["a", ""], ["x"] * 2049, [[]]])
def test_wrong_embeddings_are_refused(sdk: openai.OpenAI, texts: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.embeddings.create(model="text-embedding-3-small", input=texts)
    assert refused.value.param == "input"


def test_token_inputs_and_default_dimensions(sdk: openai.OpenAI) -> None:
    assert len(sdk.embeddings.create(model="text-embedding-3-large", input=[1, 2, 3]).data[0].embedding) == 3072
    assert len(sdk.embeddings.create(model="text-embedding-3-small", input=[[1], [2]]).data) == 2


def test_your_own_answers() -> None:
    def answer(request: Any) -> Any:
        match request.prompt:
            case "refuse":
                return EmulatedAnswer("I cannot.", "refusal", Usage(7, 3, 2, 1, 1))
            case "filter":
                return EmulatedAnswer("", "filtered")
            case "raise":
                msg = "no idea"
                raise LookupError(msg)
            case "map":
                return {"n": 1}
            case _:
                pass
        return f"{request.provider} {request.model} {request.system} {request.max_tokens} {request.prompt}"

    with Emulator(answer=answer) as emulator, client(emulator) as sdk:

        def ask(prompt: str) -> Any:
            messages: Any = [{"role": "developer", "content": "S"}, {"role": "user", "content": prompt}]
            return sdk.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=50)

        refused = ask("refuse")
        assert (refused.choices[0].message.content, refused.choices[0].message.refusal) == (None, "I cannot.")
        assert refused.usage.prompt_tokens_details.cached_tokens == 2
        assert refused.usage.completion_tokens_details.reasoning_tokens == 1
        assert ask("filter").choices[0].finish_reason == "content_filter"
        assert ask("map").choices[0].message.content == '{"n": 1}'
        assert ask("ünï").choices[0].message.content == "openai gpt-6-luna S 50 ünï"
        with pytest.raises(openai.BadRequestError, match="LookupError: no idea"):
            ask("raise")
        assert emulator.stats().answered == 4


def test_limits_are_told_in_headers() -> None:
    now = [0.0]
    limits = Limits(requests_per_minute=2, tokens_per_minute=6000)
    with Emulator(limits=limits, clock=lambda: now[0]) as emulator, client(emulator) as sdk:

        def ask() -> Any:
            return sdk.chat.completions.with_raw_response.create(model=MODEL, messages=ASKED)  # type: ignore[arg-type]

        headers = ask().headers
        assert headers["x-ratelimit-limit-requests"] == "2"
        assert headers["x-ratelimit-remaining-requests"] == "1"
        assert headers["x-ratelimit-reset-requests"] == "30s"
        assert headers["x-ratelimit-remaining-tokens"] == str(6000 - 11)
        assert headers["x-ratelimit-reset-tokens"] == "110ms"
        ask()
        with pytest.raises(openai.RateLimitError) as refused:
            ask()
        assert refused.value.code == "rate_limit_exceeded"
        assert refused.value.response.headers["retry-after"] == "30"
        assert refused.value.response.headers["retry-after-ms"] == "30000"
        assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        now[0] = 30.0
        ask()
        assert (emulator.stats().answered, emulator.stats().refused) == (3, 1)


def test_tokens_are_limited_too() -> None:
    now = [0.0]
    with (
        Emulator(limits=Limits(tokens_per_minute=20, retry_after=0.05), clock=lambda: now[0]) as emulator,
        client(emulator) as sdk,
    ):
        for _ in range(2):
            sdk.chat.completions.create(model=MODEL, messages=ASKED)  # type: ignore[arg-type]
        with pytest.raises(openai.RateLimitError, match="tokens per min") as refused:
            sdk.chat.completions.create(model=MODEL, messages=ASKED)  # type: ignore[arg-type]
        assert refused.value.response.headers["retry-after"] == "0.05"
        sdk.chat.completions.create(model="another", messages=ASKED)  # type: ignore[arg-type]


def test_examples_follow_the_lowered_schema(sdk: openai.OpenAI) -> None:
    assert set(example(STRICT, "s")) == {"prime", "why"}
    nested = {**STRICT, "properties": {"prime": {"$ref": "#/$defs/P"}, "why": STRICT["properties"]["why"]}}  # type: ignore[index]
    nested["$defs"] = {"P": {"type": "boolean"}}
    plain, lowered = (
        sdk.chat.completions.create(model=MODEL, messages=ASKED, response_format=wanting(s))  # type: ignore[arg-type]
        for s in (STRICT, nested)
    )
    assert plain.choices[0].message.content == lowered.choices[0].message.content
