"""What a call asks for, and the names under which expressions refer to it.

`llm(...)` gives a real Polars expression: a reference to a column that does not exist yet. The
column's name holds a digest of the call, so equal calls have equal names; this table leads from
the name back to the call. It holds descriptions and prompt expressions, no cell data, and keeps
the `MAX_INTERNED` most recently written calls.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from polar_llama.errors import PlanError
from polar_llama.template import Template, Told, roots
from polar_llama.types import error_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polar_llama.types import AnswerType

OnError = Literal["raise", "null", "struct"]

PREFIX = "llm() cannot be used here: write it in select, with_columns, filter, sort or agg #"
"""How answer columns are named: should Polars ever meet one uncaptured, its error reads as advice."""

MAX_INTERNED = 100_000


@dataclass(frozen=True, slots=True)
class Call:
    """One `llm(...)` as written, but for its prompt expression.

    Attributes:
        returns: What the answer is.
        label: How the prompt was written, for people: a template or an expression's text.
        model: `"provider:model"`, or None for the setting in force when the run starts.
        system: The system prompt.
        temperature: Sampling temperature, sent only when given.
        max_tokens: The most tokens an answer may have, sent only when given.
        seed: Sent only when given.
        options: A canonical JSON object merged into the request body.
        cache: False asks again although the cache holds an answer.
        on_error: `"raise"`, `"null"`, `"struct"`, or None for the setting in force.
        conversation: Whether the prompt is a list of messages.
        listed: Whether a prompt is a list of texts, each with an answer of its own.
        examples: Questions and their answers, as `Ask.examples`.
        embedding: Whether a vector is wanted, not an answer.
        dimensions: How long the vector is to be, or None.
        allow_urls: Hosts from which images are fetched for providers that take bytes only.
    """

    returns: AnswerType
    label: str = field(compare=False)
    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    options: str = "{}"
    cache: bool = True
    on_error: OnError | None = None
    conversation: bool = False
    listed: bool = False
    examples: str = ""
    embedding: bool = False
    dimensions: int | None = None
    allow_urls: tuple[str, ...] = ()

    @property
    def dtype(self) -> pl.DataType:
        """The dtype of the answered column."""
        one = error_dtype(self.returns.dtype) if self.on_error == "struct" else self.returns.dtype
        return pl.List(one) if self.listed else one


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A call and where its prompt comes from: an expression, a template over columns, either with a system prompt."""

    call: Call
    source: pl.Expr | Template | Told

    @property
    def roots(self) -> list[str]:
        """The columns the prompt is rendered from."""
        return roots(self.source)


_table: OrderedDict[str, Written] = OrderedDict()
_lock = threading.Lock()


def intern(call: Call, source: pl.Expr | Template | Told) -> str:
    """Remember a call and give the name of its answer column: equal calls get equal names."""
    digest = blake2b(repr(call).encode(), digest_size=12)
    digest.update(_fingerprint(source))
    name = PREFIX + digest.hexdigest()
    with _lock:
        _table[name] = Written(call, source)
        _table.move_to_end(name)
        if len(_table) > MAX_INTERNED:
            _table.popitem(last=False)
    return name


def altered(name: str, **changes: Any) -> str:
    """The name for the same prompt asked by another call: one with some attributes changed."""
    found = written(name)
    return intern(replace(found.call, **changes), found.source)


def _fingerprint(source: pl.Expr | Template | Told) -> bytes:
    if isinstance(source, Told):
        kind = f"told {source.system is not None} {len(source.images)}".encode()
        return b"\0".join([kind, *map(_fingerprint, source.beside), _fingerprint(source.prompt)])
    if isinstance(source, Template):
        return repr(source).encode()
    try:
        return source.meta.serialize()
    except Exception:  # noqa: BLE001 -- a Python function that cannot be pickled: like no other, here or elsewhere
        return token_bytes()


def is_answer(name: str) -> bool:
    """Whether a column name is an answer column's."""
    return name.startswith(PREFIX)


def answers(names: Iterable[str]) -> list[str]:
    """The answer columns among column names, each once, in order."""
    return list(dict.fromkeys(n for n in names if n.startswith(PREFIX)))


def written(name: str) -> Written:
    """The call behind an answer column's name.

    Raises:
        PlanError: If the expression came from another process, or `MAX_INTERNED` other calls were
            written since.
    """
    found = _table.get(name)
    if found is None:
        msg = (
            "this llm() expression is not known in this process: it was made in another process, or more than "
            f"{MAX_INTERNED:,} other calls were written since. Hint: build the expression with llm(...) here"
        )
        raise PlanError(msg)
    return found
