"""Images that are URLs, fetched for a provider that takes bytes only, where the call allows their hosts."""

from __future__ import annotations

import asyncio
import random
from base64 import b64encode
from collections import OrderedDict
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from polar_llama.exec import retry
from polar_llama.providers.base import Failure
from polar_llama.providers.conversation import BodyError
from polar_llama.providers.media import media_type, read_media
from polar_llama.transport.fetch import FetchError, fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.exec.base import Limits

AT_ONCE = 16
"""Files that are fetched at the same time."""

KEPT = 64 << 20
"""Characters of base64 that stay in memory while a run lasts, for the other prompts that name the same files."""

Part = dict[str, str]


class Images:
    """The images of a run: each is fetched once, however many prompts name it. On the loop's thread only.

    Args:
        draw: Draws from [0, 1), for waits.
    """

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._found: OrderedDict[tuple[str, tuple[str, ...]], asyncio.Future[Part | Failure]] = OrderedDict()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def fetched(self, hosts: tuple[str, ...], prompt: str, limits: Limits) -> str | Failure:
        """A conversation with its images' bytes in the place of their URLs.

        Args:
            hosts: Where images may lie.
            prompt: A JSON array of messages.
            limits: How long a file may take, and how often it is tried again.
        """
        if '"url"' not in prompt:
            return prompt
        try:
            messages = from_json(prompt)
            named = [
                (content, place, media.url)
                for number, message in enumerate(messages, 1)
                if isinstance(content := message["content"], list)
                for place, part in enumerate(content)
                if (media := read_media(part, number)) is not None and media.url is not None
            ]
        except BodyError as error:
            return Failure("bad_request", str(error))
        except (ValueError, TypeError, KeyError):
            return prompt  # no conversation: the provider says so
        async with asyncio.TaskGroup() as group:
            coming = [group.create_task(self._image(url, hosts, limits)) for _, _, url in named]
        for (content, place, _), found in zip(named, (task.result() for task in coming), strict=True):
            if isinstance(found, Failure):
                return found
            content[place] = found
        self._forget()
        return to_json(messages).decode()

    async def _image(self, url: str, hosts: tuple[str, ...], limits: Limits) -> Part | Failure:
        key = url, hosts
        if key in self._found:
            self._found.move_to_end(key)
            return await asyncio.shield(self._found[key])
        future = self._found[key] = asyncio.get_running_loop().create_future()
        try:
            found = await self._fetch(url, hosts, limits)
        except Exception as error:  # noqa: BLE001 -- whatever a client raises: a failure of these rows, not of the engine
            found = Failure("bad_request", f"fetching an image failed ({type(error).__name__})")
        except BaseException:
            future.cancel()
            raise
        future.set_result(found)
        return found

    async def _fetch(self, url: str, hosts: tuple[str, ...], limits: Limits) -> Part | Failure:
        failures = 0
        while True:
            try:
                async with self._places:
                    file = await fetch(url, hosts, seconds=limits.timeout)
            except FetchError as error:
                failure = Failure("overloaded" if error.heals else "bad_request", str(error))
                delay = retry.wait(failure, failures, limits.max_retries, self._draw())
                if delay is None:
                    return retry.given_up(failure, failures, limits.max_retries)
                failures += 1
                await asyncio.sleep(delay)
                continue
            kind = media_type(file)
            if kind is None:
                return Failure("bad_request", "an image's URL leads to a file that is no PNG, JPEG, WebP, GIF or PDF")
            return {"type": "image", "media_type": kind, "data": b64encode(file).decode()}

    def _forget(self) -> None:
        """Keep the latest only."""
        size = 0
        for key, future in reversed(list(self._found.items())):
            found = future.result() if future.done() else None
            size += len(found["data"]) if isinstance(found, dict) else 0
            if size > KEPT and found is not None:
                del self._found[key]
