"""Records: what was stored is what is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polar_llama.exec.record import Record, decode, encode, text_of
from polar_llama.providers.base import Response, Usage

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
COUNTS = st.integers(0, 2**40)


@given(TEXT, TEXT | st.none(), st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS) | st.none())
def test_what_is_stored_is_read(text: str, model: str | None, usage: Usage | None) -> None:
    stored = encode(Response(text, usage, model), 1_700_000_000.9)
    assert text_of(stored) == text
    record = decode(stored)
    assert (record.text, record.model, record.created, record.usage) == (text, model, 1_700_000_000, usage)


def test_the_form_on_disk() -> None:
    stored = encode(Response("yes", Usage(10, 2, 3, 4, 5), "m-1"), 7)
    assert stored == b'[1,"yes","m-1",7,[10,2,3,4,5]]'
    assert decode(b'[1,"yes",null,7,null]') == Record("yes", None, 7, None)


@pytest.mark.parametrize(
    "stored", [b"", b"yes", b'"yes"', b"[1]", b'[2,"yes",null,7,null]', b"[1,2,null,7,null]", b"\xff"]
)
def test_other_bytes_are_not_a_record(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(stored)
    assert text_of(stored) is None
