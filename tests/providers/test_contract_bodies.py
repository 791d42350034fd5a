"""Request bodies, judged by the vendors' own clients: their types, and what they send themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import boto3  # type: ignore[import-untyped]
import groq
import httpx
import httpx2
import openai
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from botocore.config import Config
from botocore.exceptions import ClientError
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as gemini
from groq.types.chat.completion_create_params import CompletionCreateParams
from pydantic import TypeAdapter
from pydantic_core import from_json

from polar_llama.providers.anthropic_body import MAX_TOKENS
from polar_llama.providers.base import Ask, Request
from polar_llama.providers.bedrock_body import fill as bedrock_fill
from polar_llama.providers.bedrock_body import prepare as bedrock_prepare
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from polar_llama.providers.base import Provider
    from tests.providers.conftest import Connect, Script

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "properties": {"prime": {"type": "boolean"}},
    "required": ["prime"],
    "additionalProperties": False,
}
CONVERSATION = json.dumps(
    [
        {"role": "system", "content": "Speak plainly."},
        {"role": "user", "content": "Is 7 prime?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [{"type": "text", "text": "And 8?"}]},
    ]
)
SDK = httpx2.MockTransport


async def sent(script: Script, connect: Connect, name: str, request: Request, **environ: str) -> httpx.Request:
    """What a provider sends to its vendor."""
    async with script.client() as client, connect(name, environ, client) as provider:
        await provider.complete(request)
    return script.requests[-1]


def capture(into: list[Any]) -> Any:
    def handle(request: Any) -> Any:
        into.append(request)
        kind = httpx2.Response if isinstance(request, httpx2.Request) else httpx.Response
        return kind(418, json={"error": {"message": "a teapot", "code": 418, "status": "TEAPOT"}})

    return handle


ANTHROPIC = Ask(
    "claude-haiku-5-5",
    system="Be brief.",
    max_tokens=100,
    options='{"output_config":{"effort":"low"},"stop_sequences":["END"]}',
    schema=json.dumps(SCHEMA),
)


async def test_anthropic_sends_what_its_sdk_sends(script: Script, connect: Connect) -> None:
    ours = await sent(script, connect, "anthropic", Request(ANTHROPIC, "Is 7 prime?"), ANTHROPIC_API_KEY="k-123456789")
    body = from_json(ours.content)
    TypeAdapter(MessageCreateParamsNonStreaming).validate_python(body)
    assert set(body) <= set(MessageCreateParamsNonStreaming.__annotations__) | {
        "model",
        "messages",
        "max_tokens",
    } | set(MessageCreateParamsNonStreaming.__optional_keys__)
    theirs: list[httpx2.Request] = []
    with (
        anthropic.Anthropic(
            api_key="k-123456789", max_retries=0, http_client=httpx2.Client(transport=SDK(capture(theirs)))
        ) as sdk,
        pytest.raises(anthropic.APIStatusError),
    ):
        sdk.messages.create(
            model="claude-haiku-5-5",
            max_tokens=100,
            system=[{"type": "text", "text": "Be brief."}],
            messages=[{"role": "user", "content": "Is 7 prime?"}],
            output_config={"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
            stop_sequences=["END"],
        )
    assert body == from_json(theirs[0].content)
    assert str(ours.url) == str(theirs[0].url)
    assert ours.headers["anthropic-version"] == theirs[0].headers["anthropic-version"] == "2026-10-21"
    assert ours.headers["x-api-key"] == "k-123456789"


async def test_anthropic_sends_what_is_given_and_nothing_else(script: Script, connect: Connect) -> None:
    ours = await sent(script, connect, "anthropic", Request(Ask("claude-x"), "?"), ANTHROPIC_AUTH_TOKEN="t-123456789")
    expected = {"model": "claude-x", "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": "?"}]}
    assert from_json(ours.content) == expected
    assert ours.headers["authorization"] == "Bearer t-123456789"
    assert "x-api-key" not in ours.headers


@pytest.mark.parametrize("form", ["conversation", "repair", "tool"])
async def test_anthropics_types_take_every_shape(script: Script, connect: Connect, form: str) -> None:
    ask = Ask("claude-haiku-5-5", system="Be brief.", conversation=form == "conversation")
    if form == "tool":
        ask = Ask("claude-3-5-sonnet-20241022", temperature=0.5, schema=json.dumps(SCHEMA), schema_name="Verdict")
    prompt = CONVERSATION if form == "conversation" else "?"
    request = Request(ask, prompt, repair=("", "nothing") if form == "repair" else None)
    ours = await sent(script, connect, "anthropic", request, ANTHROPIC_API_KEY="k-123456789")
    body = from_json(ours.content)
    if form == "tool":
        assert body.pop("temperature") == 0.5, "the newest SDK has forgotten it"
        assert ours.headers["anthropic-version"] == "2023-06-01"
        assert body["tools"][0]["input_schema"] == SCHEMA
        assert body["tool_choice"] == {"type": "tool", "name": "Verdict"}
    TypeAdapter(MessageCreateParamsNonStreaming).validate_python(body)
    if form == "conversation":
        assert [block["text"] for block in body["system"]] == ["Be brief.", "Speak plainly."]
        assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    if form == "repair":
        assert [turn["content"] for turn in body["messages"]][:2] == ["?", "(empty)"]


GEMINI = Ask(
    "gemini-2.5-flash",
    system="Be brief.",
    temperature=0.5,
    max_tokens=100,
    seed=7,
    options='{"generationConfig":{"stopSequences":["END"]},"serviceTier":"flex"}',
    schema=json.dumps(SCHEMA),
)


async def test_gemini_sends_what_its_sdk_sends(script: Script, connect: Connect) -> None:
    ours = await sent(script, connect, "gemini", Request(GEMINI, "Is 7 prime?"), GEMINI_API_KEY="k-123456789")
    body = from_json(ours.content)
    theirs: list[httpx2.Request] = []
    options = gemini.HttpOptions(httpx_client=httpx2.Client(transport=SDK(capture(theirs))))
    sdk = genai.Client(api_key="k-123456789", http_options=options)
    with pytest.raises(genai_errors.APIError):
        sdk.models.generate_content(
            model="gemini-2.5-flash",
            contents="Is 7 prime?",
            config=gemini.GenerateContentConfig(
                system_instruction="Be brief.",
                temperature=0.5,
                max_output_tokens=100,
                seed=7,
                response_mime_type="application/json",
                response_json_schema=SCHEMA,
                stop_sequences=["END"],
                service_tier=gemini.ServiceTier.FLEX,
            ),
        )
    said = from_json(theirs[0].content)
    said["systemInstruction"].pop("role", None)  # the SDK says `user` there
    assert body == said
    assert str(ours.url) == str(theirs[0].url)
    assert ours.headers["x-goog-api-key"] == theirs[0].headers["x-goog-api-key"]


async def test_gemini_sends_what_is_given_and_nothing_else(script: Script, connect: Connect) -> None:
    ours = await sent(script, connect, "gemini", Request(Ask("tunedModels/my own"), "?"), GOOGLE_API_KEY="k-123456789")
    assert from_json(ours.content) == {"contents": [{"role": "user", "parts": [{"text": "?"}]}]}
    assert ours.url.raw_path == b"/v1/tunedModels/my%20own:generateContent"


async def test_geminis_types_take_conversations(script: Script, connect: Connect) -> None:
    ask = Ask("gemini-2.5-flash", system="Be brief.", conversation=True)
    ours = await sent(script, connect, "gemini", Request(ask, CONVERSATION), GEMINI_API_KEY="k-123456789")
    body = from_json(ours.content)
    assert [gemini.Content.model_validate(turn).role for turn in body["contents"]] == ["user", "model", "user"]
    told = gemini.Content.model_validate(body["systemInstruction"])
    assert [part.text for part in told.parts or ()] == ["Be brief.", "Speak plainly."]


async def test_the_key_of_google_wins(script: Script, connect: Connect) -> None:
    keys = {"GEMINI_API_KEY": "gemini-key-123", "GOOGLE_API_KEY": "google-key-123"}
    ours = await sent(script, connect, "gemini", Request(Ask("gemini-x"), "?"), **keys)
    assert ours.headers["x-goog-api-key"] == "google-key-123"


GROQ = Ask(
    "openai/gpt-oss-20b",
    system="Be brief.",
    temperature=0.5,
    max_tokens=100,
    seed=7,
    options='{"reasoning_effort":"low"}',
    schema=json.dumps(SCHEMA),
    schema_name="Verdict",
)


async def test_groq_sends_what_its_sdk_sends(script: Script, connect: Connect) -> None:
    ours = await sent(script, connect, "groq", Request(GROQ, "Is 7 prime?"), GROQ_API_KEY="k-123456789")
    body = from_json(ours.content)
    TypeAdapter(CompletionCreateParams).validate_python(body)
    assert set(body) <= set(CompletionCreateParams.__annotations__)
    theirs: list[httpx.Request] = []
    with (
        groq.Groq(
            api_key="k-123456789",
            max_retries=0,
            http_client=httpx.Client(transport=httpx.MockTransport(capture(theirs))),
        ) as sdk,
        pytest.raises(groq.APIStatusError),
    ):
        sdk.chat.completions.create(
            model="openai/gpt-oss-20b",
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is 7 prime?"}],
            temperature=0.5,
            max_completion_tokens=100,
            seed=7,
            reasoning_effort="low",
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "Verdict", "schema": SCHEMA, "strict": True},
            },
        )
    assert body == from_json(theirs[0].content)
    assert str(ours.url) == str(theirs[0].url)
    assert ours.headers["authorization"] == theirs[0].headers["authorization"]


async def test_groq_holds_only_some_models_to_a_schema(script: Script, connect: Connect) -> None:
    ask = Ask("qwen/qwen3.8-27b", schema=json.dumps(SCHEMA))
    ours = await sent(script, connect, "groq", Request(ask, "?"), GROQ_API_KEY="k-123456789")
    assert from_json(ours.content)["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize("version", ["", "2025-04-01-preview"])
@pytest.mark.parametrize("secret", ["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"])
async def test_azure_is_asked_as_the_sdk_asks(script: Script, connect: Connect, version: str, secret: str) -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": "https://my.openai.azure.com/", secret: "k-123456789"}
    if version:
        environ["OPENAI_API_VERSION"] = version
    ours = await sent(script, connect, "azure", Request(Ask("my-deployment", max_tokens=5), "?"), **environ)
    theirs: list[httpx2.Request] = []
    client = httpx2.Client(transport=SDK(capture(theirs)))
    credential: dict[str, Any] = {"azure_ad_token": "k-123456789"} if "TOKEN" in secret else {"api_key": "k-123456789"}
    with (
        openai.AzureOpenAI(
            azure_endpoint="https://my.openai.azure.com",
            api_version=version or "unused",
            http_client=client,
            max_retries=0,
            **credential,
        ) as sdk,
        pytest.raises(openai.APIStatusError),
    ):
        sdk.chat.completions.create(
            model="my-deployment", messages=[{"role": "user", "content": "?"}], max_completion_tokens=5
        )
    assert from_json(ours.content) == from_json(theirs[0].content)
    header = "authorization" if "TOKEN" in secret else "api-key"
    assert ours.headers[header] == theirs[0].headers[header]
    if version:
        assert str(ours.url) == str(theirs[0].url)
    else:
        assert str(ours.url) == "https://my.openai.azure.com/openai/v1/chat/completions"


BEDROCK = Ask(
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    system="Be brief.",
    temperature=0.5,
    max_tokens=100,
    options='{"additionalModelRequestFields":{"top_k":5},"inferenceConfig":{"stopSequences":["END"]}}',
    schema=json.dumps(SCHEMA),
)


async def test_bedrock_sends_what_its_sdk_sends(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is read where it arrives; botocore itself checks it against the service model on the way."""
    seen: list[Any] = []

    def answer(request: Any) -> Any:
        seen.append(request.body)
        return {"prime": True}

    with Emulator(answer=answer) as emulator:
        async with connect("bedrock", emulator.environ()) as provider:
            await provider.complete(Request(BEDROCK, "Is 7 prime?"))
        sdk = boto3.client(
            "bedrock-runtime",
            endpoint_url=emulator.base_url("bedrock"),
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=Config(retries={"max_attempts": 1}),
        )
        format_ = {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "answer"}},
        }
        sdk.converse(
            modelId=BEDROCK.model,
            system=[{"text": "Be brief."}],
            messages=[{"role": "user", "content": [{"text": "Is 7 prime?"}]}],
            inferenceConfig={"maxTokens": 100, "temperature": 0.5, "stopSequences": ["END"]},
            additionalModelRequestFields={"top_k": 5},
            outputConfig={"textFormat": format_},
        )
        sdk.close()
    for body in seen:
        given = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        given["schema"] = json.loads(given["schema"])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("form", ["schema", "tool", "prompt"])
def test_the_service_model_takes_every_form(form: Any) -> None:
    shared = bedrock_prepare(BEDROCK, form)
    body = bedrock_fill(shared, Request(BEDROCK, "?", repair=("", "nothing")))
    client = boto3.client("bedrock-runtime", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
    client.meta.events.register("before-send", lambda **_: (_ for _ in ()).throw(ClientError({}, "stopped here")))
    with pytest.raises(ClientError, match="stopped here"):
        client.converse(**body)
    client.close()


def test_the_provider_protocol_is_met() -> None:
    """The classes are providers, for mypy."""
    from polar_llama.providers.azure import AzureProvider
    from polar_llama.providers.bedrock import BedrockProvider
    from polar_llama.providers.wire import WireProvider

    made: list[type[Provider]] = [AzureProvider, BedrockProvider, WireProvider]
    assert all(hasattr(kind, "check") for kind in made)
