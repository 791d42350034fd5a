"""Prompt templates: text with `{column}` fields, filled by Polars, never by Python's formatting.

A field is a column's name and nothing else, and only the template is ever parsed: what a cell holds
cannot become a field.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, NoReturn

from polar_llama.errors import PlanError

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: `texts[0] + field + texts[1] + field + … + texts[-1]`."""

    texts: tuple[str, ...]
    fields: tuple[str, ...]

    @property
    def text(self) -> str:
        """The template as written, normalised: braces of the text doubled."""
        doubled = [t.replace("{", "{{").replace("}", "}}") for t in self.texts]
        return doubled[0] + "".join(f"{{{f}}}{t}" for f, t in zip(self.fields, doubled[1:], strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A prompt with what each row has beside it: a system prompt (null is none), images."""

    system: pl.Expr | None
    prompt: pl.Expr | Template
    images: tuple[pl.Expr, ...] = ()

    @property
    def beside(self) -> list[pl.Expr]:
        """The expressions beside the prompt."""
        return [*(() if self.system is None else (self.system,)), *self.images]


def roots(source: pl.Expr | Template | Told) -> list[str]:
    """The columns a prompt is rendered from."""
    if isinstance(source, Told):
        return [*(name for expr in source.beside for name in expr.meta.root_names()), *roots(source.prompt)]
    return list(source.fields) if isinstance(source, Template) else source.meta.root_names()


def is_template(text: str) -> bool:
    """Whether a prompt string is a template rather than a column's name."""
    return "{" in text or "}" in text


def parse_template(text: str) -> Template:
    """Split a template into its texts and fields.

    >>> parse_template("Is {x} {{polite}}?")
    Template(texts=('Is ', ' {polite}?'), fields=('x',))

    Raises:
        PlanError: If a brace is unmatched, or a field is more than a column's name.
    """
    texts, fields = [""], []
    try:
        for literal, field, spec, conversion in Formatter().parse(text):
            texts[-1] += literal
            if field is not None:
                fields.append(_field(text, field, extra=bool(spec or conversion)))
                texts.append("")
    except ValueError as error:
        _malformed(text, f"{error}; write {{{{ and }}}} for braces of the text")
    return Template(tuple(texts), tuple(fields))


def _field(text: str, name: str, *, extra: bool) -> str:
    if not name.strip() or name.isdigit():
        _malformed(text, "a field must name a column: {question}")
    if extra or any(c in name for c in ".["):
        _malformed(
            text,
            f"the field {{{name}}} is more than a column's name; format specs and attributes are not supported. "
            'Hint: use an expression, as in llm(pl.format("…{}…", pl.col(…)))',
        )
    return name


def _malformed(text: str, why: str) -> NoReturn:
    shown = text if len(text) <= 80 else text[:77] + "…"  # noqa: PLR2004 -- a line
    msg = f"malformed template {shown!r}: {why}"
    raise PlanError(msg)
