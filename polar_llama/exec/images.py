"""Images that are URLs, fetched for a provider that takes bytes only, where the call allows their hosts."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from polar_llama.providers.base import Failure
from polar_llama.providers.conversation import BodyError
from polar_llama.providers.media import media_type, read_media
from polar_llama.transport.fetch import FetchError, fetch

if TYPE_CHECKING:
    from collections.abc import Sequence


async def with_bytes(prompt: str, hosts: Sequence[str], timeout: float) -> str | Failure:
    """A conversation with its images' bytes in the place of their URLs.

    Args:
        prompt: A JSON array of messages.
        hosts: Where images may lie.
        timeout: Seconds for each.
    """
    try:
        messages = from_json(prompt)
        for number, message in enumerate(messages, 1):
            if isinstance(content := message["content"], list):
                message["content"] = [await _part(part, number, hosts, timeout) for part in content]
        return to_json(messages).decode()
    except FetchError as error:
        return Failure("overloaded" if error.heals else "bad_request", str(error))
    except BodyError as error:
        return Failure("bad_request", str(error))
    except (ValueError, TypeError, KeyError):
        return prompt  # no conversation: the provider says so


async def _part(part: Any, number: int, hosts: Sequence[str], timeout: float) -> Any:
    found = read_media(part, number)
    if found is None or found.url is None:
        return part
    file = await fetch(found.url, hosts, seconds=timeout)
    kind = media_type(file)
    if kind is None:
        raise BodyError(f"message {number} holds the URL of a file that is no PNG, JPEG, WebP, GIF or PDF")
    return {"type": "image", "media_type": kind, "data": b64encode(file).decode()}
