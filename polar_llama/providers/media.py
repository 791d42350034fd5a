"""Images and documents in a conversation, and how each wire format writes them.

They arrive as parts of a message's content: `{"type": "image" | "document", "media_type", "data"}` with base64, or
`{"type": "image", "url"}`. A URL is only ever handed on: nothing is fetched or opened here. For vendors that take bytes
only, `exec.images` fetches before, where the call allows it.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any, NamedTuple

from polar_llama.providers.conversation import BodyError, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")
"""What every vendor takes."""

DOCUMENTS = ("application/pdf",)

_BYTES_ONLY = "{} takes images as bytes, not as URLs. To have them fetched, name their hosts: llm(…, allow_urls=[…])"


_BEGINNINGS = (
    (b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"%PDF", "application/pdf"),
)  # fmt: skip


def media_type(file: bytes) -> str | None:
    """What a file is, by its first bytes; None for what no vendor takes.

    >>> media_type(b"GIF89a..."), media_type(b"RIFF....WEBPVP8 "), media_type(b"<html>")
    ('image/gif', 'image/webp', None)
    """
    if file[:4] == b"RIFF" and file[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS if file.startswith(beginning)), None)


class Media(NamedTuple):
    """An image or a document: its base64, or where it is."""

    kind: str
    media_type: str
    data: str | None
    url: str | None


def parts(
    content: str | list[Any], number: int, write: Callable[[Media], Any], text: Callable[[str], Any]
) -> list[Any]:
    """A message's content in a vendor's parts.

    Args:
        content: A string, or parts.
        number: The message's, for errors.
        write: Writes an image or a document.
        text: Writes a text.

    Raises:
        BodyError: If a part is none of those.
    """
    if isinstance(content, str):
        return [text(content)]
    return [write(m) if (m := read_media(part, number)) else text(text_of([part], number)) for part in content]


def openai_parts(content: str | list[Any], number: int) -> str | list[Any]:
    """The content as OpenAI and those who follow it take it; their own parts stay as they are."""
    if isinstance(content, str):
        return content
    return [_openai(m) if (m := read_media(part, number)) else part for part in content]


def local_parts(content: str | list[Any], number: int) -> str | list[Any]:
    """The content as llama.cpp takes it in this process, where it would fetch URLs itself, unchecked: bytes only."""
    if isinstance(content, str):
        return content
    for part in content:
        if (media := read_media(part, number)) is not None:
            _must_be_bytes(media, "the local model")
    written = openai_parts(content, number)
    for part in written:
        image = part.get("image_url") if isinstance(part, dict) else None
        url = image.get("url") if isinstance(image, dict) else image
        if url is not None and not str(url).startswith("data:"):
            raise BodyError(_BYTES_ONLY.format("the local model"))
    return written


def anthropic_parts(content: str | list[Any], number: int) -> str | list[Any]:
    """The content as Anthropic takes it; its own parts stay as they are."""
    if isinstance(content, str):
        return content
    return [_anthropic(m) if (m := read_media(part, number)) else part for part in content]


def gemini_part(media: Media) -> dict[str, Any]:
    """An image or a document as Gemini takes it."""
    _must_be_bytes(media, "Gemini")
    return {"inlineData": {"mimeType": media.media_type, "data": media.data}}


def bedrock_part(media: Media) -> dict[str, Any]:
    """An image or a document as Converse takes it."""
    raw = b64decode(_must_be_bytes(media, "Bedrock"))
    if media.kind == "document":
        return {"document": {"format": "pdf", "name": "document", "source": {"bytes": raw}}}
    return {"image": {"format": media.media_type.removeprefix("image/"), "source": {"bytes": raw}}}


def read_media(part: Any, number: int) -> Media | None:
    """The image or document that a part is, if it is one of ours.

    Raises:
        BodyError: If it is of a kind that no vendor takes, or its URL is none.
    """
    if not isinstance(part, dict) or part.get("type") not in {"image", "document"}:
        return None
    if isinstance(url := part.get("url"), str):
        if not url.startswith(("https://", "http://")):
            raise BodyError(f"message {number} holds an image that is neither bytes nor an http(s) URL")
        return Media("image", "", None, url)
    if not isinstance(data := part.get("data"), str):
        return None
    media_type = part.get("media_type")
    if media_type not in (*IMAGES, *DOCUMENTS):
        raise BodyError(f"message {number} holds a file that is no PNG, JPEG, WebP, GIF or PDF")
    return Media("document" if media_type in DOCUMENTS else "image", media_type, data, None)


def _openai(media: Media) -> dict[str, Any]:
    url = media.url or f"data:{media.media_type};base64,{media.data}"
    if media.kind == "document":
        return {"type": "file", "file": {"filename": "document.pdf", "file_data": url}}
    return {"type": "image_url", "image_url": {"url": url}}


def _anthropic(media: Media) -> dict[str, Any]:
    if media.url:
        return {"type": media.kind, "source": {"type": "url", "url": media.url}}
    return {"type": media.kind, "source": {"type": "base64", "media_type": media.media_type, "data": media.data}}


def _must_be_bytes(media: Media, vendor: str) -> str:
    if media.data is None:
        raise BodyError(_BYTES_ONLY.format(vendor))
    return media.data
