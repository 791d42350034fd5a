"""From expressions that hold calls to Polars expressions over an inner query.

First every expression is rewritten: what DuckDB can compute before anything is asked becomes a column
`c0, c1, …` of the inner query, each call an answer `a0, a1, …`. Then, dtypes being known, what is left
becomes Polars expressions: natively where Polars means the same, else evaluated by DuckDB batch by batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlglot import exp

from polar_llama.call import intern
from polar_llama.errors import PlanError
from polar_llama.sqlfront.calls import holds_call, is_call, label_of, prompt_of
from polar_llama.sqlfront.evaluate import evaluated
from polar_llama.sqlfront.guards import as_case, branches
from polar_llama.sqlfront.native import Typed, native
from polar_llama.sqlfront.syntax import fresh_column, is_constant, is_total, is_unit, is_value, is_volatile
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import is_branch, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polar_llama.call import Call
    from polar_llama.sqlfront.guards import Guard, Operand
    from polar_llama.sqlfront.planning import Part, Planning


@dataclass(slots=True, eq=False)
class _Answer:
    """A call, DuckDB's type of its answer, and its prompt as rewritten."""

    call: Call
    kind: str
    prompt: exp.Expr


class Lowering:
    """Rewrites the expressions of one SELECT. `eager` says that the inner query drops no row later on."""

    def __init__(self, planning: Planning, *, eager: bool) -> None:
        """Start with an inner query without columns."""
        self.planning = planning
        self.inner: list[exp.Expr | None] = []
        self._eager = eager
        self._stars: dict[str, int] = {}
        self._known: dict[str, str] = {}
        self._answers: dict[str, _Answer] = {}
        self._asked: dict[tuple[object, str], str] = {}
        self.known: dict[str, Typed] = {}
        self._guards: list[Guard] = []

    def hoist(self, node: exp.Expr) -> exp.Column:
        """A column of the inner query."""
        key = text(node)
        if key not in self._known or is_volatile(node):
            self._known[key] = f"c{len(self.inner)}"
            self.inner.append(node)
        return fresh_column(self._known[key])

    def _part(self, part: Part) -> exp.Column:
        """One of the columns that a star stands for; the star takes the places of all of them."""
        key = text(part.star)
        if key not in self._stars:
            self._stars[key] = len(self.inner)
            self.inner += [part.star.copy(), *[None] * (part.count - 1)]
        return fresh_column(f"c{self._stars[key] + part.index}")

    def _reads_part(self, node: exp.Expr) -> bool:
        parts = self.planning.parts
        return bool(parts) and any(isinstance(n, exp.Column) and n.name in parts for n in walk(node))

    def rewrite(self, node: exp.Expr, *, truth: bool = False) -> exp.Expr:  # noqa: PLR0911 -- one a kind of node
        """An expression over columns of the inner query and answers; `truth` if it only matters where it is true."""
        if isinstance(node, exp.Column):
            part = self.planning.parts.get(node.name)
            return self.hoist(node) if part is None else self._part(part)
        if not holds_call(node):
            if is_constant(node):
                return node.copy()
            if is_value(node) and (self._eager or is_total(node) or is_unit(node)) and not self._reads_part(node):
                return self.hoist(node)
        elif is_call(node):
            return self._answer(node)
        elif is_unit(node) or isinstance(node, exp.Query):
            raise PlanError(self._misplaced(node))
        if isinstance(node, exp.If) and not is_branch(node):
            node = as_case(node)
        guarded = branches(node, truth=truth) if holds_call(node) else None
        if guarded is not None:
            return self._guarded(node, {id(o.node): o for o in guarded})
        if isinstance(node, exp.Paren):
            return exp.Paren(this=self.rewrite(node.this, truth=truth))
        return mapped(node, self.rewrite)

    def _guarded(self, node: exp.Expr, guarded: dict[int, Operand]) -> exp.Expr:
        """A construct whose operands are guarded, wherever in it they stand."""

        def visit(child: exp.Expr) -> exp.Expr:
            operand = guarded.get(id(child))
            if operand is None:
                return mapped(child, visit)
            if operand.guard is None:
                return self.rewrite(child, truth=operand.truth)
            self._guards.append(operand.guard)
            try:
                return self.rewrite(child, truth=operand.truth)
            finally:
                self._guards.pop()

        return mapped(node, visit)

    def _answer(self, node: exp.Expr) -> exp.Expr:
        asks, prompt = self.planning.asks(node), prompt_of(node)
        for guard in reversed(self._guards):
            prompt = guard(prompt)
        outer, self._guards = self._guards, []
        try:
            rewritten = self.rewrite(prompt)
            if is_constant(rewritten):
                rewritten = self.hoist(rewritten)  # a column has a row for each row
        finally:
            self._guards = outer
        key = asks.call, text(rewritten)
        if key not in self._asked:
            name = f"a{len(self._answers)}"
            self._asked[key] = name
            self._answers[name] = _Answer(replace(asks.call, label=label_of(node)), asks.kind, rewritten)
        return fresh_column(self._asked[key])

    @staticmethod
    def _misplaced(node: exp.Expr) -> str:
        what = "a subquery" if isinstance(node, exp.Query | exp.Exists | exp.Subquery) else type(node).__name__.upper()
        return (
            f"a call beside or inside {what} of the same expression cannot be planned. "  # noqa: S608 -- an error
            "Hint: ask in a CTE first, WITH asked AS (SELECT *, llm(...) AS a FROM t), and use its column"
        )

    def prepare(self, kinds: Sequence[str]) -> None:
        """Learn the types of the inner query's columns."""
        for i, kind in enumerate(kinds[: len(self.inner)]):
            self.known[f"c{i}"] = Typed(pl.col(f"c{i}"), kind)
        for name, answer in self._answers.items():
            prompt = self.polars(answer.prompt)
            if prompt.kind != "VARCHAR" and not self._is_conversation(prompt.kind):
                prompt = self._as_text(answer.prompt)
            self.known[name] = Typed(pl.col(intern(answer.call, prompt.expr)), answer.kind)

    def _is_conversation(self, kind: str) -> bool:
        message = getattr(self.planning.types.dtype(kind), "inner", None)
        return isinstance(message, pl.Struct) and {f.name for f in message.fields} == {"role", "content"}

    def _as_text(self, prompt: exp.Expr) -> Typed:
        """A prompt as DuckDB writes its value; a conversation stays what it is."""
        node = (
            self.inner[int(prompt.name[1:])] if isinstance(prompt, exp.Column) and prompt.name.startswith("c") else None
        )
        if node is None:
            return self.polars(exp.cast(prompt.copy(), "text"))
        column = self.hoist(exp.cast(node.copy(), "text"))
        self.known[column.name] = Typed(pl.col(column.name), "VARCHAR")
        return self.known[column.name]

    def polars(self, rewritten: exp.Expr) -> Typed:
        """The Polars expression of a rewritten one, and DuckDB's type of it."""
        found = native(rewritten, self.known)
        if found is not None:
            return found
        values, kinds = evaluated(self.planning, [rewritten], self.known)
        return Typed(values.struct.field("e0"), kinds[0])

    def asks(self, rewritten: exp.Expr) -> bool:
        """Whether an expression reads an answer."""
        return any(c.name in self._answers for c in rewritten.find_all(exp.Column))

    def free(self, rewritten: Sequence[exp.Expr]) -> tuple[pl.Expr, dict[int, Typed]] | None:
        """What only DuckDB can compute of expressions that read no answer, together; None where there is little.

        Returns:
            An expression for a column `free`, and the expressions by their places, over that column.
        """
        places = [i for i, node in enumerate(rewritten) if not self.asks(node) and native(node, self.known) is None]
        if len(places) < 2:  # noqa: PLR2004 -- one is evaluated where it stands
            return None
        values, kinds = evaluated(self.planning, [rewritten[i] for i in places], self.known)
        fields = [Typed(pl.col("free").struct.field(f"e{n}"), kind) for n, kind in enumerate(kinds)]
        return values.alias("free"), dict(zip(places, fields, strict=True))


def mapped(node: exp.Expr, change: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """The same node over changed operands; the parts of it that read nothing are copied.

    Raises:
        PlanError: If the node binds names (a lambda, a comprehension) that a call may read.
    """
    if any(isinstance(c, exp.Lambda | exp.Comprehension) for c in node.iter_expressions()) and holds_call(node):
        raise PlanError(
            "a call inside a lambda or a list comprehension cannot be planned. "
            "Hint: unnest the list, ask for each row, and collect with list()"
        )

    def part(value: Any) -> Any:
        if isinstance(value, list):
            return [part(v) for v in value]
        if not isinstance(value, exp.Expr):
            return value
        return change(value) if _is_operand(value) else value.copy()

    return type(node)(**{key: part(value) for key, value in node.args.items()})


def _is_operand(node: object) -> bool:
    """Whether a child of a node may read columns."""
    return isinstance(node, exp.Expr) and not isinstance(node, exp.DataType | exp.Identifier | exp.Var)
