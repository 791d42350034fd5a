"""A provider of your own in thirty lines: here a rule, in yours a server, a gateway or a library."""

from __future__ import annotations

import polars as pl

import polar_llama as pll
from polar_llama.providers.base import Connection, Failure, Request, Response, Usage


class Rules:
    """Knows lost cards when it sees them."""

    identity = "rules v1"  # enters cache keys: change it when the same question may get another answer
    host = "this process"  # for messages

    def __init__(self, connection: Connection) -> None:
        self.connection = connection  # environment, secrets, HTTP: `connection.transport().send(...)`

    async def complete(self, request: Request) -> Response | Failure:
        """Ask once, never raise: retries, limits, the cache and validation are around it."""
        if not request.prompt.strip():
            return Failure("bad_request", "there is nothing to answer")  # a failure of this row; it is not retried
        lost = any(word in request.prompt for word in ("stolen", "lost"))
        text = ('{"answer": true}' if lost else '{"answer": false}') if request.ask.schema else request.prompt.upper()
        return Response(text, Usage(input=len(request.prompt) // 4, output=1))

    async def aclose(self) -> None:
        """Nothing to free."""


pll.register_provider("rules", Rules)
mail = pl.LazyFrame({"message": ["My card was stolen!", "Hello", "My card was stolen!", None]})
print(mail.with_columns(lost=pll.llm("message", returns=bool, model="rules:any")).collect())
