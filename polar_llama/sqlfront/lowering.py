"""From expressions that hold calls to Polars expressions over an inner query.

First every expression is rewritten: what DuckDB can compute before anything is asked becomes a column
`c0, c1, …` of the inner query, each call an answer `a0, a1, …`. Then, dtypes being known, what is left
becomes Polars expressions: natively where Polars means the same, else evaluated by DuckDB batch by batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from sqlglot import exp

from polar_llama.call import intern
from polar_llama.errors import PlanError
from polar_llama.sqlfront.calls import holds_call, is_call
from polar_llama.sqlfront.evaluate import evaluated
from polar_llama.sqlfront.guards import as_case, branches
from polar_llama.sqlfront.native import Typed, native
from polar_llama.sqlfront.syntax import fresh_column, is_constant, is_total, is_unit, is_value, is_volatile, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.sqlfront.calls import Written
    from polar_llama.sqlfront.guards import Guard, Operand
    from polar_llama.sqlfront.planning import Part, Planning

    Kinds = Callable[[Sequence[exp.Expr | None]], list[str]]


@dataclass(slots=True, eq=False)
class _Answer:
    """A call, and its prompt as rewritten."""

    written: Written
    prompt: exp.Expr


class Lowering:
    """Rewrites the expressions of one SELECT. `eager` says that the inner query drops no row later on."""

    def __init__(self, planning: Planning, kinds: Kinds, *, eager: bool) -> None:
        """Start with an inner query without columns."""
        self.planning = planning
        self.inner: list[exp.Expr | None] = []
        self.kinds = kinds
        self._eager = eager
        self._stars: dict[str, int] = {}
        self._known: dict[str, exp.Column] = {}
        self._answers: dict[str, _Answer] = {}
        self._asked: dict[tuple[object, str], str] = {}
        self.known: dict[str, Typed] = {}
        self._guards: list[Guard] = []

    def hoist(self, node: exp.Expr) -> exp.Column:
        """A column of the inner query."""
        key = text(node)
        if key not in self._known or is_volatile(node):
            self._known[key] = fresh_column(f"c{len(self.inner)}")
            self.inner.append(node.copy())
        return self._known[key].copy()

    def _part(self, part: Part) -> exp.Column:
        """One of the columns that a star stands for; the star takes the places of all of them."""
        key = text(part.star)
        if key not in self._stars:
            self._stars[key] = len(self.inner)
            self.inner += [part.star.copy(), *[None] * (part.count - 1)]
        return fresh_column(f"c{self._stars[key] + part.index}")

    def rewrite(self, node: exp.Expr, *, truth: bool = False) -> exp.Expr:
        """An expression over columns of the inner query and answers; `truth` if it only matters where it is true."""
        part = self.planning.parts.get(node.name) if isinstance(node, exp.Column) else None
        if part is not None:
            return self._part(part)
        if not holds_call(node):
            if is_constant(node):
                return node.copy()
            if is_value(node) and (self._eager or is_total(node) or is_unit(node)):
                return self.hoist(node)
        elif is_call(node):
            return self._answer(node)
        elif is_unit(node) or isinstance(node, exp.Query):
            raise PlanError(self._misplaced(node))
        if isinstance(node, exp.If) and not isinstance(node.parent, exp.Case):
            node = as_case(node)
        guarded = branches(node, truth=truth) if holds_call(node) else None
        if guarded is not None:
            return self._guarded(node, {id(o.node): o for o in guarded})
        if isinstance(node, exp.Paren):
            return exp.Paren(this=self.rewrite(node.this, truth=truth))
        return self._mapped(node, self.rewrite)

    def _guarded(self, node: exp.Expr, guarded: dict[int, Operand]) -> exp.Expr:
        """A construct whose operands are guarded, wherever in it they stand."""

        def visit(child: exp.Expr) -> exp.Expr:
            operand = guarded.get(id(child))
            if operand is None:
                return self._mapped(child, visit)
            if operand.guard is None:
                return self.rewrite(child, truth=operand.truth)
            self._guards.append(operand.guard)
            try:
                return self.rewrite(child, truth=operand.truth)
            finally:
                self._guards.pop()

        return self._mapped(node, visit)

    @staticmethod
    def _mapped(node: exp.Expr, change: object) -> exp.Expr:
        assert callable(change)  # noqa: S101
        if any(isinstance(c, exp.Lambda | exp.Comprehension) for c in node.iter_expressions()) and holds_call(node):
            raise PlanError(
                "a call inside a lambda or a list comprehension cannot be planned. "
                "Hint: unnest the list, ask for each row, and collect with list()"
            )
        copy = node.copy()
        for key, value in list(copy.args.items()):
            original = node.args[key]
            if isinstance(value, exp.Expr):
                copy.set(key, change(original) if _is_operand(original) else original.copy())
            elif isinstance(value, list):
                copy.set(key, [change(v) if _is_operand(v) else v for v in original])
        return copy

    def _answer(self, node: exp.Expr) -> exp.Expr:
        found = self.planning.call(node)
        prompt = found.prompt.copy()
        for guard in reversed(self._guards):
            prompt = guard(prompt)
        outer, self._guards = self._guards, []
        try:
            rewritten = self.rewrite(prompt)
            if is_constant(rewritten):
                rewritten = self.hoist(rewritten)  # a column has a row for each row
            if isinstance(rewritten, exp.Column) and rewritten.name.startswith("c"):
                rewritten = self._prompt(rewritten)
        finally:
            self._guards = outer
        key = found.call, text(rewritten)
        if key not in self._asked:
            name = f"a{len(self._answers)}"
            self._asked[key] = name
            self._answers[name] = _Answer(found, rewritten)
        return fresh_column(self._asked[key])

    def _prompt(self, column: exp.Column) -> exp.Column:
        """A prompt that the inner query renders, as text; a conversation stays what it is."""
        place = int(column.name[1:])
        node = self.inner[place]
        if node is None:
            return column
        kind = self.kinds([node])[0]
        return column if kind == "VARCHAR" or kind.endswith("[]") else self.hoist(exp.cast(node, "text"))

    @staticmethod
    def _misplaced(node: exp.Expr) -> str:
        what = "a subquery" if isinstance(node, exp.Query | exp.Exists | exp.Subquery) else type(node).__name__.upper()
        return (
            f"a call beside or inside {what} of the same expression cannot be planned. "
            "Hint: ask in a CTE first, WITH asked AS (SELECT *, llm(...) AS a FROM t), and use its column"
        )

    def prepare(self) -> None:
        """Learn the types of the inner query's columns and of the answers.

        Raises:
            duckdb.Error: What DuckDB says of the inner query.
        """
        for i, kind in enumerate(self.kinds(self.inner)):
            self.known[f"c{i}"] = Typed(pl.col(f"c{i}"), kind)
        for name, answer in self._answers.items():
            prompt = self.polars(answer.prompt)
            if prompt.kind != "VARCHAR" and not prompt.kind.endswith("[]"):
                prompt = self.polars(exp.cast(answer.prompt.copy(), "text"))
            self.known[name] = Typed(pl.col(intern(answer.written.call, prompt.expr)), answer.written.kind)

    def polars(self, rewritten: exp.Expr) -> Typed:
        """The Polars expression of a rewritten one, and DuckDB's type of it."""
        found = native(rewritten, self.known)
        if found is not None:
            return found
        names = dict.fromkeys(c.name for c in rewritten.find_all(exp.Column))
        return evaluated(self.planning, rewritten, {n: self.known[n] for n in names})

    def kind(self, name: str) -> str:
        """DuckDB's type of a column of the inner query."""
        return self.known[name].kind


def _is_operand(node: object) -> bool:
    """Whether a child of a node may read columns."""
    return isinstance(node, exp.Expr) and not isinstance(node, exp.DataType | exp.Identifier | exp.Var)
