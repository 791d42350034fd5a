"""The calls in a query: which they are, and what they ask for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import polars as pl
from sqlglot import exp

from polar_llama.call import written
from polar_llama.errors import ConfigurationError, PlanError
from polar_llama.frame.llm import llm
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import readable, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polar_llama.call import Call
    from polar_llama.sqlfront.dtypes import Types

FUNCTIONS = frozenset({"llm", "llm_bool", "llm_class"})
OPTIONS = ("returns", "model", "system", "temperature", "max_tokens", "seed", "options", "cache", "on_error")
_LABEL, _LABELLED = 60, "polar_llama label"
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


@dataclass(frozen=True, slots=True, eq=False)
class Asks:
    """What a call asks for, whatever its prompt is.

    Attributes:
        call: The call.
        kind: DuckDB's type of its answer.
    """

    call: Call
    kind: str


def is_call(node: Any) -> bool:
    """Whether a node is a call, in whatever case it is written."""
    return isinstance(node, exp.Anonymous) and node.name.lower() in FUNCTIONS


def holds_call(node: exp.Expr | None) -> bool:
    """Whether a call is anywhere in an expression, its subqueries included."""
    if node is not None:
        for found in walk(node, nested=True):
            if found.__class__ is exp.Anonymous and is_call(found):
                return True
    return False


def prompt_of(call: exp.Expr) -> exp.Expr:
    """The prompt among a call's arguments."""
    for argument in call.expressions:
        if not isinstance(argument, exp.PropertyEQ | exp.Kwarg):
            return argument  # type: ignore[no-any-return]
        if argument.this.name.lower() == "prompt":
            return argument.expression  # type: ignore[no-any-return]
    return exp.Null()


def read_call(
    node: exp.Expr, connection: duckdb.DuckDBPyConnection, types: Types, parameters: Mapping[str, Any]
) -> Asks:
    """What a call asks for.

    Raises:
        PlanError: If an argument is unknown, missing, wrong or not constant.
    """
    name = node.name.lower()
    positional = [a for a in node.expressions if not isinstance(a, exp.PropertyEQ | exp.Kwarg)]
    named = {a.this.name.lower(): a.expression for a in node.expressions if isinstance(a, exp.PropertyEQ | exp.Kwarg)}
    if "prompt" in named:
        positional.insert(0, named.pop("prompt"))
    takes = ("prompt", "labels") if name == "llm_class" else ("prompt",)
    if name == "llm_class" and "labels" in named:
        positional.append(named.pop("labels"))
    if len(positional) != len(takes):
        raise PlanError(f"{name}() takes {_usage(name)}; it was given {len(positional)} arguments without a name")
    allowed = OPTIONS if name == "llm" else OPTIONS[1:]
    unknown = sorted(set(named) - set(allowed))
    if unknown:
        raise PlanError(f"{name}() has no option {unknown[0]!r}; its options are {', '.join(allowed)}")
    values = {key: constant(f"{name}({key} := …)", value, connection, parameters) for key, value in named.items()}
    if name == "llm_class":
        annotation, kind = _class(constant("the labels of llm_class()", positional[1], connection, parameters))
    else:
        annotation, kind = types.answer("BOOLEAN" if name == "llm_bool" else _returns(values))
    options = values.pop("options", None)
    if isinstance(options, str):
        options = _json(options)
    try:
        expr = llm(pl.col("prompt"), returns=annotation, options=options, **values)
    except ConfigurationError as error:
        raise PlanError(str(error)) from None
    call = written(expr.meta.root_names()[0]).call
    if call.on_error == "struct":
        kind = f"STRUCT(answer {kind}, error VARCHAR)"
    return Asks(call, kind)


def label_of(call: exp.Expr) -> str:
    """How a call was written, for people."""
    return call.meta_get(_LABELLED) or _short(readable(call).replace('"', ""))


def labelled(call: exp.Expr) -> exp.Expr:
    """A call that will be known by how it is written now, wherever its prompt comes from later."""
    call.meta[_LABELLED] = label_of(call)
    return call


def _returns(values: dict[str, Any]) -> str:
    returns = values.pop("returns", "VARCHAR")
    if not isinstance(returns, str):
        raise PlanError("llm(returns := …) takes the text of a DuckDB type: llm(question, returns := 'BOOLEAN')")
    return returns


def _class(labels: Any) -> tuple[Any, str]:
    """The Python type of one of some labels, and DuckDB's, as it would write it itself."""
    texts = isinstance(labels, list | tuple) and all(isinstance(label, str) for label in labels)
    if not texts or not labels or len(set(labels)) != len(labels):
        raise PlanError("llm_class() takes its labels as a list of different texts: llm_class(question, ['a', 'b'])")
    return Literal[tuple(labels)], f"ENUM({', '.join(text(exp.Literal.string(label)) for label in labels)})"


def constant(what: str, value: exp.Expr, con: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> Any:
    """The value of an argument that must be the same for every row.

    Raises:
        PlanError: If it reads a column, or DuckDB cannot compute it.
    """
    texts = value.expressions if isinstance(value, exp.Array) else [value]
    if all(isinstance(t, exp.Literal) and t.is_string for t in texts):  # as it nearly always is
        return [t.name for t in texts] if isinstance(value, exp.Array) else value.name
    if any(isinstance(n, exp.Column | exp.Query) or is_call(n) for n in value.walk()):
        raise PlanError(
            f"{what} must be constant, not {_short(readable(value))}: one call has one setting for all rows"
        )
    try:
        query = f"SELECT {text(value)}"
        ((found,),) = con.execute(query, parameters_in(query, parameters) or None).fetchall()
    except duckdb.Error as error:
        raise PlanError(f"{what}: {str(error).splitlines()[0]}") from None
    return _plain(found)


def _plain(value: Any) -> Any:
    """A value of DuckDB as JSON has it: `0.9` is a DECIMAL, and would be sent as a text."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def parameters_in(query: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The prepared parameters that a piece of SQL uses: DuckDB refuses the others."""
    if not parameters:
        return {}
    names = set(re.findall(r"\$(\w+)", _QUOTED.sub("", query)))
    return {name: value for name, value in parameters.items() if name in names}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise PlanError("llm(options := …) takes a JSON object: options := '{\"top_p\": 0.5}'") from None


def _usage(name: str) -> str:
    return "a prompt and a list of labels" if name == "llm_class" else "one prompt, and options by name (model := '…')"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
