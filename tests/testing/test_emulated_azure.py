"""OpenAI's own SDK is the judge, in its form for Azure."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from polar_llama.testing import Emulator, Limits, answer_text, answer_vector

MODEL = "gpt-6-luna"
ASKED: Any = [{"role": "user", "content": "Is 7 prime?"}]
VERSION = "2026-10-01"


def dated(emulator: Emulator, **changed: Any) -> openai.AzureOpenAI:
    given = {"api_key": "any", "api_version": VERSION, "azure_endpoint": emulator.base_url("azure"), **changed}
    return openai.AzureOpenAI(max_retries=0, **given)


def undated(emulator: Emulator) -> openai.OpenAI:
    return openai.OpenAI(base_url=emulator.base_url("azure") + "/openai/v1", api_key="any", max_retries=0)


@pytest.mark.parametrize("made", [dated, undated])
def test_chat_and_embeddings(made: Any, emulator: Emulator) -> None:
    with made(emulator) as sdk:
        reply = sdk.chat.completions.create(model=MODEL, messages=ASKED, max_completion_tokens=99)
        assert reply.choices[0].message.content == answer_text("Is 7 prime?", model=MODEL)
        assert reply.usage is not None
        vectors = sdk.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=8)
    assert [v.embedding for v in vectors.data] == [
        pytest.approx(answer_vector(text, model="text-embedding-3-small", dimensions=8)) for text in "ab"
    ]
    assert emulator.stats().by_provider == {"azure": 2}


def test_errors(emulator: Emulator) -> None:
    with dated(emulator) as sdk, pytest.raises(openai.NotFoundError) as missing:
        sdk.chat.completions.create(model="missing-model", messages=ASKED)
    assert missing.value.code == "DeploymentNotFound"
    with dated(emulator, api_version="latest") as sdk, pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model=MODEL, messages=ASKED)
    with dated(emulator) as sdk, pytest.raises(openai.NotFoundError):
        sdk.models.list()
    with dated(emulator) as sdk, pytest.raises(openai.BadRequestError):
        sdk.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=5)


def test_keys_and_limits() -> None:
    with Emulator(key="right", limits=Limits(max_in_flight=0, retry_after=2)) as emulator:
        with dated(emulator) as sdk, pytest.raises(openai.AuthenticationError):
            sdk.chat.completions.create(model=MODEL, messages=ASKED)
        with dated(emulator, api_key="right") as sdk, pytest.raises(openai.RateLimitError) as refused:
            sdk.chat.completions.create(model=MODEL, messages=ASKED)
        with dated(emulator, api_key=None, azure_ad_token="right") as sdk, pytest.raises(openai.RateLimitError):
            sdk.chat.completions.create(model=MODEL, messages=ASKED)
    assert refused.value.response.headers["retry-after"] == "2"
