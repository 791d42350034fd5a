"""boto3 is the judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]
import httpx
import jsonschema
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from polar_llama.providers.base import Usage
from polar_llama.testing import EmulatedAnswer, EmulatedFault, Emulator, answer_text, answer_vector

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "amazon.nova-lite-v1:0"
ASKED: Any = [{"role": "user", "content": [{"text": "Is 7 prime?"}]}]
SCHEMA: Any = {
    "type": "object",
    "properties": {"prime": {"type": "boolean"}},
    "required": ["prime"],
    "additionalProperties": False,
}


def client(emulator: Emulator, key: str = "any") -> Any:
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=emulator.base_url("bedrock"),
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        config=Config(retries={"max_attempts": 1, "mode": "standard"}),
    )


@pytest.fixture(scope="module")
def sdk(running: Emulator) -> Iterator[Any]:
    made = client(running)
    yield made
    made.close()


def test_converse(sdk: Any, emulator: Emulator) -> None:
    config = {"maxTokens": 100, "temperature": 0.0}
    reply = sdk.converse(modelId=MODEL, messages=ASKED, system=[{"text": "Be brief."}], inferenceConfig=config)
    said = answer_text("Is 7 prime?", model=MODEL, system="Be brief.")
    assert reply["output"]["message"]["content"] == [{"text": said}]
    assert reply["stopReason"] == "end_turn"
    assert reply["usage"]["totalTokens"] == reply["usage"]["inputTokens"] + reply["usage"]["outputTokens"]
    assert reply["ResponseMetadata"]["RequestId"]
    assert emulator.stats().by_provider == {"bedrock": 1}


def test_structured_output_and_forced_tools(sdk: Any) -> None:
    wanted = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "answer"}}}
    reply = sdk.converse(modelId=MODEL, messages=ASKED, outputConfig={"textFormat": wanted})
    jsonschema.validate(json.loads(reply["output"]["message"]["content"][0]["text"]), SCHEMA)
    spec = {"toolSpec": {"name": "answer", "inputSchema": {"json": SCHEMA}}}
    tools = {"tools": [spec], "toolChoice": {"tool": {"name": "answer"}}}
    called = sdk.converse(modelId=MODEL, messages=ASKED, toolConfig=tools)
    assert called["stopReason"] == "tool_use"
    jsonschema.validate(called["output"]["message"]["content"][0]["toolUse"]["input"], SCHEMA)


def test_embeddings(sdk: Any) -> None:
    titan = "amazon.titan-embed-text-v2:0"
    reply = sdk.invoke_model(modelId=titan, body=json.dumps({"inputText": "a", "dimensions": 256}))
    assert json.load(reply["body"])["embedding"] == answer_vector("a", model=titan, dimensions=256)
    cohere = "cohere.embed-v4:0"
    body = {"texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"]}
    reply = sdk.invoke_model(modelId=cohere, body=json.dumps(body))
    assert json.load(reply["body"])["embeddings"]["float"][1] == answer_vector("b", model=cohere, dimensions=1024)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": ""}),
        ("amazon.titan-embed-text-v2:0", {"inputText": "a", "dimensions": 3}),
        ("cohere.embed-v4:0", {"texts": ["a"]}),
        ("cohere.embed-v4:0", {"texts": ["a"] * 97, "input_type": "search_query"}),
        (MODEL, {"inputText": "a"}),
    ],
)
def test_wrong_embeddings_are_refused(sdk: Any, model: str, body: Any) -> None:
    with pytest.raises(ClientError) as refused:
        sdk.invoke_model(modelId=model, body=json.dumps(body))
    assert refused.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": ASKED, "colour": "red"},
        {"messages": ASKED, "inferenceConfig": {"seed": 1}},
        {"messages": ASKED, "inferenceConfig": {"temperature": 1.5}},
        {"messages": [{"role": "user", "content": [{"text": ""}]}]},
        {"messages": [{"role": "user", "content": "Is 7 prime?"}]},
        {"messages": [{"role": "developer", "content": [{"text": "x"}]}]},
        {"messages": ASKED, "outputConfig": {"textFormat": {"type": "json_schema"}}},
        {
            "messages": ASKED,
            "outputConfig": {
                "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type":"object"}'}}}
            },
        },
    ],
)
def test_wrong_requests_are_refused(emulator: Emulator, body: Any) -> None:
    url = f"{emulator.base_url('bedrock')}/model/{MODEL}/converse"
    reply = httpx.post(url, json=body, headers={"authorization": "Bearer any"})
    assert reply.status_code == 400
    assert reply.headers["x-amzn-errortype"] == "ValidationException"


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("rate_limited", "ThrottlingException", 429),
        ("overloaded", "ServiceUnavailableException", 503),
        ("server_error", "InternalServerException", 500),
        ("quota", "ServiceQuotaExceededException", 400),
        ("auth", "AccessDeniedException", 403),
    ],
)
def test_faults_in_amazons_words(sdk: Any, emulator: Emulator, kind: Any, code: str, status: int) -> None:
    emulator.fail(lambda _: EmulatedFault(kind))
    with pytest.raises(ClientError) as failed:
        sdk.converse(modelId=MODEL, messages=ASKED)
    assert failed.value.response["Error"]["Code"] == code
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_keys_models_and_finish_reasons() -> None:
    said = EmulatedAnswer("No.", "refusal", Usage(30, 3, 10, 5))
    with Emulator(answer=lambda _: said, key="AKIAEMULATED") as emulator:
        right, wrong = client(emulator, "AKIAEMULATED"), client(emulator, "AKIAOTHER")
        reply = right.converse(modelId=MODEL, messages=ASKED)
        assert reply["stopReason"] == "content_filtered"
        assert (reply["usage"]["inputTokens"], reply["usage"]["cacheReadInputTokens"]) == (15, 10)
        with pytest.raises(ClientError, match="AccessDenied"):
            wrong.converse(modelId=MODEL, messages=ASKED)
        with pytest.raises(ClientError, match="ResourceNotFound"):
            right.converse(modelId="missing-model", messages=ASKED)
        assert emulator.environ()["AWS_ACCESS_KEY_ID"] == "AKIAEMULATED"
        right.close()
        wrong.close()
