"""`tag_taxonomy`: texts tagged by a taxonomy, with the reasons."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Any, Literal

import polars as pl
from pydantic_core import from_json

from polar_llama.errors import ConfigurationError
from polar_llama.frame.llm import llm
from polar_llama.seed.inference import flat
from polar_llama.seed.provider import expression, model_of, name_of
from polar_llama.types.typeddicts import typed_dict

TAG = pl.Struct(
    {
        "thinking": pl.List(pl.Struct({"value": pl.String, "reasoning": pl.String})),
        "reflection": pl.String,
        "value": pl.String,
        "confidence": pl.Float64,
    }
)
"""A tag. Values are the texts they always were; the request holds the model to the taxonomy's all the same."""

_TASK = (
    "Tag the text of the user by every field of this taxonomy. For each field, think about every value in turn: say "
    "why it may or may not apply. Then reflect on what you thought, choose one value, and give your confidence from "
    "0.0 to 1.0."
)


def tag_taxonomy(
    expr: Any, taxonomy: dict[str, dict[str, Any]], *, provider: str | None = None, model: str | None = None
) -> pl.Expr:
    """Tag every text by each field of a taxonomy, in one request a text.

    Args:
        expr: The texts: an expression, or a column's name.
        taxonomy: `{field: {"description": …, "values": {value: its definition}}}`.
        provider: A `Provider` or its name; by default OpenAI.
        model: The model's name; by default the provider's.

    Returns:
        Struct, named as the texts. Each field is a Struct of `thinking` (a List of `Struct{value, reasoning}`, one
        per value), `reflection`, `value` (String, one of the field's) and `confidence` (Float64 from 0 to 1). Beside
        the fields stand `_error`, `_details` and `_raw`, as in `inference_async`.

    Raises:
        ConfigurationError: If the taxonomy is not of this form.
    """
    texts = expression(expr)
    written = _written(taxonomy)
    answer = llm(
        texts,
        model=model_of(provider, model),
        system=_instructions(written),
        returns=_tags(written),
        on_error="struct",
    )
    fields = [answer.struct.field("answer").struct.field(name).cast(TAG) for name in taxonomy]
    return flat(answer, fields).alias(name_of(texts))


def _written(taxonomy: dict[str, dict[str, Any]]) -> str:
    """The taxonomy as JSON, in its order: equal ones are equal calls."""
    try:
        checked = {
            str(field): {
                "description": str(about.get("description", "")),
                "values": {str(value): str(definition) for value, definition in about["values"].items()},
            }
            for field, about in taxonomy.items()
        }
    except (AttributeError, KeyError, TypeError):
        checked = {}
    if not checked or not all(about["values"] for about in checked.values()):
        msg = 'a taxonomy must be {field: {"description": "…", "values": {value: "its definition"}}}, with values'
        raise ConfigurationError(msg)
    return json.dumps(checked, ensure_ascii=False)


@lru_cache(maxsize=256)
def _tags(written: str) -> Any:
    from pydantic import Field

    fields = {}
    for name, about in from_json(written).items():
        value: Any = Literal[tuple(about["values"])]
        thought = typed_dict("thought", {"value": value, "reasoning": str})
        fields[name] = typed_dict(
            "tag",
            {
                "thinking": list.__class_getitem__(thought),
                "reflection": str,
                "value": value,
                "confidence": Annotated[float, Field(ge=0, le=1)],
            },
        )
    return typed_dict("tags", fields, {"allow_inf_nan": False})


@lru_cache(maxsize=256)
def _instructions(written: str) -> str:
    lines = [_TASK]
    for name, about in from_json(written).items():
        lines += ["", f"{name}: {about['description']}"]
        lines += [f"- {value}: {definition}" for value, definition in about["values"].items()]
    return "\n".join(lines)
