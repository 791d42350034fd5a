"""What an answer that came back means for its row: a value, a failure, or a second asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polar_llama.providers.base import Failure

if TYPE_CHECKING:
    from polar_llama.exec.base import Question
    from polar_llama.providers.base import Response

LONGEST_PROBLEM = 500
"""Characters: what is told, to the model and to people, about an answer that does not validate."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """The answer does not validate; the model may be told why and asked once more."""

    problem: str


def judge(question: Question, response: Response) -> object:
    """The row's value, a `Failure`, or `Invalid`."""
    if response.finish != "stop":
        failure = _unfinished(question, response)
        if failure is not None:
            return failure
    return read(question, response.text)


def read(question: Question, text: str) -> object:
    """The value an answer's text stands for, or `Invalid`."""
    if question.parse is None:
        return text
    try:
        return question.parse(text)
    except ValueError as error:
        return Invalid(_short(str(error)))


def invalid(problem: str, response: Response) -> Failure:
    """The failure of a row whose second answer does not validate either."""
    return Failure("invalid", f"the answer does not validate, also when asked again: {problem}", billed=response.usage)


def _unfinished(question: Question, response: Response) -> Failure | None:
    match response.finish:
        case "refusal":
            return Failure("refused", "the model refused to answer", billed=response.usage)
        case "filtered":
            return Failure("refused", "the provider's content filter withheld the answer", billed=response.usage)
        case "length" if question.ask.schema is not None or not response.text:
            hint = "raise max_tokens" if question.ask.max_tokens is not None else "ask for less, or set max_tokens"
            return Failure("truncated", f"the answer was cut off at the token limit; {hint}", billed=response.usage)
        case "tool" if not response.text:
            return Failure("invalid", "the model called a tool instead of answering", billed=response.usage)
        case "error":
            return Failure("malformed", "the model's output was malformed", billed=response.usage)
        case _:
            return None


def _short(problem: str) -> str:
    return problem if len(problem) <= LONGEST_PROBLEM else problem[: LONGEST_PROBLEM - 1] + "…"
