"""Groq's own SDK is the judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import groq
import jsonschema
import pytest

from polar_llama.testing import Emulator, Limits, answer_text

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "openai/gpt-oss-20b"
ASKED: Any = [{"role": "user", "content": "Is 7 prime?"}]
SCHEMA = {
    "type": "object",
    "properties": {"prime": {"type": "boolean"}},
    "required": ["prime"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def sdk(running: Emulator) -> Iterator[groq.Groq]:
    with groq.Groq(base_url=running.base_url("groq"), api_key="any", max_retries=0) as made:
        yield made


def test_a_chat_completion(sdk: groq.Groq, emulator: Emulator) -> None:
    reply = sdk.chat.completions.create(model=MODEL, messages=ASKED, reasoning_effort="low", temperature=0.5)
    assert reply.choices[0].message.content == answer_text("Is 7 prime?", model=MODEL)
    assert reply.usage is not None
    assert reply.usage.total_time
    assert reply.x_groq is not None
    assert reply.x_groq.id.startswith("req_")
    assert emulator.stats().by_provider == {"groq": 1}
    assert MODEL in [m.id for m in sdk.models.list().data]


def test_structured_output(sdk: groq.Groq) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    reply = sdk.chat.completions.create(model=MODEL, messages=ASKED, response_format=wanted)
    jsonschema.validate(json.loads(reply.choices[0].message.content or ""), SCHEMA)


@pytest.mark.parametrize(
    "changed",
    [
        {"n": 2},
        {"logprobs": True},
        {"metadata": {"a": "b"}},
        {"reasoning_effort": "xhigh"},
        {"reasoning_format": "parsed", "include_reasoning": True},
        {"extra_body": {"verbosity": "low"}},
    ],
)
def test_what_groq_does_not_take(sdk: groq.Groq, changed: dict[str, Any]) -> None:
    with pytest.raises(groq.BadRequestError):
        sdk.chat.completions.create(**{"model": MODEL, "messages": ASKED, **changed})


def test_limits_and_unknown_things(sdk: groq.Groq) -> None:
    with pytest.raises(groq.NotFoundError):
        sdk.chat.completions.create(model="missing-model", messages=ASKED)
    with pytest.raises(groq.NotFoundError):
        sdk.embeddings.create(model="nomic-embed-text-v1_5", input="x")
    with (
        Emulator(limits=Limits(max_in_flight=0, retry_after=2)) as emulator,
        groq.Groq(base_url=emulator.base_url("groq"), api_key="any", max_retries=0) as limited,
        pytest.raises(groq.RateLimitError) as refused,
    ):
        limited.chat.completions.create(model=MODEL, messages=ASKED)
    assert refused.value.response.headers["retry-after"] == "2"
    assert "retry-after-ms" not in refused.value.response.headers
