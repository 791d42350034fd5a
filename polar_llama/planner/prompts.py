"""From what was written to a String expression: values are written the way people read them."""

from __future__ import annotations

import polars as pl

from polar_llama.errors import PlanError, UnknownColumnError
from polar_llama.planner.exprs import bare_column, shown
from polar_llama.planner.schema import selected
from polar_llama.planner.selectors import pinned_expr, visible
from polar_llama.template import Template, Told


def render(
    source: pl.Expr | Template | Told, schema: pl.Schema, *, conversation: bool = False, several: bool = True
) -> tuple[pl.Expr, bool]:
    """The expression that renders a prompt, and whether the prompt is a conversation.

    Numbers are written plainly, dates and times in ISO form, structs and lists as JSON. Any null
    field makes the prompt null.

    Args:
        source: What was written.
        schema: The columns there are.
        conversation: Whether text is known to be the JSON of messages, or of one message.
        several: Whether it may be a list of texts, as it then stays.

    Raises:
        PlanError: If a column is missing, or a dtype cannot be a prompt.
    """
    if isinstance(source, Template):
        missing = [f for f in source.fields if f not in schema]
        if missing:
            msg = f"the template {source.text!r} names {missing[0]!r}, which is not a column; {known(schema)}"
            raise UnknownColumnError(msg)
        parts: list[pl.Expr] = [pl.lit(source.texts[0])]
        for name, text in zip(source.fields, source.texts[1:], strict=True):
            parts += [text_of(name, schema[name]), pl.lit(text)]
        return pl.concat_str(parts), False
    if isinstance(source, Told):
        return _told(source, schema, conversation=conversation), True
    prompt, messages = _checked(source, schema, several=several and not conversation)
    return (_listed(prompt), True) if conversation and not messages else (prompt, messages)


def _told(source: Told, schema: pl.Schema, *, conversation: bool) -> pl.Expr:
    """A conversation: what stands beside the prompt, and the prompt."""
    prompt, conversation = render(source.prompt, schema, conversation=conversation, several=False)
    if conversation and source.images:
        msg = "images= goes with a text; in a conversation, images are parts of a message's content"
        raise PlanError(msg)
    if not conversation:
        prompt = pl.concat_str(pl.lit('[{"role":"user","content":'), _content(prompt, source, schema), pl.lit("}]"))
    if source.system is None:
        return prompt
    system, messages = _checked(source.system, schema)
    if messages:
        msg = f"a system prompt must be text, but {shown(source.system)} is a list of messages"
        raise PlanError(msg)
    told = pl.concat_str(pl.lit('[{"role":"system","content":'), _json(system), pl.lit("},"))
    return pl.when(system.is_null()).then(prompt).otherwise(pl.concat_str(told, prompt.str.slice(1)))


def _content(prompt: pl.Expr, source: Told, schema: pl.Schema) -> pl.Expr:
    if not source.images:
        return _json(prompt)
    parts = [part for image in source.images for part in (pl.lit(","), _image(image, schema))]
    return pl.concat_str(pl.lit('[{"type":"text","text":'), _json(prompt), pl.lit("}"), *parts, pl.lit("]"))


def _image(image: pl.Expr, schema: pl.Schema) -> pl.Expr:
    """An image or a document as a part of a message: its bytes, or its URL, which is only handed on."""
    dtype = _dtype(image, schema)
    if dtype == pl.String:
        return pl.concat_str(pl.lit('{"type":"image","url":'), _json(image), pl.lit("}"))
    if dtype == pl.Binary:
        opening, middle = pl.lit('{"type":"image","media_type":"'), pl.lit('","data":"')
        return pl.concat_str(opening, _media_type(image), middle, image.bin.encode("base64"), pl.lit('"}'))
    msg = (
        f"an image must be bytes (Binary) or a URL (String), but {shown(image)} is {dtype}. "
        "Hint: read files with read_files(paths, allow_paths=[...])"
    )
    raise PlanError(msg)


def _media_type(file: pl.Expr) -> pl.Expr:
    """What a file is, by its first bytes."""
    is_webp = file.bin.starts_with(b"RIFF") & (file.bin.slice(8, 4) == pl.lit(b"WEBP"))
    return (
        pl.when(file.bin.starts_with(b"\x89PNG"))
        .then(pl.lit("image/png"))
        .when(file.bin.starts_with(b"\xff\xd8\xff"))
        .then(pl.lit("image/jpeg"))
        .when(is_webp)
        .then(pl.lit("image/webp"))
        .when(file.bin.starts_with(b"GIF8"))
        .then(pl.lit("image/gif"))
        .when(file.bin.starts_with(b"%PDF"))
        .then(pl.lit("application/pdf"))
        .otherwise(pl.lit("unknown"))
    )


def _listed(prompt: pl.Expr) -> pl.Expr:
    """The JSON of messages; one message is a conversation of one."""
    alone = prompt.str.strip_chars_start().str.starts_with("{")
    return pl.when(alone).then(pl.concat_str(pl.lit("["), prompt, pl.lit("]"))).otherwise(prompt)


def known(schema: pl.Schema) -> str:
    """The columns there are, for an error."""
    names = visible(schema).names()
    if not names:
        return "it has no columns"
    return "its columns are " + ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")  # noqa: PLR2004


def _checked(prompt: pl.Expr, schema: pl.Schema, *, several: bool = False) -> tuple[pl.Expr, bool]:
    if prompt.meta.has_multiple_outputs():
        prompt = _one_column(prompt, schema)
    dtype = _dtype(prompt, schema)
    if dtype == pl.String or (several and dtype == pl.List(pl.String)):
        return prompt, False
    if dtype in (pl.Null, pl.Categorical, pl.Enum):
        return prompt.cast(pl.String), False
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        names = {f.name for f in dtype.inner.fields}
        if {"role", "content"} <= names and not _unwritable(dtype):
            return _json(prompt), True
    msg = (
        f"a prompt must be text, or a list of texts or of {{role, content}} messages, but {shown(prompt)} is {dtype}. "
        'Hint: write a template, as in llm("{column}"), or cast to pl.String'
    )
    raise PlanError(msg)


def _dtype(expr: pl.Expr, schema: pl.Schema) -> pl.DataType:
    """The dtype of one expression.

    Raises:
        UnknownColumnError: If it reads a column that is not there.
    """
    column = bare_column(expr)
    if column is not None and column in schema:
        return schema[column]
    try:
        return selected(schema, expr.alias("prompt"))["prompt"]
    except pl.exceptions.ColumnNotFoundError as error:
        missing = next((r for r in expr.meta.root_names() if r not in schema), None)
        if missing is None:
            raise
        msg = f"llm() reads the column {missing!r}, which is not in the frame; {known(schema)}"
        if expr.meta.is_column():
            msg += '. Hint: a string without {fields} names a column; for fixed text write llm(pl.lit("…"))'
        raise UnknownColumnError(msg) from error


def _one_column(prompt: pl.Expr, schema: pl.Schema) -> pl.Expr:
    """A prompt that holds a selector, such as `pl.struct(pl.all()).struct.json_encode()`."""
    shows = visible(schema)
    names = selected(shows, prompt).names()
    if len(names) != 1:
        msg = f"a prompt must be one column, but {shown(prompt)} is {len(names)}. Hint: write a template"
        raise PlanError(msg)
    return prompt if len(shows) == len(schema) else pinned_expr(prompt, lambda s: selected(shows, s).names())


def text_of(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as text."""
    column = pl.col(name)
    if column.meta.has_multiple_outputs():
        msg = f"the column {name!r} cannot be a field: Polars reads its name as a pattern. Hint: rename it first"
        raise PlanError(msg)
    if _unwritable(dtype):
        msg = f"the column {name!r} is {dtype} and cannot be written into a prompt. Hint: decode or cast it first"
        raise PlanError(msg)
    match dtype:
        case pl.String():
            return column
        case pl.Datetime():
            return column.dt.strftime("%Y-%m-%d %H:%M:%S%.f" + ("%:z" if dtype.time_zone else ""))
        case pl.Duration():
            return column.dt.to_string("iso")
        case pl.Time():  # a cast leaves the fraction of a second out
            return column.dt.to_string("iso")
        case pl.Struct() | pl.List() | pl.Array():
            return _json(column)
        case _:
            return column.cast(pl.String)


def _unwritable(dtype: pl.DataType) -> bool:
    """Whether a dtype has no text, itself or in its parts: Polars panics when it is to write those as JSON."""
    match dtype:
        case pl.Struct():
            return any(_unwritable(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]  # no classes in a schema
        case pl.List() | pl.Array():
            return _unwritable(dtype.inner)  # type: ignore[arg-type]
        case _:
            return dtype in (pl.Binary, pl.Object)


def _json(value: pl.Expr) -> pl.Expr:
    """A nested value as JSON. Polars encodes structs only, so the value is put into one and taken out again."""
    wrapped = pl.struct(value.alias("v")).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(value.is_not_null()).then(wrapped)
