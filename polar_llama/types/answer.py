"""What an answer is: one frozen value that knows its dtype, its JSON schema and how to read a text."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.types.invalid import InvalidAnswer
from polar_llama.types.spelling import spell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_KNOWN = 1024
"""How many answer types are kept; one is built in about a millisecond."""


@dataclass(frozen=True, slots=True)
class AnswerType:
    """What a call's answers are. Equal when the annotations are: same spelling, same classes.

    Attributes:
        annotation: What the user gave as `returns`.
        dtype: The dtype of a column of answers.
        schema: A JSON schema as compact JSON, with an object at its root; None for plain text. Keywords are
            sorted, properties stand in the order of the fields: models answer in that order, so a field
            `reason` before a field `verdict` is thought through first.
        schema_name: A name for the schema, of at most 64 characters of `[A-Za-z0-9_-]`.
        identity: The annotation spelled out, with the identity of its classes.
        reader: Turns a text into a value of `dtype`.
    """

    annotation: Any = field(compare=False, repr=False)
    dtype: pl.DataType = field(compare=False, repr=False)
    schema: str | None = field(compare=False, repr=False)
    schema_name: str = field(compare=False, repr=False)
    identity: str
    reader: Callable[[str], object] = field(compare=False, repr=False)

    def parse(self, text: str) -> object:
        """Read one answer.

        Returns:
            A value `series` takes: plain Python values, dicts (with the Python names of the fields) and lists.
            None is a null that the type allows.

        Raises:
            InvalidAnswer: If the text is not such an answer. The message has at most 500 characters and
                quotes nothing of the text but names of fields.
        """
        return self.reader(text)

    def series(self, name: str, values: Sequence[object | None]) -> pl.Series:
        """A column of answers, of `dtype`.

        Args:
            name: The column's name.
            values: What `parse` gave; None is null (of a struct the null struct, of a list the null list).
        """
        if self.dtype.is_nested():
            from polar_llama.types.nested import nested_series

            return nested_series(name, values, self.dtype)
        return pl.Series(name, values, dtype=self.dtype)

    def __reduce__(self) -> tuple[Callable[[Any], AnswerType], tuple[Any]]:
        """Travel as the annotation: a validator cannot be pickled."""
        return answer_type, (self.annotation,)


def answer_type(returns: Any) -> AnswerType:
    """The answer type of what a user gave as `returns`: a Python type or a Polars dtype.

    Raises:
        ConfigurationError: If no column can hold such answers; it names the type, the path to it inside a
            model, and what is supported.
    """
    return _known(_Written(spell(returns), returns))


def error_dtype(answer: pl.DataType) -> pl.Struct:
    """The dtype of answers with `on_error="struct"`: the answer, and the error where there is none."""
    return pl.Struct({"answer": answer, "error": pl.String})


@dataclass(frozen=True, slots=True)
class _Written:
    """An annotation, equal by its spelling: some are not hashable, and `Literal["a", "b"] == Literal["b", "a"]`."""

    identity: str
    annotation: Any = field(compare=False)


@lru_cache(maxsize=MAX_KNOWN)
def _known(written: _Written) -> AnswerType:
    if written.annotation is str or written.annotation is pl.String or isinstance(written.annotation, pl.String):
        return AnswerType(written.annotation, pl.String(), None, "answer", written.identity, _plain_text)
    from polar_llama.types.build import build

    built = build(written.annotation)
    return AnswerType(written.annotation, built.dtype, built.schema, built.schema_name, written.identity, built.reader)


def _plain_text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            msg = "the text holds a lone surrogate, which is not valid Unicode"
            raise InvalidAnswer(msg) from None
    return text
