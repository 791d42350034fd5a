"""Google's own SDK is the judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from polar_llama.providers.base import Usage
from polar_llama.testing import EmulatedAnswer, EmulatedFault, Emulator, answer_text, answer_vector

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "gemini-3.8-flash"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 9}}, "required": ["n"]}


def client(emulator: Emulator, key: str = "any") -> genai.Client:
    once = types.HttpRetryOptions(attempts=1)
    options = types.HttpOptions(base_url=emulator.base_url("gemini"), retry_options=once)
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture(scope="module")
def sdk(running: Emulator) -> Iterator[genai.Client]:
    made = client(running)
    yield made
    made.close()


def test_a_text(sdk: genai.Client, emulator: Emulator) -> None:
    config = types.GenerateContentConfig(system_instruction="Be brief.", temperature=0, seed=1, max_output_tokens=99)
    reply = sdk.models.generate_content(model=MODEL, contents="Is 7 prime?", config=config)
    assert reply.text == answer_text("Is 7 prime?", model=MODEL, system="Be brief.")
    assert reply.candidates is not None
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    usage = reply.usage_metadata
    assert usage is not None
    assert usage.total_token_count == (usage.prompt_token_count or 0) + (usage.candidates_token_count or 0)
    assert (reply.model_version, reply.response_id) == (MODEL, "emulated")
    assert emulator.stats().by_provider == {"gemini": 1}


def test_a_conversation(sdk: genai.Client) -> None:
    said: Any = [
        {"role": "user", "parts": [{"text": "Hello"}]},
        {"role": "model", "parts": [{"text": "Hi"}]},
        {"role": "user", "parts": [{"text": "Is 7 prime?"}]},
    ]
    before = [("user", "Hello"), ("assistant", "Hi")]
    reply = sdk.models.generate_content(model=MODEL, contents=said)
    assert reply.text == answer_text("Is 7 prime?", model=MODEL, before=before)


def test_structured_output(sdk: genai.Client) -> None:
    class Verdict(BaseModel):
        prime: bool
        why: str | None

    config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=SCHEMA)
    reply = sdk.models.generate_content(model=MODEL, contents="How many?", config=config)
    jsonschema.validate(json.loads(reply.text or ""), SCHEMA)
    assert reply.text == answer_text("How many?", model=MODEL, schema=SCHEMA)
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Verdict)
    assert isinstance(sdk.models.generate_content(model=MODEL, contents="x", config=config).parsed, Verdict)
    config = types.GenerateContentConfig(response_mime_type="application/json")
    reply = sdk.models.generate_content(model=MODEL, contents="x", config=config)
    assert isinstance(json.loads(reply.text or ""), dict)


def test_embeddings(sdk: genai.Client) -> None:
    config = types.EmbedContentConfig(output_dimensionality=32)
    texts: Any = [types.Content(parts=[types.Part(text=t)]) for t in "ab"]
    reply = sdk.models.embed_content(model="gemini-embedding-001", contents=texts, config=config)
    assert reply.embeddings is not None
    assert [e.values for e in reply.embeddings] == [
        answer_vector(t, model="gemini-embedding-001", dimensions=32) for t in "ab"
    ]


def post(emulator: Emulator, body: Any, verb: str = "generateContent") -> httpx.Response:
    return httpx.post(f"{emulator.base_url('gemini')}/v1/models/{MODEL}:{verb}", json=body)


CONTENTS = [{"role": "user", "parts": [{"text": "x"}]}]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "contents is not specified"),
        ({"contents": CONTENTS, "colour": 1}, 'Unknown name "colour"'),
        ({"contents": CONTENTS, "generationConfig": {"max_tokens": 1}}, 'Unknown name "max_tokens"'),
        ({"contents": CONTENTS, "generationConfig": {"temperature": 3}}, "temperature"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": CONTENTS, "generationConfig": {"responseJsonSchema": SCHEMA}}, "mime type"),
        (
            {
                "contents": CONTENTS,
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseJsonSchema": SCHEMA,
                    "responseSchema": SCHEMA,
                },
            },
            "Only one",
        ),
        (
            {
                "contents": CONTENTS,
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseJsonSchema": {"allOf": [SCHEMA]},
                },
            },
            "allOf",
        ),
    ],
)
def test_wrong_requests_are_refused(emulator: Emulator, body: Any, says: str) -> None:
    reply = post(emulator, body)
    assert reply.status_code == 400
    assert reply.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert says in reply.json()["error"]["message"]


def test_wrong_embeddings_are_refused(emulator: Emulator) -> None:
    one = {"model": f"models/{MODEL}", "content": {"parts": [{"text": "x"}]}}
    for wrong in ([], [one] * 101, [{**one, "model": "models/other"}], [{**one, "colour": 1}]):
        assert post(emulator, {"requests": wrong}, "batchEmbedContents").status_code == 400
    assert post(emulator, {"content": one["content"]}, "embedContent").json()["embedding"]["values"]


def test_finish_reasons() -> None:
    said = {
        "refuse": EmulatedAnswer("No.", "refusal", Usage(9, 7, 4, 0, 2)),
        "block": EmulatedAnswer("", "filtered"),
    }
    with Emulator(answer=lambda r: said[r.prompt], key="right") as emulator:
        sdk = client(emulator, "right")
        refused = sdk.models.generate_content(model=MODEL, contents="refuse")
        assert refused.candidates is not None
        assert refused.candidates[0].finish_reason == types.FinishReason.SAFETY
        usage = refused.usage_metadata
        assert usage is not None
        assert (usage.cached_content_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (4, 5, 2)
        blocked = sdk.models.generate_content(model=MODEL, contents="block")
        assert blocked.candidates is None
        assert blocked.prompt_feedback is not None
        assert blocked.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
        sdk.close()
        wrong = client(emulator, "wrong")
        with pytest.raises(errors.ClientError) as shut:
            wrong.models.generate_content(model=MODEL, contents="refuse")
        wrong.close()
        assert shut.value.code == 400
        assert "API_KEY_INVALID" in json.dumps(shut.value.details)


def test_faults_in_googles_words(sdk: genai.Client, emulator: Emulator) -> None:
    emulator.fail(lambda _: EmulatedFault("rate_limited", retry_after=0.25))
    with pytest.raises(errors.ClientError) as limited:
        sdk.models.generate_content(model=MODEL, contents="x")
    assert limited.value.code == 429
    assert limited.value.status == "RESOURCE_EXHAUSTED"
    assert "0.25s" in json.dumps(limited.value.details)
    emulator.fail(lambda _: EmulatedFault("overloaded"))
    with pytest.raises(errors.ServerError) as busy:
        sdk.models.generate_content(model=MODEL, contents="x")
    assert (busy.value.code, busy.value.status) == (503, "UNAVAILABLE")
    with pytest.raises(errors.ClientError) as missing:
        sdk.models.generate_content(model="missing-model", contents="x")
    assert missing.value.code == 404
