"""Images and documents beside a prompt: every wire format's own parts, and nothing opened or fetched unasked."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import polars as pl
import pytest

import polar_llama as pll
from polar_llama import llm
from polar_llama.frame.files import read_files
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from pathlib import Path

PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
FILES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0 jpeg",
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 ",
    "image/gif": b"GIF89a gif",
    "application/pdf": b"%PDF-1.7 pdf",
}


@pytest.fixture
def asked(monkeypatch):
    """What the emulator understood of each request, in order."""
    seen = []

    def answer(request):
        seen.append(request)
        return "seen"

    with Emulator(answer=answer) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        pll.configure(model="openai:gpt-6-luna")
        yield seen


def _frame(file: bytes | None = PNG) -> pl.DataFrame:
    return pl.DataFrame({"q": ["What is it?"], "photo": pl.Series([file], dtype=pl.Binary)})


def _openai(kind: str, data: str) -> dict[str, object]:
    url = f"data:{kind};base64,{data}"
    if kind == "application/pdf":
        return {"type": "file", "file": {"filename": "document.pdf", "file_data": url}}
    return {"type": "image_url", "image_url": {"url": url}}


def _anthropic(kind: str, data: str) -> dict[str, object]:
    source = {"type": "base64", "media_type": kind, "data": data}
    return {"type": "document" if kind == "application/pdf" else "image", "source": source}


def _gemini(kind: str, data: str) -> dict[str, object]:
    return {"inlineData": {"mimeType": kind, "data": data}}


def _bedrock(kind: str, data: str) -> dict[str, object]:
    if kind == "application/pdf":
        return {"document": {"format": "pdf", "name": "document", "source": {"bytes": data}}}
    return {"image": {"format": kind.partition("/")[2], "source": {"bytes": data}}}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("model", "where", "part"),
    [
        ("openai:gpt-6-luna", ("messages", "content"), _openai),
        ("azure:gpt-6-luna", ("messages", "content"), _openai),
        ("anthropic:claude-sonnet-5", ("messages", "content"), _anthropic),
        ("gemini:gemini-3.8-flash", ("contents", "parts"), _gemini),
        ("bedrock:amazon.nova-lite-v1:0", ("messages", "content"), _bedrock),
    ],
)
def test_bytes_are_written_as_each_vendor_takes_them(asked, kind, model, where, part):
    assert _frame(FILES[kind]).select(llm("{q}!", images="photo", model=model)).item() == "seen"
    [turn] = asked[0].body[where[0]]
    text, image = turn[where[1]]
    assert text["text"] == "What is it?!"
    assert image == part(kind, b64encode(FILES[kind]).decode())
    assert asked[0].prompt == "What is it?!"


def test_urls_are_handed_on_where_the_vendor_takes_them(asked):
    df = pl.DataFrame({"q": ["?"], "url": ["https://example.com/a.png"]})
    df.select(llm("q", images=["url"]))
    df.select(llm("q", images=["url"], model="anthropic:claude-sonnet-5"))
    assert asked[0].body["messages"][0]["content"][1]["image_url"]["url"] == "https://example.com/a.png"
    assert asked[1].body["messages"][0]["content"][1] == {
        "type": "image",
        "source": {"type": "url", "url": "https://example.com/a.png"},
    }
    for model, vendor in (("gemini:gemini-3.8-flash", "Gemini"), ("bedrock:amazon.nova-lite-v1:0", "Bedrock")):
        with pytest.raises(pll.AnswerError, match=f"{vendor} takes images as bytes"):
            df.select(llm("q", images=["url"], model=model))
    assert len(asked) == 2


@pytest.mark.parametrize("text", ["/etc/passwd", "file:///etc/passwd", "data:image/png;base64,AAAA", "photo.png"])
def test_a_text_is_never_opened_as_a_file(asked, text):
    df = pl.DataFrame({"q": ["?"], "photo": [text]})
    with pytest.raises(pll.AnswerError, match="neither bytes nor an http"):
        df.select(llm("q", images="photo"))
    assert asked == []


def test_what_is_no_image_is_an_error_of_its_row(asked):
    df = pl.concat([_frame(b"MZ executable"), _frame(PNG), _frame(None)])
    found = df.with_columns(a=llm("q", images="photo", on_error="struct"))["a"]
    assert "no PNG, JPEG, WebP, GIF or PDF" in found[0]["error"]
    assert found[1] == {"answer": "seen", "error": None}
    assert found[2] is None
    assert len(asked) == 1


def test_several_images_and_a_system_prompt_of_the_rows_own(asked):
    df = _frame().with_columns(other=pl.lit(FILES["image/gif"]), s=pl.lit("Look closely."))
    df.select(llm("q", images=[pl.col("photo"), "other"], system=pl.col("s"), examples=[("a", "b")]))
    assert asked[0].system == "Look closely."
    assert [m["role"] for m in asked[0].body["messages"]] == ["user", "assistant", "system", "user"]
    assert [p["type"] for p in asked[0].body["messages"][-1]["content"]] == ["text", "image_url", "image_url"]


def test_the_images_bytes_are_part_of_the_key(asked):
    for file in (PNG, FILES["image/gif"], PNG):
        _frame(file).select(llm("q", images="photo"))
    assert len(asked) == 2


def test_images_in_a_conversation_are_parts_of_its_messages(asked):
    part = {"type": "image", "media_type": "image/png", "data": b64encode(PNG).decode(), "text": None}
    text = {"type": "text", "media_type": None, "data": None, "text": "And this?"}
    df = pl.DataFrame({"talk": [[{"role": "user", "content": [text, part]}]]})
    df.select(llm("talk", model="gemini:gemini-3.8-flash"))
    assert asked[0].body["contents"][0]["parts"][1] == _gemini("image/png", b64encode(PNG).decode())
    with pytest.raises(pll.PlanError, match="goes with a text"):
        df.lazy().select(llm("talk", images=pl.lit(PNG))).collect_schema()


@pytest.mark.parametrize("images", [3, ["photo", 3], [PNG]])
def test_wrong_images_are_refused(images):
    with pytest.raises(pll.ConfigurationError, match="images"):
        llm("q", images=images)


def test_an_image_column_has_a_dtype():
    with pytest.raises(pll.PlanError, match="must be bytes"):
        pl.LazyFrame({"q": ["x"], "n": [1]}).select(llm("q", images="n")).collect_schema()
    with pytest.raises(pll.UnknownColumnError, match="'gone'"):
        pl.LazyFrame({"q": ["x"]}).select(llm("q", images="gone")).collect_schema()


def test_files_are_read_from_allowed_folders_only(tmp_path: Path):
    allowed, secret = tmp_path / "allowed", tmp_path / "secret.png"
    allowed.mkdir()
    (allowed / "a.png").write_bytes(PNG)
    secret.write_bytes(PNG)
    (allowed / "link.png").symlink_to(secret)
    df = pl.DataFrame({"p": ["a.png", str(allowed / "a.png"), None]})
    assert df.select(read_files("p", allow_paths=[allowed]))["p"].to_list() == [PNG, PNG, None]
    for path in ("../secret.png", str(secret), "link.png", "missing.png", ".", "a\0b"):
        with pytest.raises(pll.PlanError, match="no file that can be read"):
            pl.DataFrame({"p": [path]}).select(read_files("p", allow_paths=[allowed]))
    for wrong in ([], [tmp_path / "no folder"]):
        with pytest.raises(pll.ConfigurationError, match="folders that exist"):
            read_files("p", allow_paths=wrong)


def test_files_and_questions_in_one_query(asked, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(PNG)
    df = pl.DataFrame({"q": ["x", "y"], "p": ["a.png", None]})
    found = df.with_columns(a=llm("q", images=read_files("p", allow_paths=[tmp_path])))
    assert found["a"].to_list() == ["seen", None]


@pytest.mark.local_model
def test_a_model_that_sees_nothing_says_so_at_once():
    found = _frame().with_columns(a=llm("q", images="photo", model="local", on_error="struct"))["a"]
    assert "image" in found[0]["error"]


def test_an_image_is_not_taken_for_text_of_its_size(asked):
    """Where tokens are guessed, for estimates, budgets and limits, an image counts as about a thousand."""
    photo = PNG + bytes(3_000_000)
    lf = _frame(photo).lazy().with_columns(a=llm("q", images="photo"), b=llm("q", images=["photo", "photo"]))
    assert pll.estimate(lf)["input_tokens"].sum() == pytest.approx(3_100, abs=150)
    with pll.session(max_cost=0.01, tokens_per_minute=60_000):
        assert lf.collect()["a"].to_list() == ["seen"]
    assert len(asked) == 2
