"""Which rows an answer can matter for: a prompt becomes null elsewhere, and is not asked.

`CASE WHEN v > 2 THEN llm(q) END` needs no answer where `v > 2` is not true. So the prompt is rendered
inside a copy of the very construct the call stands in, with every other branch null:
`CASE WHEN v > 2 THEN q END`. DuckDB then decides, with its own meaning of null.

Where only truth matters (WHERE, WHEN, the operands of AND and OR there) null is as good as false, and
`v > 2 AND llm_bool(q)` needs no answer where `v` is null; elsewhere it does, since NOT tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call
from polar_llama.sqlfront.syntax import all_of, closed, operands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Guard = Callable[[exp.Expr], exp.Expr]


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """One operand of a construct: its guard, and whether it only matters if it is true."""

    node: exp.Expr
    guard: Guard | None = None
    truth: bool = False


def branches(node: exp.Expr, *, truth: bool) -> list[Operand] | None:
    """The operands of a construct that does not always read all of them; else None.

    Args:
        node: The construct.
        truth: Whether it only matters if it is true.
    """
    match node:
        case exp.Case():
            return _case(node)
        case exp.If():
            return _case(as_case(node))
        case exp.Coalesce():
            every = [node.this, *node.expressions]
            known = [exp.Not(this=exp.Is(this=closed(e.copy()), expression=exp.Null())) for e in every]
            return [Operand(e, _unless(known[:i])) for i, e in enumerate(every)]
        case exp.Or() | exp.And():
            return _logical(node, truth=truth)
        case _:
            return None


def as_case(node: exp.If) -> exp.Case:
    """`if(a, b, c)` as the CASE that it means."""
    branch = exp.If(this=node.this.copy(), true=node.args["true"].copy())
    default = node.args.get("false")
    return exp.Case(ifs=[branch], default=default.copy() if default is not None else None)


def _case(node: exp.Case) -> list[Operand]:
    subject, ifs, default = node.this, node.args["ifs"], node.args.get("default")
    found: list[Operand] = [Operand(subject)] if subject is not None else []
    for i, branch in enumerate(ifs):
        before = [b.this for b in ifs[:i]]
        found.append(Operand(branch.this, _unless(before, subject), truth=subject is None))
        found.append(Operand(branch.args["true"], _unless(before, subject, then=branch.this)))
    if default is not None:
        found.append(Operand(default, _unless([b.this for b in ifs], subject)))
    return found


def _logical(node: exp.Expr, *, truth: bool) -> list[Operand]:
    every = operands(node, type(node))
    found: list[Operand] = []
    for i, operand in enumerate(every):
        # A free operand is known before anything is asked, wherever it stands; another one once it is answered.
        known = [o.copy() for j, o in enumerate(every) if j != i and (not holds_call(o) or j < i)]
        if isinstance(node, exp.Or):
            guard = _unless(known)
        elif truth:
            guard = _unless([], then=all_of(known)) if known else None
        else:
            guard = _unless([exp.Not(this=exp.Paren(this=o)) for o in known])
        found.append(Operand(operand, guard, truth=truth))
    return found


def _unless(decided: Sequence[exp.Expr], subject: exp.Expr | None = None, then: exp.Expr | None = None) -> Guard | None:
    """A guard that keeps a prompt where no condition before is true and, if given, `then` is."""
    if not decided and then is None:
        return None

    def guard(prompt: exp.Expr) -> exp.Expr:
        ifs = [exp.If(this=c.copy(), true=exp.Null()) for c in decided]
        if then is not None:
            ifs.append(exp.If(this=then.copy(), true=prompt.copy()))
        return exp.Case(
            this=subject.copy() if subject is not None else None,
            ifs=ifs,
            default=prompt.copy() if then is None else None,
        )

    return guard
