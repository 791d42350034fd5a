"""Which rows an answer can matter for: a prompt becomes null elsewhere, and is not asked.

`CASE WHEN v > 2 THEN llm(q) END` needs no answer where `v > 2` is not true. So the prompt is rendered
inside a copy of the very construct the call stands in, with every other branch null:
`CASE WHEN v > 2 THEN q END`. DuckDB then decides, with its own meaning of null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.syntax import operands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Guard = Callable[[exp.Expr], exp.Expr]


def branches(node: exp.Expr) -> list[tuple[exp.Expr, Guard | None]] | None:
    """The operands of a construct that does not always read all of them, each with its guard; else None."""
    match node:
        case exp.Case():
            return _case(node)
        case exp.If():
            return _case(as_case(node))
        case exp.Coalesce():
            every = [node.this, *node.expressions]
            return [(e, _unless([exp.Not(this=exp.Is(this=p.copy(), expression=exp.Null())) for p in every[:i]])) for i, e in enumerate(every)]
        case exp.Or() | exp.And():
            return _logical(node)
        case _:
            return None


def as_case(node: exp.If) -> exp.Case:
    """`if(a, b, c)` as the CASE that it means."""
    branch = exp.If(this=node.this.copy(), true=node.args["true"].copy())
    default = node.args.get("false")
    return exp.Case(ifs=[branch], default=default.copy() if default is not None else None)


def _case(node: exp.Case) -> list[tuple[exp.Expr, Guard | None]]:
    subject, ifs, default = node.this, node.args["ifs"], node.args.get("default")
    found: list[tuple[exp.Expr, Guard | None]] = [(subject, None)] if subject is not None else []
    for i, branch in enumerate(ifs):
        before = [b.this for b in ifs[:i]]
        found.append((branch.this, _unless(before, subject)))
        found.append((branch.args["true"], _unless(before, subject, then=branch.this)))
    if default is not None:
        found.append((default, _unless([b.this for b in ifs], subject)))
    return found


def _logical(node: exp.Expr) -> list[tuple[exp.Expr, Guard | None]]:
    from polar_llama.sqlfront.calls import holds_call

    every = operands(node, type(node))
    found: list[tuple[exp.Expr, Guard | None]] = []
    for i, operand in enumerate(every):
        # A free operand is known before anything is asked, wherever it stands; another one once it is answered.
        known = [o for j, o in enumerate(every) if j != i and (not holds_call(o) or j < i)]
        decided = [o.copy() if isinstance(node, exp.Or) else exp.Not(this=exp.Paren(this=o.copy())) for o in known]
        found.append((operand, _unless(decided)))
    return found


def _unless(decided: Sequence[exp.Expr], subject: exp.Expr | None = None, then: exp.Expr | None = None) -> Guard | None:
    """A guard that keeps a prompt where no condition before is true and, if given, `then` is."""
    if not decided and then is None:
        return None

    def guard(prompt: exp.Expr) -> exp.Expr:
        ifs = [exp.If(this=c.copy(), true=exp.Null()) for c in decided]
        if then is not None:
            ifs.append(exp.If(this=then.copy(), true=prompt))
        return exp.Case(
            this=subject.copy() if subject is not None else None, ifs=ifs, default=prompt if then is None else None
        )

    return guard
