"""Messages as JSON text, in plain Polars."""

from __future__ import annotations

from typing import Any

import polars as pl

from polar_llama.errors import ConfigurationError
from polar_llama.seed.provider import expression, name_of

ROLES = ("system", "user", "assistant")


def string_to_message(expr: Any, *, message_type: str) -> pl.Expr:
    r"""A text as a message.

    Args:
        expr: The texts: an expression, or a column's name.
        message_type: `"system"`, `"user"` or `"assistant"`.

    Returns:
        String, named as the texts: `{"role": "user", "content": "…"}`. Null for null.

    Raises:
        ConfigurationError: If there is no such role.

    >>> pl.DataFrame({"q": ['Say "hi"']}).select(string_to_message("q", message_type="user")).item()
    '{"role": "user", "content": "Say \\"hi\\""}'
    """
    if message_type not in ROLES:
        msg = f"message_type must be one of {', '.join(map(repr, ROLES))}, not {message_type!r}"
        raise ConfigurationError(msg)
    text = expression(expr)
    opening = f'{{"role": "{message_type}", "content": '
    return pl.concat_str(pl.lit(opening), _json(text.cast(pl.String)), pl.lit("}")).alias(name_of(text))


def combine_messages(*exprs: Any) -> pl.Expr:
    """Messages, and lists of messages, as one conversation.

    Args:
        *exprs: JSON texts of a message or of an array of messages each; null and empty ones are left out.

    Returns:
        String: a JSON array of all messages in their order, named as the first. Null where nothing is left.

    Raises:
        ConfigurationError: If there is nothing to combine.
    """
    if not exprs:
        msg = "combine_messages() wants at least one column of messages"
        raise ConfigurationError(msg)
    found = [expression(expr) for expr in exprs]
    joined = pl.concat_str(map(_inside, found), separator=", ", ignore_nulls=True)
    return pl.when(joined != "").then(pl.concat_str(pl.lit("["), joined, pl.lit("]"))).alias(name_of(found[0]))


def _inside(messages: pl.Expr) -> pl.Expr:
    """The messages of a text, without the brackets of an array."""
    text = messages.str.strip_chars()
    inner = text.str.strip_prefix("[").str.strip_suffix("]").str.strip_chars()
    bare = pl.when(text.str.starts_with("[")).then(inner).otherwise(text)
    return pl.when(bare != "").then(bare)


def _json(text: pl.Expr) -> pl.Expr:
    """A text as JSON. Polars encodes structs only, so the text is put into one and taken out again."""
    encoded = pl.struct(text.alias("t")).struct.json_encode().str.strip_prefix('{"t":').str.strip_suffix("}")
    return pl.when(text.is_not_null()).then(encoded)
