"""A server may echo the prompt, the key or both; a failure shows neither."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polar_llama.providers.base import Ask, Request
from polar_llama.providers.errors import LONGEST_MESSAGE, PIECE, shown

if TYPE_CHECKING:
    from polar_llama.providers.base import Provider
    from tests.providers.conftest import Script

pytestmark = pytest.mark.anyio

PROMPT = 'Patient "Ada Lovelace", born 1815,\n\twas told: "ünïcode".'
KEY = "sk-proj-0123456789abcdef"
ECHOES = {
    "plain": PROMPT,
    "a piece": PROMPT[9:21],
    "in JSON": json.dumps(PROMPT),
    "in JSON, not escaped": json.dumps(PROMPT, ensure_ascii=False),
    "twice in JSON": json.dumps(json.dumps(PROMPT)),
    "as Python writes it": repr(PROMPT),
    "in capitals": PROMPT.upper(),
    "on one line": " ".join(PROMPT.split()),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=list(ECHOES))
@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_no_prompt(official: Provider, script: Script, status: int, echo: str) -> None:
    script.reply = lambda _number, _body: script.refusal(status, f"cannot read: {echo}", code="unreadable")
    said: Any = await official.complete(Request(Ask("m"), PROMPT))
    assert "Ada" not in said.message
    assert "lovelace" not in said.message.lower()
    assert f"{status} unreadable" in said.message


@pytest.mark.parametrize("where", ["system", "answer", "finding", "conversation"])
async def test_no_other_text(official: Provider, script: Script, where: str) -> None:
    script.reply = lambda _number, _body: script.refusal(400, f"cannot read: {json.dumps(PROMPT)}")
    ask = Ask("m", system=PROMPT if where == "system" else None, conversation=where == "conversation")
    repair = {"answer": (PROMPT, "?"), "finding": ("?", PROMPT)}.get(where)
    prompt = json.dumps([{"role": "user", "content": PROMPT}]) if where == "conversation" else "short"
    said: Any = await official.complete(Request(ask, prompt, repair))
    assert "Ada" not in said.message
    assert script.requests


@pytest.mark.parametrize(
    "words",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-proj-01234*******cdef.",
        "Incorrect API key provided: 0123456789.",
        f"Authorization: Bearer {KEY}",
        f"key={KEY[:14]}",
    ],
)
async def test_no_key(official: Provider, script: Script, words: str) -> None:
    script.reply = lambda _number, _body: script.refusal(401, words, code="invalid_api_key")
    said: Any = await official.complete(Request(Ask("m"), "hello"))
    assert "0123" not in said.message
    assert "cdef" not in said.message
    assert "check OPENAI_API_KEY" in said.message


async def test_messages_are_short_and_printable(official: Provider, script: Script) -> None:
    script.reply = lambda _number, _body: script.refusal(400, "way\x1b[31m\n\ttoo long " * 1000, code="x\ny")
    said: Any = await official.complete(Request(Ask("m"), PROMPT))
    assert len(said.message) < LONGEST_MESSAGE + 60
    assert said.message.isprintable()


async def test_a_body_that_quotes_is_not_shown(official: Provider, script: Script) -> None:
    script.reply = lambda _number, _body: httpx.Response(200, content=PROMPT.encode())
    said: Any = await official.complete(Request(Ask("m"), PROMPT))
    assert said.kind == "malformed"
    assert "Ada" not in said.message


@given(st.text(min_size=1), st.text(), st.integers(0, 50))
def test_no_piece_of_any_prompt(prompt: str, around: str, start: int) -> None:
    message = around + prompt[start:] + around
    said = shown(message, Request(Ask("m"), prompt), None)
    assert not any(said[i : i + PIECE] in prompt for i in range(len(said) - PIECE + 1))


def test_harmless_messages_are_shown() -> None:
    request = Request(Ask("m", system="Be brief."), "Is 7 prime?")
    words = "Rate limit reached for gpt-6-luna: 30000 tokens per minute."
    assert shown(words, request, KEY) == words
