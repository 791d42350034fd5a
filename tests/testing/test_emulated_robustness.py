"""Whatever is asked, the emulator replies, in JSON, and counts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polar_llama.testing import EmulatedAnswer, Emulator
from polar_llama.testing.wire import WIRES
from polar_llama.testing.wire.base import Incoming, names

if TYPE_CHECKING:
    from polar_llama.testing.http import Outgoing

PATHS = {
    "/v1/chat/completions": "model messages response_format tools tool_choice max_tokens temperature stop n",
    "/v1/embeddings": "model input dimensions encoding_format",
    "/groq/openai/v1/chat/completions": "model messages response_format tools tool_choice reasoning_effort",
    "/anthropic/v1/messages": "model max_tokens messages system output_config tools tool_choice",
    "/gemini/v1/models/m:generateContent": "contents systemInstruction generationConfig",
    "/gemini/v1/models/m:batchEmbedContents": "requests",
    "/bedrock/model/m/converse": "messages system inferenceConfig toolConfig outputConfig",
    "/bedrock/model/amazon.titan-embed-text-v2:0/invoke": "inputText dimensions normalize",
}
INNER = sorted(
    names(
        "role content type text parts json_schema schema name strict format properties required items anyOf $ref enum "
        "function tool toolChoice tools toolSpec textFormat structure jsonSchema responseMimeType responseJsonSchema"
    )
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3000),
    st.floats(allow_nan=False),
    st.text(max_size=4),
    st.sampled_from(["user", "system", "json_schema", "object", "text", "tool", "string", "application/json", "#"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    max_leaves=12,
)
HEADERS = b"\r\nanthropic-version: 2026-10-21\r\nauthorization: Bearer x\r\n"


def bodies(fields: str) -> st.SearchStrategy[dict[str, Any]]:
    sound: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 9,
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
    }
    known = fields.split()
    return st.dictionaries(st.sampled_from(known), VALUES, max_size=3).map(
        lambda odd: {**{name: value for name, value in sound.items() if name in known}, **odd}
    )


def serve(emulator: Emulator, path: str, body: bytes) -> tuple[Outgoing, Any]:
    out = emulator._desk.serve(Incoming("POST", path, HEADERS, HEADERS, body))
    emulator._desk.sent(out)
    return out, json.loads(out.data.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("path", PATHS)
def test_odd_bodies_get_a_reply(path: str) -> None:
    emulator = Emulator()

    @settings(max_examples=60, deadline=None)
    @given(bodies(PATHS[path]))
    def check(body: dict[str, Any]) -> None:
        out, _ = serve(emulator, path, json.dumps(body).encode())
        assert out.status in {200, 400, 404}

    check()
    stats = emulator.stats()
    assert stats.requests == sum(stats.by_status.values()) >= 40


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"{" * 9, b'{"model":' + b"[" * 100_000, b'{"messages": "\\ud800"}']
)
def test_broken_bodies_get_a_400(path: str, body: bytes) -> None:
    out, _ = serve(Emulator(), path, body)
    assert out.status == 400


@pytest.mark.parametrize("said", [5, None, object(), EmulatedAnswer("not json")])
def test_odd_answers_get_a_reply(said: Any) -> None:
    emulator = Emulator(answer=lambda _: said)
    tool = {"name": "answer", "input_schema": {"type": "object"}}
    body = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "\ud800"}], "tools": [tool]}
    body["tool_choice"] = {"type": "tool", "name": "answer"}
    out, _ = serve(emulator, "/anthropic/v1/messages", json.dumps(body).encode())
    assert out.status == (400 if isinstance(said, EmulatedAnswer) or type(said) is object else 200)


def test_a_failing_fail_function_says_so() -> None:
    def when(_request: object) -> None:
        raise LookupError("no idea")

    emulator = Emulator()
    emulator.fail(when)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
    out, shown = serve(emulator, "/v1/chat/completions", body)
    assert out.status == 400
    assert "fail function raised LookupError: no idea" in shown["error"]["message"]


def test_every_format_is_complete() -> None:
    with Emulator() as emulator:
        environ = emulator.environ()
        for wire in WIRES:
            assert emulator.base_url(wire.name) in environ.values()
    assert {w.name for w in WIRES} == {"openai", "anthropic", "gemini", "groq", "bedrock", "azure"}
    assert not any(a.prefix.startswith(b.prefix) for a in WIRES for b in WIRES if a is not b)
