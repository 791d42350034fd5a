"""The tree of a query that is one SELECT, with calls only where functions of a row may stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlglot import Dialect, exp, tokenize
from sqlglot.errors import SqlglotError, TokenError
from sqlglot.tokens import TokenType  # type: ignore[attr-defined]  # re-exported from its own core

from polar_llama.errors import PlanError
from polar_llama.sqlfront.calls import holds_call, is_call
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import readable, without_position

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGIN = frozenset({"select", "from", "with", "values", "pivot", "pivot_wider", "pivot_longer", "unpivot", "("})
_TOKEN = re.compile(r"<Token .*?text: (.*?), line: .*?>")
_CLASS = re.compile(r"Required keyword: .*?'>")
_END = "the end of the query"
_PIVOT_HINT = " Hint: its own ORDER BY or LIMIT stands outside, SELECT * FROM (PIVOT …) ORDER BY …"
_FOR_SETS = (exp.Distinct, exp.Order, exp.Star, exp.IgnoreNulls, exp.RespectNulls)
"""What may stand in the arguments of an aggregate or a window function only."""


def parsed(query: str) -> tuple[exp.Query, str]:
    """The tree of a query, and the query with its `?` as `$1`, `$2`, …, as they stand in it.

    Raises:
        PlanError: If it is not one SELECT, or a call stands where no function of a row may.
    """
    tree, query = _tree(query)
    for node in walk(tree, nested=True):
        without_position(node)
        if is_call(node):
            _check_form(node)
        elif isinstance(node, exp.Table) and holds_call(node.this) and not is_call(node.this):
            function = readable(node.this).partition("(")[0].lower()
            raise PlanError(
                f"a call in the arguments of {function}() in FROM cannot be planned. "
                "Hint: give the value as a parameter"
            )
        elif isinstance(node, exp.Pivot) and any(holds_call(part) for part in _columns_of(node)):
            raise PlanError("a call inside PIVOT cannot be planned. Hint: ask in a CTE first and pivot its columns")
        elif isinstance(node, exp.Pivot) and _is_open(node):
            raise PlanError(
                "the columns of this PIVOT depend on the data. "
                "Hint: list them, PIVOT t ON g IN ('x', 'y') USING count(*)"
            )
    if isinstance(tree, exp.Values):
        tree = exp.Select(expressions=[exp.Star()]).from_(tree)
    return tree, query  # type: ignore[return-value]


def _tree(query: str) -> tuple[exp.Expr, str]:
    tokens: list[Any] = []
    try:
        tokens = tokenize(query, read="duckdb")
        while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
            tokens.pop()
        several = any(t.token_type is TokenType.SEMICOLON for t in tokens)
        if not tokens:
            raise PlanError("the query is empty, and a query is one SELECT (or FROM, VALUES, WITH, PIVOT)")
        if several or tokens[0].text.lower() not in _BEGIN:
            begin = f" begins with {tokens[0].text}" if tokens[0].text.isalpha() else " does not begin so"
            raise PlanError(
                "a query is one SELECT (or FROM, VALUES, WITH, PIVOT), and this one"
                f"{' is several statements' if several else begin}. "
                "Hint: run other statements with DuckDB, and hand its connection over, sql(query, connection=con), "
                "or in a shell its file, --database"
            )
        marks = [t for t in tokens if t.token_type is TokenType.PLACEHOLDER]
        for number, mark in reversed(list(enumerate(marks, 1))):
            query = f"{query[: mark.start]}${number}{query[mark.end + 1 :]}"
        tokens = tokenize(query, read="duckdb") if marks else tokens
        trees = [t for t in Dialect.get_or_raise("duckdb").parser().parse(tokens, query) if t is not None]
    except SqlglotError as error:
        hint = _PIVOT_HINT if tokens and "pivot" in tokens[0].text.lower() else ""
        raise PlanError(f"the query cannot be read: {_told(error)}{hint}") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query | exp.Values | exp.Pivot):
        raise PlanError("the query cannot be read: it is no SELECT")
    return trees[0], query


def _told(error: SqlglotError) -> str:
    """What sqlglot says of a query, for people: nothing of its classes, nothing of the texts in the query."""
    if isinstance(error, TokenError):
        return "a quote or a comment in it is not closed"
    told = _TOKEN.sub(lambda found: _END if found[1] == "SENTINEL" else found[1], str(error).splitlines()[0])
    return _CLASS.sub("something is missing", told)


def _columns_of(pivot: exp.Pivot) -> Iterator[exp.Expr]:
    """What a PIVOT makes its columns of: all but the table."""
    return (part for part in pivot.iter_expressions() if part.arg_key not in {"this", "with_"})


def _is_open(pivot: exp.Pivot) -> bool:
    """Whether the columns of a PIVOT statement are known by its data only."""
    return (
        pivot.this is not None
        and not pivot.args.get("unpivot")
        and not all(isinstance(e, exp.In) for e in pivot.expressions)
    )


def _check_form(call: exp.Expr) -> None:
    """Refuse a call that is written as another kind of function."""
    name, parent = call.name.lower(), call.parent
    if isinstance(parent, exp.Dot) and parent.expression is call:
        raise PlanError(f"{name}() has no schema and is no method. Hint: write {name}(prompt)")
    if isinstance(parent, exp.Table):
        raise PlanError(f"{name}() is no table. Hint: SELECT {name}(prompt) FROM …")  # noqa: S608 -- an error
    over_sets = isinstance(parent, exp.Window | exp.Filter | exp.WithinGroup) and parent.this is call
    if over_sets or any(isinstance(a, _FOR_SETS) for a in call.expressions):
        raise PlanError(
            f"{name}() is a function of one row: it takes no OVER, FILTER, DISTINCT, ORDER BY or *. "
            f"Hint: ask about a group with {name}(string_agg(…)), mask rows with CASE WHEN"
        )
