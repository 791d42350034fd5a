"""`template`: text with fields that expressions fill."""

from __future__ import annotations

from string import Formatter
from typing import Any

import polars as pl

from polar_llama.errors import PlanError
from polar_llama.seed.provider import expression


def template(format_string: str, *args: Any, **kwargs: Any) -> pl.Expr:
    """Fill a text's fields; `llm("Hello {name}")` needs no such help.

    Args:
        format_string: Text with the fields `{}`, `{0}` or `{name}`; `{{` and `}}` are braces.
        *args: What fills `{}` and `{0}`: expressions, or columns' names.
        **kwargs: What fills `{name}`.

    Returns:
        String; null where a field is null.

    Raises:
        PlanError: If the text is malformed, or nothing was given for a field.

    >>> pl.DataFrame({"n": ["Ann"], "y": [3]}).select(template("{who} is {}, {{ok}}", "y", who=pl.col("n"))).item()
    'Ann is 3, {ok}'
    """
    parts: list[pl.Expr] = []
    unnumbered = iter(args)
    try:
        for text, field, spec, conversion in Formatter().parse(format_string):
            parts.append(pl.lit(text))
            if field is None:
                continue
            if spec or conversion:
                msg = f"template(): the field {{{field}}} is more than a name; format specs are not supported"
                raise PlanError(msg)
            given = next(unnumbered) if not field else args[int(field)] if field.isdigit() else kwargs[field]
            parts.append(expression(given).cast(pl.String))
    except (KeyError, IndexError, StopIteration):
        msg = f"template(): nothing was given for a field of {format_string!r}"
        raise PlanError(msg) from None
    except ValueError as error:
        msg = f"template(): malformed text {format_string!r}: {error}"
        raise PlanError(msg) from None
    return pl.concat_str(parts or [pl.lit("")])
