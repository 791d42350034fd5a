"""`llm(...)`: a Polars expression for the answers of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic_core import to_json

from polar_llama.call import Call, intern
from polar_llama.errors import ConfigurationError, PlanError
from polar_llama.frame.patch import arm
from polar_llama.frame.shots import written_examples
from polar_llama.template import Template, Told, is_template, parse_template
from polar_llama.transport.fetch import checked_hosts
from polar_llama.types import answer_type

if TYPE_CHECKING:
    from polar_llama.call import OnError

_LABEL = 60


def llm(  # noqa: PLR0913 -- everything that can change an answer has a name
    prompt: str | pl.Expr,
    *,
    returns: Any = str,
    model: str | None = None,
    system: str | pl.Expr | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    examples: Sequence[tuple[Any, Any]] | None = None,
    images: str | pl.Expr | Sequence[str | pl.Expr] | None = None,
    allow_urls: Sequence[str] = (),
    cache: bool = True,
    on_error: OnError | None = None,
) -> pl.Expr:
    """Ask a model once for every distinct prompt.

    Nothing is asked until the frame is collected, and then only for rows and columns that matter.
    Equal prompts with equal settings are one request, within a frame, across frames running at
    once, and across processes and days by the cache.

    Args:
        prompt: A column's name; or a template, `"Is this polite? {message}"`, whose `{column}` fields
            Polars fills (`{{` and `}}` are braces); or any expression of text, of lists of texts (answered by lists),
            or of lists of `{role, content}` messages. A null prompt, or any null field, gives a null answer and no
            request.
        returns: What the answer is, as a Python type: `str`, `bool`, `int`, `float`, `Literal[...]`, an
            `Enum`, `date`, `datetime`, `list[T]`, `Optional[T]`, or a Pydantic model, `TypedDict` or dataclass.
        model: `"provider:model"`, such as `"openai:gpt-6-luna"`, or `"local"`; by default the setting.
        system: The system prompt: a text, or an expression of texts for one of each row's own.
        temperature: Sampling temperature; sent only when given, since many models refuse it.
        max_tokens: The most tokens of an answer; sent only when given. A text that ends there is the answer, cut
            off; an answer with a type that ends there is a failure of its row.
        seed: Sent only when given.
        options: Merged into the request body, for what has no name here.
        examples: Pairs of a question and its answer, which the model is shown before every prompt. A question is a
            whole prompt (of a template also a mapping of its fields), an answer a value of `returns`.
        images: Columns or expressions of images that go with the prompt: their bytes (PNG, JPEG, WebP, GIF; also PDF
            documents), or http(s) URLs, which are handed to the provider. Null: no question.
        allow_urls: Hosts (`"images.example.com"`, `"*.example.com"`) from which images that are URLs are fetched for
            providers that take bytes only (Gemini, Bedrock, local); without them nothing is fetched.
        cache: False asks again although the cache holds an answer.
        on_error: `"raise"` (after every other row is answered and cached), `"null"`, or `"struct"`
            (`Struct{answer, error}`); by default the setting.

    Returns:
        An expression of the frame's height and of the dtype of `returns` (`str` is String, `Literal` an
        Enum, a model a Struct, ...), named `llm`. Use it in `select`, `with_columns`, `filter`, `sort` or `agg`,
        inside any other expression.

    Raises:
        PlanError: If the template is malformed.
        ConfigurationError: If `returns` is not supported or an option is wrong.

    Examples:
        >>> import polars as pl, polar_llama as pll
        >>> lf = pl.LazyFrame({"question": ["Where is my card?"]})
        >>> dict(lf.with_columns(answer=pll.llm("question")).collect_schema())
        {'question': String, 'answer': String}
    """
    source: pl.Expr | Template | Told
    source, label = _source(prompt)
    seen = _images(images)
    if isinstance(system, pl.Expr):
        source, system = Told(system, source, seen), None
    elif seen:
        source = Told(None, source, seen)
    kind = answer_type(returns)
    call = Call(
        returns=kind,
        label=label,
        model=_text("model", model),
        system=_text("system", system),
        temperature=_number("temperature", temperature),
        max_tokens=_count("max_tokens", max_tokens, least=1),
        seed=_count("seed", seed, least=None),
        options=_options(options),
        examples=written_examples(examples, kind, source),
        cache=_flag(cache),
        on_error=_on_error(on_error),
        allow_urls=checked_hosts(allow_urls) if allow_urls else (),
    )
    arm()
    return pl.col(intern(call, source)).alias("llm")


LLM = llm


def _source(prompt: str | pl.Expr) -> tuple[pl.Expr | Template, str]:
    if isinstance(prompt, str):
        source: pl.Expr | Template = parse_template(prompt) if is_template(prompt) else pl.col(prompt)
        return source, f'llm("{_short(prompt)}")'
    if isinstance(prompt, pl.Expr):
        prompt = prompt.as_expr() if isinstance(prompt, pl.selectors.Selector) else prompt
        if "element()" in str(prompt) and _reads_element(prompt):
            msg = (
                "a prompt cannot be made of pl.element(): inside a list nothing can be asked. "
                "Hint: explode the list, ask in a with_columns(), and group the answers again"
            )
            raise PlanError(msg)
        return prompt, f"llm({_short(str(prompt))})"
    msg = (
        f"a prompt must be a column's name, a template or an expression, not {type(prompt).__name__}. "
        'Hint: llm("question"), llm("Answer: {question}") or llm(pl.col("question"))'
    )
    raise ConfigurationError(msg)


def _reads_element(expr: pl.Expr) -> bool:
    return expr.meta.eq(pl.element()) or any(map(_reads_element, expr.meta.pop()))


def _images(images: str | pl.Expr | Sequence[str | pl.Expr] | None) -> tuple[pl.Expr, ...]:
    given = [] if images is None else [images] if isinstance(images, str | pl.Expr) else images
    if not isinstance(given, list | tuple) or not all(isinstance(image, str | pl.Expr) for image in given):
        raise _wrong("images", "a column, an expression, or a list of them", images)
    return tuple(pl.col(image) if isinstance(image, str) else image for image in given)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"


def _wrong(name: str, wanted: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"llm({name}=…) must be {wanted}, not {type(value).__name__} {value!r}"[:300])


def _text(name: str, value: str | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _wrong(name, "a string or an expression" if name == "system" else "a string", value)
    if name == "model" and value is not None and not value.strip():
        raise _wrong(name, '"provider:model", such as "openai:gpt-6-luna", or "local"', value)
    return value


def _number(name: str, value: float | None) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2):  # noqa: PLR2004 -- the widest range a provider takes
        raise _wrong(name, "a number from 0 to 2", value)
    return value


def _count(name: str, value: int | None, *, least: int | None) -> int | None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least)
    ):
        raise _wrong(name, "a whole number" + ("" if least is None else f" of at least {least}"), value)
    return value


def _flag(value: bool) -> bool:  # noqa: FBT001 -- checks a user's value
    if not isinstance(value, bool):
        raise _wrong("cache", "True or False", value)
    return value


def _on_error(value: OnError | None) -> OnError | None:
    if value not in (None, "raise", "null", "struct"):
        raise _wrong("on_error", '"raise", "null" or "struct"', value)
    return value


def _options(options: Mapping[str, Any] | None) -> str:
    if options is None:
        return "{}"
    if not isinstance(options, Mapping) or not all(isinstance(k, str) for k in options):
        raise _wrong("options", "a mapping of request fields", options)
    try:
        return to_json(_sorted(options)).decode()
    except ValueError as error:
        msg = f"llm(options=…) must hold values that JSON can hold: {error}"
        raise ConfigurationError(msg) from None


def _sorted(value: Any) -> Any:
    """The same value with sorted keys: equal options must give equal cache keys."""
    if isinstance(value, Mapping):
        return {k: _sorted(value[k]) for k in sorted(value)}
    return [_sorted(v) for v in value] if isinstance(value, list | tuple) else value
