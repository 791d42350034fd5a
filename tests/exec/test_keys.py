"""Keys: equal for equal requests, different for everything that can change the answer."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polar_llama.exec.keys import KEY_BYTES, Keyer
from polar_llama.providers.base import Ask

PLAIN = Ask("gpt-6-luna")

CHANGES = {
    "model": "gpt-6-sol",
    "system": "be brief",
    "temperature": 0.0,
    "max_tokens": 5,
    "seed": 1,
    "options": '{"top_p":0.5}',
    "schema": '{"type":"object"}',
    "conversation": True,
    "examples": '[["q","a"]]',
    "embedding": True,
    "dimensions": 3,
}


def key(ask: Ask = PLAIN, prompt: str = "hello", identity: str = "openai https://api.openai.com/v1") -> bytes:
    return Keyer(identity, ask).digests([prompt])[0]


def test_a_key_never_changes_between_versions() -> None:
    assert key().hex() == "a9e9d2e5fbecedc9f26d1fe18b76b87e7a791ff2"
    assert len(key()) == KEY_BYTES


@pytest.mark.parametrize(("name", "value"), CHANGES.items())
def test_every_parameter_changes_the_key(name: str, value: Any) -> None:
    assert key(replace(PLAIN, **{name: value})) != key()


def test_every_parameter_is_known_here() -> None:
    assert set(CHANGES) | {"schema_name"} == {f.name for f in fields(Ask)}


def test_a_schema_name_counts_where_there_is_a_schema() -> None:
    with_schema = replace(PLAIN, schema="{}")
    assert key(replace(with_schema, schema_name="person")) != key(with_schema)
    assert key(replace(PLAIN, schema_name="person")) == key()


def test_the_server_changes_the_key() -> None:
    assert key(identity="openai http://127.0.0.1:8080/v1") != key()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=20))
def test_different_prompts_have_different_keys_whatever_they_are_asked_with(prompts: list[str]) -> None:
    keyer = Keyer("i", PLAIN)
    assert len(set(keyer.digests(prompts))) == len(prompts)
    assert keyer.digests(prompts) == [keyer.digests([p])[0] for p in prompts]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_text_cannot_move_from_one_part_into_the_next(system: str, prompt: str) -> None:
    assert key(replace(PLAIN, system=system + "x"), prompt) != key(replace(PLAIN, system=system), "x" + prompt)
