"""From text to trees, and back."""

from __future__ import annotations

from threading import local

from sqlglot import Dialect, exp

_POSITIONS = frozenset({"line", "col", "start", "end"})
_LEAVES = (exp.Column, exp.Identifier, exp.Literal, exp.Placeholder)
"""What is written without being rewritten, and so needs no copy."""


class _Writers(local):
    """sqlglot makes a new writer for every text, which takes longer than the text of a column."""

    def __init__(self) -> None:
        dialect = Dialect.get_or_raise("duckdb")
        self.text = dialect.generator(normalize_functions=False, comments=False).generate
        self.label = dialect.generator(normalize_functions="lower", comments=False).generate


_writers = _Writers()


def text(node: exp.Expr) -> str:
    """A tree as DuckDB's SQL."""
    return _writers.text(node, copy=not isinstance(node, _LEAVES))


def spent(node: exp.Expr) -> str:
    """The SQL of a tree that is not needed any more; writing it may change it."""
    return _writers.text(node, copy=False)


def typed(node: exp.Expr, kind: str) -> exp.Cast:
    """A cast to a type of DuckDB, as it names it."""
    return exp.Cast(this=node, to=exp.DataType(this=exp.DType.USERDEFINED, kind=kind))


def readable(node: exp.Expr) -> str:
    """A tree as SQL for people."""
    return " ".join(_writers.label(node).split())


def without_position(node: exp.Expr) -> None:
    """Forget comments and where in the text a node stood: copying them takes as long as copying the node."""
    node.comments = None
    if node._meta is not None and node._meta.keys() <= _POSITIONS:
        node._meta = None
