"""Prompts that are lists of texts: each text is asked once, and its answers are a list again."""

from __future__ import annotations

import polars as pl


def texts(prompts: pl.Series) -> pl.DataFrame:
    """The texts of lists, in order: a `row` and a `text` each; a list that is null or holds nothing has none.

    >>> texts(pl.Series([["a", "b"], [], None, [None]])).rows()
    [(0, 'a'), (0, 'b'), (3, None)]
    """
    numbered = pl.DataFrame({"row": pl.int_range(len(prompts), eager=True), "text": prompts.alias("text")})
    return numbered.filter(pl.col("text").list.len() > 0).explode("text")


def relisted(prompts: pl.Series, answered: pl.DataFrame, dtype: pl.DataType) -> pl.Series:
    """The answers of texts as lists: null where the prompts were, empty where they were.

    >>> prompts = pl.Series([["a", "b"], [], None, [None]])
    >>> relisted(prompts, texts(prompts), pl.List(pl.String())).to_list()
    [['a', 'b'], [], None, [None]]
    """
    lists = answered.group_by("row", maintain_order=True).agg("text")
    sizes = pl.DataFrame({"row": pl.int_range(len(prompts), eager=True), "size": prompts.alias("size")})
    nothing = pl.lit(pl.Series([[]], dtype=dtype)).first()
    return (
        sizes.with_columns(pl.col("size").list.len())
        .join(lists, on="row", how="left", maintain_order="left")
        .select(pl.when(pl.col("size") == 0).then(nothing).otherwise("text"))
        .to_series()
        .cast(dtype)
        .alias(prompts.name)
    )
