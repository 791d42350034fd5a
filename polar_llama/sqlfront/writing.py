"""From text to trees, and back."""

from __future__ import annotations

from threading import local
from typing import TYPE_CHECKING

from sqlglot import Dialect, exp

from polar_llama.sqlfront.walking import walk

if TYPE_CHECKING:
    from collections.abc import Iterable

_POSITIONS = frozenset({"line", "col", "start", "end"})
_KEPT: frozenset[type[exp.Expr]] = frozenset(
    {exp.Column, exp.Identifier, exp.Literal, exp.Placeholder, exp.Null, exp.Boolean, exp.Paren, exp.Alias}
    | {exp.DPipe, exp.And, exp.Or, exp.Not, exp.Is, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Case}
    | {exp.Anonymous, exp.Select, exp.Subquery, exp.Star, exp.From, exp.Where, exp.Table, exp.TableAlias}
)
"""What sqlglot writes without rewriting it, and so needs no copy."""


class _Writers(local):
    """sqlglot makes a new writer for every text, which takes longer than the text of a column."""

    def __init__(self) -> None:
        dialect = Dialect.get_or_raise("duckdb")
        self.text = dialect.generator(normalize_functions=False, comments=False).generate
        self.label = dialect.generator(normalize_functions="lower", comments=False).generate


_writers = _Writers()


def text(node: exp.Expr) -> str:
    """A tree as DuckDB's SQL."""
    return _writers.text(node, copy=not is_kept(node))


def is_kept(node: exp.Expr) -> bool:
    """Whether sqlglot writes a tree without rewriting it; a branch of a CASE it would put into another CASE."""
    return node.__class__ is not exp.If and all(n.__class__ in _KEPT or is_branch(n) for n in walk(node, nested=True))


def is_branch(node: exp.Expr) -> bool:
    """Whether a node is a WHEN of a CASE, and not the function `if`, wherever in a CASE that stands."""
    return node.__class__ is exp.If and node.arg_key == "ifs" and node.parent.__class__ is exp.Case


def spent(node: exp.Expr) -> str:
    """The SQL of a tree that is not needed any more; writing it may change it."""
    return _writers.text(node, copy=False)


def typed(node: exp.Expr, kind: str) -> exp.Cast:
    """A cast to a type of DuckDB, as it names it."""
    return exp.Cast(this=node, to=exp.DataType(this=exp.DType.USERDEFINED, kind=kind))


def nulls(columns: Iterable[tuple[str, str]]) -> str:
    """A query of one row of nulls, for columns given by name and DuckDB's type."""
    listed = [f"NULL::{kind} AS {quoted(name)}" for name, kind in columns]
    return f"SELECT {', '.join(listed)}"


def quoted(name: str) -> str:
    """A name as DuckDB's SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def with_cte(cte: str, query: str) -> str:
    """A query that sees one more CTE, in front of its own ones."""
    for begin in ("WITH RECURSIVE ", "WITH "):
        if query.startswith(begin):
            return f"{begin}{cte}, {query.removeprefix(begin)}"
    return f"WITH {cte} {query}"


def readable(node: exp.Expr) -> str:
    """A tree as SQL for people."""
    return " ".join(_writers.label(node, copy=not is_kept(node)).split())


def without_position(node: exp.Expr) -> None:
    """Forget comments and where in the text a node stood: copying them takes as long as copying the node."""
    node.comments = None
    if node._meta is not None and node._meta.keys() <= _POSITIONS:
        node._meta = None
