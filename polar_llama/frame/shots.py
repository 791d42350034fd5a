"""Few-shot examples: questions and their answers, as the model would be shown them and would write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, to_json

from polar_llama.errors import ConfigurationError
from polar_llama.template import Template, Told
from polar_llama.types import InvalidAnswer

if TYPE_CHECKING:
    import polars as pl

    from polar_llama.types import AnswerType


def written_examples(
    examples: Sequence[tuple[Any, Any]] | None, returns: AnswerType, source: pl.Expr | Template | Told
) -> str:
    """Examples as they stand in a call.

    Args:
        examples: Pairs of a question (the prompt's text; of a template also a mapping of its fields to their
            texts) and its answer, a value of what the call returns.
        returns: What the call returns.
        source: The call's prompt.

    Returns:
        A canonical JSON array of `[question, answer]` texts; "" when there are none.

    Raises:
        ConfigurationError: If an example is not such a pair, or its answer not of the type.
    """
    if not examples:
        return ""
    pairs = []
    for number, pair in enumerate(examples, 1):
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004
            msg = f"example {number} is not a pair. Hint: examples=[(question, answer), …]"
            raise ConfigurationError(msg)
        pairs.append((_question(pair[0], source, number), _answer(pair[1], returns, number)))
    return to_json(pairs).decode()


def _question(question: Any, source: pl.Expr | Template | Told, number: int) -> str:
    if isinstance(question, str):
        return question
    prompt = source.prompt if isinstance(source, Told) else source
    if isinstance(question, Mapping) and isinstance(prompt, Template) and set(question) == set(prompt.fields):
        return prompt.texts[0] + "".join(
            f"{question[field]}{text}" for field, text in zip(prompt.fields, prompt.texts[1:], strict=True)
        )
    fields = f", or the mapping of its fields {sorted(set(prompt.fields))}" if isinstance(prompt, Template) else ""
    msg = f"the question of example {number} must be the prompt's text{fields}, not {type(question).__name__}"
    raise ConfigurationError(msg)


def _answer(answer: Any, returns: AnswerType, number: int) -> str:
    """The answer as the model should write it; what does not read back as an answer is refused."""
    if returns.schema is None:
        if isinstance(answer, str):
            return answer
        msg = f"the answer of example {number} must be text, not {type(answer).__name__}. Hint: set returns="
        raise ConfigurationError(msg)
    wrapped = list(json.loads(returns.schema).get("properties", {})) == ["answer"]
    why = ""
    for value in ({"answer": answer}, answer) if wrapped else (answer,):
        try:
            text = to_json(value).decode()
            returns.parse(text)
        except (InvalidAnswer, PydanticSerializationError) as error:
            why = why or str(error)
        else:
            return text
    msg = f"the answer of example {number} is no answer of this type: {why}"
    raise ConfigurationError(msg)
