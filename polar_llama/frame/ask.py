"""`ask(...)`: several questions on one text, answered by one request."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from polar_llama.errors import ConfigurationError
from polar_llama.frame.llm import llm
from polar_llama.types.spelling import spell
from polar_llama.types.typeddicts import typed_dict

if TYPE_CHECKING:
    import polars as pl


def ask(prompt: str | pl.Expr, questions: Mapping[str, Any], **llm_options: Any) -> pl.Expr:
    """Ask several questions on one text together: the text is sent, and paid for, once.

    Args:
        prompt: As for `llm`.
        questions: What is asked: names to types. A name is the question (`"polite"`, `"Which desk?"`);
            `Annotated[bool, Field(description="…")]` of pydantic puts it in words.
        **llm_options: Any option of `llm` but `returns`.

    Returns:
        An expression of dtype Struct, a field per question in their order, named `llm`.

    Raises:
        ConfigurationError: If there is no question, or a type is not supported.

    Examples:
        >>> import polars as pl
        >>> lf = pl.LazyFrame({"mail": ["Where is my card?"]})
        >>> lf.with_columns(about=ask("mail", {"polite": bool, "words": int})).collect_schema()["about"]
        Struct({'polite': Boolean, 'words': Int64})
    """
    if not isinstance(questions, Mapping) or not questions or not all(isinstance(q, str) for q in questions):
        msg = 'ask() wants at least one question by name: ask("mail", {"polite": bool, "language": str})'
        raise ConfigurationError(msg)
    if "returns" in llm_options:
        msg = "ask() returns the types of its questions: leave returns= out, or use llm()"
        raise ConfigurationError(msg)
    fields = tuple(questions.items())
    return llm(prompt, returns=_answers(_Questions(fields)), **llm_options)


class _Questions:
    """Questions, equal when their names and types are: equal calls must get equal types."""

    def __init__(self, fields: tuple[tuple[str, Any], ...]) -> None:
        self.fields = fields
        self._spelled = tuple((name, spell(kind)) for name, kind in fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Questions) and self._spelled == other._spelled

    def __hash__(self) -> int:
        return hash(self._spelled)


@lru_cache(maxsize=1024)
def _answers(questions: _Questions) -> Any:
    return typed_dict("answers", dict(questions.fields), {"allow_inf_nan": False})
