"""What every provider promises, against the emulator. A new wire format joins by a line in `WIRES`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from polar_llama.providers.base import Ask, Failure, Request, Response, Usage
from polar_llama.testing import EmulatedAnswer, EmulatedFault, Emulator, Limits, answer_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from polar_llama.providers.base import Finish, Provider
    from polar_llama.testing import FaultKind
    from tests.providers.conftest import Connect

pytestmark = pytest.mark.anyio

CANARY = "the walrus rides at midnight"
KEY = "secret-key-0123456789"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"prime": {"type": "boolean"}, "why": {"type": "string"}},
    "required": ["prime", "why"],
}


@dataclass(frozen=True)
class Wire:
    """A provider under test.

    Attributes:
        name: The provider's name, and the emulator's.
        model: A model of its.
        overloaded: The status with which it says that it is overloaded.
        says_limits: Whether it tells its rate limits.
        says_wait: Whether it tells how long to wait.
        refusal: How it says that the model refused.
        filtered: How it says that a filter withheld the answer; Groq has no word for it.
        reasoning: The tokens of thought it tells of, of ten.
        version: The API's, where one is set.
    """

    name: str
    model: str
    overloaded: int = 503
    says_limits: bool = True
    says_wait: bool = True
    refusal: Finish = "refusal"
    filtered: Finish = "filtered"
    reasoning: int = 10
    version: str = ""


WIRES = [
    Wire("openai", "gpt-6-luna"),
    Wire("anthropic", "claude-haiku-5-5", overloaded=529, filtered="refusal"),
    Wire("gemini", "gemini-3.8-flash", says_limits=False, refusal="filtered"),
    Wire("groq", "openai/gpt-oss-20b", filtered="stop"),
    Wire("azure", "gpt-6-luna"),
    Wire("azure", "gpt-6-luna", version="2026-10-01"),
    Wire("bedrock", "amazon.nova-lite-v1:0", says_limits=False, says_wait=False, refusal="filtered", reasoning=0),
]


@pytest.fixture(params=WIRES, ids=lambda wire: wire.name + wire.version)
def wire(request: pytest.FixtureRequest) -> Wire:
    found: Wire = request.param
    return found


@pytest.fixture
def ask(wire: Wire) -> Ask:
    return Ask(wire.model)


def environ_of(wire: Wire, emulator: Emulator) -> dict[str, str]:
    return {**emulator.environ(), **({"OPENAI_API_VERSION": wire.version} if wire.version else {})}


@pytest.fixture
def emulator() -> Any:
    with Emulator(key=KEY) as running:
        yield running


@pytest.fixture
async def provider(wire: Wire, emulator: Emulator, connect: Connect, anyio_backend: str) -> AsyncIterator[Provider]:
    async with connect(wire.name, environ_of(wire, emulator)) as made:
        yield made


def answered(outcome: Response | Failure) -> Response:
    assert isinstance(outcome, Response), outcome
    return outcome


def failed(outcome: Response | Failure) -> Failure:
    assert isinstance(outcome, Failure), outcome
    assert KEY not in outcome.message
    assert "walrus" not in outcome.message
    return outcome


async def test_a_text(provider: Provider, ask: Ask, emulator: Emulator) -> None:
    said = answered(await provider.complete(Request(ask, "Is 7 prime?")))
    assert said.text == answer_text("Is 7 prime?", model=ask.model)
    assert (said.finish, said.native, said.model) == ("stop", True, ask.model)
    assert said.usage == emulator.stats().usage != Usage()
    assert said.request_id


async def test_system_parameters_and_hostile_text(provider: Provider, ask: Ask) -> None:
    ask = replace(ask, system='Be "brief"\n{x} ünï', max_tokens=1000)
    for prompt in ['"}],"model":"other"', "line\nline\u2028\x00\t", "日本語 🦙", "{question}", "x" * 200_000]:
        said = answered(await provider.complete(Request(ask, prompt)))
        assert said.text == answer_text(prompt, model=ask.model, system=ask.system)


async def test_a_schema(provider: Provider, ask: Ask, emulator: Emulator) -> None:
    ask = replace(ask, schema=json.dumps(SCHEMA), schema_name="Verdict")
    said = answered(await provider.complete(Request(ask, "Is 7 prime?")))
    jsonschema.validate(json.loads(said.text), SCHEMA)
    assert said.native
    assert emulator.stats().requests == 1


async def test_a_conversation(provider: Provider, ask: Ask) -> None:
    turns = [("user", "Hello"), ("assistant", "Hi"), ("user", 'Is "7" prime?')]
    prompt = json.dumps([{"role": role, "content": content} for role, content in turns])
    said = answered(await provider.complete(Request(replace(ask, conversation=True), prompt)))
    assert said.text == answer_text(turns[-1][1], model=ask.model, before=turns[:-1])


@pytest.mark.parametrize("prompt", ["", "{}", "[]", "[1]", '[{"role": "user"}]', '[{"role": null, "content": "x"}]'])
async def test_what_is_no_conversation_is_not_sent(
    provider: Provider, ask: Ask, emulator: Emulator, prompt: str
) -> None:
    said = failed(await provider.complete(Request(replace(ask, conversation=True), prompt)))
    assert said.kind == "bad_request"
    assert emulator.stats().requests == 0


async def test_a_repair_shows_the_answer_and_the_finding(wire: Wire, ask: Ask, connect: Connect) -> None:
    seen: list[Any] = []

    def answer(request: Any) -> str:
        seen.append(request)
        return "ok"

    with Emulator(answer=answer, key=KEY) as emulator:
        async with connect(wire.name, environ_of(wire, emulator)) as provider:
            answered(await provider.complete(Request(ask, "How many?", repair=("seven", "not a number"))))
    (role, first), (second_role, second), (third_role, third) = seen[0].messages
    assert (role, second_role, third_role) == ("user", "assistant", "user")
    assert (first, second) == ("How many?", "seven")
    assert "not a number" in third


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limited", "rate_limited"),
        ("server_error", "overloaded"),
        ("overloaded", "overloaded"),
        ("bad_request", "bad_request"),
        ("auth", "auth"),
        ("quota", "quota"),
        ("unknown_model", "unknown_model"),
        ("reset", "network"),
        ("truncated", "network"),
        ("malformed", "malformed"),
    ],
)
async def test_faults(
    provider: Provider, ask: Ask, emulator: Emulator, wire: Wire, fault: FaultKind, kind: str
) -> None:
    emulator.fail(lambda _: EmulatedFault(fault, retry_after=7.0))
    said = failed(await provider.complete(Request(ask, CANARY)))
    assert said.kind == kind
    assert provider.host in said.message
    assert emulator.stats().requests == 1, "one request: retries are not a provider's business"
    if fault == "rate_limited":
        assert (said.status, said.retry_after) == (429, 7.0 if wire.says_wait else None)
    if fault == "overloaded":
        assert said.status == wire.overloaded
    emulator.fail(None)
    answered(await provider.complete(Request(ask, CANARY)))


async def test_a_timeout(provider: Provider, ask: Ask, emulator: Emulator) -> None:
    emulator.fail(lambda _: EmulatedFault("slow", seconds=30))
    assert failed(await provider.complete(Request(ask, CANARY, timeout=0.1))).kind == "timeout"


async def test_a_body_that_never_ends(wire: Wire, ask: Ask, emulator: Emulator, connect: Connect) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"a":')

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    slow = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    environ = {name: value.replace(emulator.url, slow) for name, value in environ_of(wire, emulator).items()}
    async with server, connect(wire.name, environ) as provider:
        said = failed(await provider.complete(Request(ask, CANARY, timeout=0.2)))
        for writer in writers:
            writer.close()
            await writer.wait_closed()
    assert (said.kind, len(writers)) == ("timeout", 1)


async def test_an_empty_answer(wire: Wire, ask: Ask, connect: Connect) -> None:
    def answer(request: Any) -> Any:
        return "" if "?" in request.prompt else {"prime": True, "why": "so"}

    typed = replace(ask, schema=json.dumps(SCHEMA))
    with Emulator(answer=answer, key=KEY) as emulator:
        async with connect(wire.name, environ_of(wire, emulator)) as provider:
            answered(await provider.complete(Request(typed, "first")))
            for one in (ask, typed):
                said = answered(await provider.complete(Request(one, "?")))
                assert (said.text, said.finish) == ("", "stop")
        assert emulator.stats().requests == 3


async def test_a_wrong_key(wire: Wire, ask: Ask, connect: Connect) -> None:
    with Emulator(key="another-key") as emulator:
        environ = {name: value.replace("another-key", KEY) for name, value in environ_of(wire, emulator).items()}
        async with connect(wire.name, environ) as provider:
            assert failed(await provider.complete(Request(ask, CANARY))).kind == "auth"
            assert KEY not in f"{vars(provider)!r} {provider!r}"


async def test_a_missing_model(provider: Provider, ask: Ask) -> None:
    said = failed(await provider.complete(Request(replace(ask, model="missing-model"), CANARY)))
    assert said.kind == "unknown_model"


@pytest.mark.parametrize("finish", ["refusal", "filtered", "length"])
async def test_why_an_answer_ended(wire: Wire, ask: Ask, connect: Connect, finish: Any) -> None:
    usage = Usage(70, 30, 20, 0, 10)
    with Emulator(answer=lambda _: EmulatedAnswer("I", finish, usage), key=KEY) as emulator:
        async with connect(wire.name, environ_of(wire, emulator)) as provider:
            said = answered(await provider.complete(Request(ask, "?")))
    assert said.finish == {"refusal": wire.refusal, "filtered": wire.filtered}.get(finish, finish)
    assert said.usage == replace(usage, reasoning=wire.reasoning)


async def test_limits_are_reported(wire: Wire, ask: Ask, connect: Connect) -> None:
    limits = Limits(requests_per_minute=2, tokens_per_minute=6000)
    with Emulator(limits=limits, key=KEY, clock=lambda: 0.0) as emulator:
        async with connect(wire.name, environ_of(wire, emulator)) as provider:
            first = answered(await provider.complete(Request(ask, "a")))
            answered(await provider.complete(Request(ask, "b")))
            third = failed(await provider.complete(Request(ask, "c")))
    assert third.kind == "rate_limited"
    assert third.retry_after == (30 if wire.says_wait else None)
    if wire.says_limits:
        assert first.quota is not None
        assert third.quota is not None
        assert (first.quota.requests_limit, first.quota.requests_remaining) == (2, 1)
        assert first.quota.tokens_limit == 6000
        assert first.quota.requests_reset == pytest.approx(30, abs=2), "Anthropic tells times of day, in whole seconds"
        assert third.quota.requests_remaining == 0


async def test_many_at_once_and_a_cancelled_one(provider: Provider, ask: Ask, emulator: Emulator) -> None:
    async def one(number: int) -> None:
        said = answered(await provider.complete(Request(ask, f"question {number}")))
        assert said.text == answer_text(f"question {number}", model=ask.model)

    emulator.fail(lambda request: EmulatedFault("slow", seconds=30) if request.prompt == CANARY else None)
    lost = asyncio.create_task(provider.complete(Request(ask, CANARY)))
    await asyncio.sleep(0)
    lost.cancel()
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(number))
    assert lost.cancelled()


async def test_identity(provider: Provider, emulator: Emulator) -> None:
    assert emulator.url in provider.identity
    assert KEY not in provider.identity
    assert provider.host == emulator.url.removeprefix("http://")
