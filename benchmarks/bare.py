"""The bare client: what one writes by hand with aiohttp, at its leanest.

uvloop, keep-alive, a connector as wide as the concurrency, a fixed set of workers pulling from one
iterator, distinct prompts only; no cache, no limits, no typed answers, and no retries unless asked.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import aiohttp
import uvloop

from benchmarks.contender import serve
from benchmarks.work import MODEL, Work

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_WAIT = 0.5
"""Seconds of the first backoff where the server names none; it doubles, with full jitter."""


class Bare:
    """A session kept warm over the runs.

    Args:
        url: The server's root.
        concurrency: Requests at once.
    """

    def __init__(self, url: str, concurrency: int) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._session = self._runner.run(_open(concurrency))
        self._concurrency = concurrency

    def prepare(self, work: Work) -> list[str]:
        """What a run starts from."""
        return work.prompts()

    def run(self, work: Work, prompts: list[str]) -> list[str]:
        """The answers of the distinct prompts."""
        return self._runner.run(self._answers(prompts, retry=work.retry))

    def answers(self, result: list[str]) -> list[str]:
        """The answers, to be checked."""
        return result

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._session.close())
        self._runner.close()

    async def _answers(self, prompts: list[str], *, retry: bool) -> list[str]:
        answers = [""] * len(prompts)
        todo = enumerate(prompts)
        ask = self._persist if retry else self._ask
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(_worker(ask, todo, answers))
        return answers

    async def _ask(self, prompt: str) -> str:
        body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
        async with self._session.post(self._url, json=body) as reply:
            reply.raise_for_status()
            answer: str = (await reply.json())["choices"][0]["message"]["content"]
            return answer

    async def _persist(self, prompt: str) -> str:
        wait = FIRST_WAIT
        while True:
            try:
                return await self._ask(prompt)
            except aiohttp.ClientResponseError as error:
                named = error.headers.get("retry-after") if error.headers else None
            except (aiohttp.ClientError, ValueError):
                named = None
            await asyncio.sleep(random.uniform(0, wait) if named is None else float(named))
            wait *= 2


async def _worker(ask: Any, todo: Iterator[tuple[int, str]], answers: list[str]) -> None:
    for i, prompt in todo:
        answers[i] = await ask(prompt)


async def _open(concurrency: int) -> aiohttp.ClientSession:
    def compact(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))  # the very bytes the product sends: the same seeded faults

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency), json_serialize=compact)


if __name__ == "__main__":
    serve(Bare)
