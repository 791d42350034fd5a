"""`inference*` and `embedding_async`: `llm` and `embed` by their old names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.call import altered
from polar_llama.errors import ConfigurationError
from polar_llama.frame.embed import embed
from polar_llama.frame.llm import llm
from polar_llama.seed.provider import expression, model_of, name_of
from polar_llama.types import answer_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel


def inference_async(
    expr: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    response_model: type[BaseModel] | None = None,
    response_format: type[BaseModel] | None = None,
) -> pl.Expr:
    """Ask a model, many rows at once: `llm(expr, model="provider:model", returns=response_model)`.

    Args:
        expr: The prompts: an expression, or a column's name.
        provider: A `Provider` or its name; by default OpenAI.
        model: The model's name; by default the provider's.
        response_model: A pydantic model that the answers follow.
        response_format: Another name for `response_model`.

    Returns:
        String, named as the prompts. With a `response_model` a Struct of its fields and of `_error`, `_details` and
        `_raw`: a row without an answer has nulls in its fields and says why in `_error` and `_details`; `_raw` is
        always null, since what a model wrote instead of an answer is not kept.

    Raises:
        ConfigurationError: If an option is wrong.
    """
    prompt = expression(expr)
    returns = _one_of(response_model, response_format)
    name = model_of(provider, model)
    if returns is None:
        return llm(prompt, model=name).alias(name_of(prompt))
    answer = llm(prompt, model=name, returns=returns, on_error="struct")
    return _with_errors(answer, returns, name_of(prompt))


def inference(
    expr: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    response_model: type[BaseModel] | None = None,
    response_format: type[BaseModel] | None = None,
) -> pl.Expr:
    """The same as `inference_async`: the old one asked row after row, which nobody wants."""
    return inference_async(
        expr, provider=provider, model=model, response_model=response_model, response_format=response_format
    )


def inference_messages(
    expr: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    response_model: type[BaseModel] | None = None,
    response_format: type[BaseModel] | None = None,
) -> pl.Expr:
    """Continue conversations.

    Args:
        expr: Conversations: text that holds a JSON array of `{"role", "content"}` messages, or one such message
            (`combine_messages` and `string_to_message` make both), or a List of `Struct{role, content}`.
        provider: As for `inference_async`.
        model: As for `inference_async`.
        response_model: As for `inference_async`.
        response_format: As for `inference_async`.

    Returns:
        As for `inference_async`.

    Raises:
        ConfigurationError: If an option is wrong.
    """
    prompt = expression(expr)
    returns = _one_of(response_model, response_format)
    name = model_of(provider, model)
    if returns is None:
        return _conversing(llm(prompt, model=name)).alias(name_of(prompt))
    answer = _conversing(llm(prompt, model=name, returns=returns, on_error="struct"))
    return _with_errors(answer, returns, name_of(prompt))


def embedding_async(expr: Any, *, provider: str | None = None, model: str | None = None) -> pl.Expr:
    """The vector of every text: `embed(expr, model="provider:model")`.

    Args:
        expr: The texts: an expression, or a column's name.
        provider: A `Provider` or its name; by default OpenAI. One without embeddings is an error.
        model: The model's name; by default the provider's.

    Returns:
        List(Float64), named as the texts. (`embed` gives Float32, which is all that models give.)

    Raises:
        ConfigurationError: If an option is wrong.
    """
    texts = expression(expr)
    vectors = embed(texts, model=model_of(provider, model, embedding=True))
    return vectors.cast(pl.List(pl.Float64)).alias(name_of(texts))


def flat(answer: pl.Expr, fields: Sequence[pl.Expr]) -> pl.Expr:
    """An answer in the form `struct` as one flat Struct: its fields, `_error`, `_details`, `_raw`; null for no prompt.

    Args:
        answer: A call with `on_error="struct"`.
        fields: What stands before the errors.
    """
    said = answer.struct.field("error").str.splitn(": ", 2)
    made = pl.struct(
        *fields,
        said.struct.field("field_0").alias("_error"),
        said.struct.field("field_1").alias("_details"),
        pl.lit(None, pl.String).alias("_raw"),
    )
    return pl.when(answer.is_not_null()).then(made)


def _with_errors(answer: pl.Expr, returns: type[BaseModel], name: str) -> pl.Expr:
    dtype = answer_type(returns).dtype
    value = answer.struct.field("answer")
    if not isinstance(dtype, pl.Struct):
        msg = f"response_model must be a pydantic model with fields, not {returns.__name__}"
        raise ConfigurationError(msg)
    return flat(answer, [value.struct.field(field.name) for field in dtype.fields]).alias(name)


def _conversing(answer: pl.Expr) -> pl.Expr:
    return pl.col(altered(answer.meta.root_names()[0], conversation=True))


def _one_of(model: type[BaseModel] | None, same: type[BaseModel] | None) -> type[BaseModel] | None:
    if model is not None and same is not None and model is not same:
        msg = "response_model= and response_format= are two names for one option: give one of them"
        raise ConfigurationError(msg)
    return model or same
