"""A chain: an inner query without calls, read lazily, and ordinary Polars verbs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from sqlglot import exp

from polar_llama.sqlfront.calls import holds_call
from polar_llama.sqlfront.known import known_kinds
from polar_llama.sqlfront.lowering import Lowering
from polar_llama.sqlfront.native import native
from polar_llama.sqlfront.relation import Column, Stage
from polar_llama.sqlfront.syntax import all_of, conjuncts, copied, is_constant
from polar_llama.sqlfront.writing import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polar_llama.frame.inference_frame import InferenceFrame
    from polar_llama.sqlfront.resolving import Item
    from polar_llama.sqlfront.scope import Piece, Scope

    Key = tuple[exp.Expr, exp.Expr]

_SORTABLE = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT"}
    | {"DOUBLE", "VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "HUGEINT"}
)
"""Types that Polars sorts as DuckDB does; enums, too."""


class UnsortableError(Exception):
    """An order by answers, by a type that only DuckDB sorts as DuckDB does."""


def chain(scope: Scope, select: exp.Select, items: Sequence[Item]) -> Stage:
    """Plan a SELECT whose calls are asked row by row.

    What reads no answer (FROM, free conditions, windows, prompts, and ORDER BY and LIMIT where nothing is
    dropped after) runs in DuckDB; conditions on answers, a sort by answers and a slice follow as verbs.

    Args:
        scope: What is known around the SELECT.
        select: The SELECT, resolved; without grouping.
        items: Its columns.

    Returns:
        A frame with columns `o0, o1, …`, and the keys of the row around as `k0, k1, …`.

    Raises:
        UnsortableError: If DuckDB must sort by an answer.
    """
    where, qualify = (conjuncts(c.this) if (c := select.args.get(k)) else [] for k in ("where", "qualify"))
    asked = [c for c in [*where, *qualify] if holds_call(c)]
    domain = scope.domain_of(select)
    # DISTINCT ON picks by the order; in a correlated subquery a limit holds for each row around; one may be a query.
    whole = select.args.get("distinct") is not None or (domain is not None and not asked)
    whole = whole or not is_slice(select, scope.planning.parameters)

    def piece_of(inner: Sequence[exp.Expr | None]) -> Piece:
        body = _body(select, where, qualify, whole=whole)
        body.set("expressions", [e.copy() for e in inner if e is not None])
        return scope.piece(body if domain is None else domain.around(body), spend=True)

    low = Lowering(scope.planning, eager=not asked)
    outputs = [low.rewrite(i.expr) for i in items]
    outputs = [low.hoist(o) if is_constant(o) else o for o in outputs]
    predicates = [low.rewrite(c, truth=True) for c in asked]
    order = select.args.get("order") if domain is None else None
    keys = [(k, low.rewrite(k.this)) for k in (order.expressions if order is not None else [])]
    sorted_after = any(holds_call(k) for k, _ in keys)
    if not low.inner:
        low.hoist(exp.Literal.number(1))
    known, piece = len(low.inner), piece_of(low.inner)
    kinds = known_kinds(select, low.inner, scope.columns_of) if domain is None else None
    if kinds is None:
        kinds = [kind for _, kind in scope.described(piece)]
    around = kinds[len(low.inner) :]
    low.prepare(kinds)

    suffix = "" if sorted_after or domain is not None else _suffix(keys, None if asked or whole else select)
    kinds = [low.known[f"c{i}"].kind for i in range(len(low.inner))] + around
    if len(low.inner) > known:
        piece = piece_of(low.inner)
    scope.compute(piece.reads)
    frame = scope.planning.frame(scope.sql(piece), kinds, suffix)
    for number, predicate in enumerate(predicates):
        frame = _filtered(frame, predicate, low, f"p{number}")
    if sorted_after:
        frame = _sorted(frame, keys, low)
    if asked or sorted_after:
        frame = _sliced(frame, select, scope.planning.parameters)
    return _selected(frame, outputs, items, around, low)


def _selected(
    frame: InferenceFrame, outputs: Sequence[exp.Expr], items: Sequence[Item], around: Sequence[str], low: Lowering
) -> Stage:
    dtype = low.planning.types.dtype
    free = low.free(outputs)
    if free is not None:
        frame = frame.with_columns(free[0])  # type: ignore[assignment]
    fields = free[1] if free is not None else {}
    typed = [fields.get(i) or low.polars(o) for i, o in enumerate(outputs)]
    columns = [
        Column(i.name, t.kind, dtype(t.kind), f"o{n}") for n, (i, t) in enumerate(zip(items, typed, strict=True))
    ]
    keys = [Column(f"k{n}", kind, dtype(kind), f"k{n}") for n, kind in enumerate(around)]
    # Whoever needs no column of a table, but how many rows it has, reads its first one: that must ask nothing.
    places = sorted(range(len(columns)), key=lambda n: low.asks(outputs[n]))
    exprs = [pl.col("c0").alias("free0")] if low.asks(outputs[places[0]]) else []
    exprs += [typed[n].expr.alias(columns[n].sent) for n in places]
    exprs += [pl.col(f"c{len(low.inner) + n}").alias(k.sent) for n, k in enumerate(keys)]
    return Stage(frame.select(exprs), tuple(columns), tuple(keys))  # type: ignore[arg-type]


def _body(select: exp.Select, where: Sequence[exp.Expr], qualify: Sequence[exp.Expr], *, whole: bool) -> exp.Select:
    """The SELECT without calls: its FROM, the conditions that read no answer, and, if `whole`, order and limit."""
    left = {"expressions", "where", "qualify", *(() if whole else ("order", "limit", "offset"))}
    body = copied(select, select.args.keys() - left)
    for key, kind, conditions in (("where", exp.Where, where), ("qualify", exp.Qualify, qualify)):
        free = all_of([c for c in conditions if not holds_call(c)])
        if free is not None:
            body.set(key, kind(this=free))
    return body


def number_of(node: exp.Expr | None, parameters: Mapping[str, Any]) -> int | None:
    """The number in a LIMIT or OFFSET, where it is one; None else."""
    if node is None:
        return None
    value = node.args.get("expression")
    if isinstance(value, exp.Literal) and value.is_int and node.args.get("limit_options") is None:
        return int(value.name)
    if isinstance(value, exp.Placeholder):
        found = parameters.get(str(value.this))
        return found if isinstance(found, int) and not isinstance(found, bool) else None
    return None


def is_slice(select: exp.Select, parameters: Mapping[str, Any]) -> bool:
    """Whether LIMIT and OFFSET, where given, are plain numbers."""
    given = [c for k in ("limit", "offset") if (c := select.args.get(k)) is not None]
    return all(number_of(c, parameters) is not None for c in given)


def _filtered(frame: InferenceFrame, predicate: exp.Expr, low: Lowering, name: str) -> InferenceFrame:
    typed = low.polars(predicate)
    if typed.kind == "BOOLEAN" and native(predicate, low.known) is not None:
        return frame.filter(typed.expr)  # type: ignore[return-value]
    if typed.kind != "BOOLEAN":
        typed = low.polars(exp.cast(predicate.copy(), "boolean"))
    # In a column of its own: Polars hands filters to sources as bytes, and a function is none.
    return frame.with_columns(typed.expr.alias(name)).filter(pl.col(name))  # type: ignore[return-value]


def _sliced(frame: InferenceFrame, select: exp.Select, parameters: Mapping[str, Any]) -> InferenceFrame:
    length, offset = (number_of(select.args.get(k), parameters) for k in ("limit", "offset"))
    if length is None and offset is None:
        return frame
    return frame.slice(offset or 0, length)  # type: ignore[return-value]


def _sorted(frame: InferenceFrame, keys: Sequence[Key], low: Lowering) -> InferenceFrame:
    found = [low.polars(rewritten) for _, rewritten in keys]
    if not all(t.kind in _SORTABLE or t.kind.startswith(("ENUM(", "DECIMAL(")) for t in found):
        raise UnsortableError
    return frame.sort(  # type: ignore[return-value]
        [t.expr for t in found],
        descending=[bool(k.args.get("desc")) for k, _ in keys],
        nulls_last=[not k.args.get("nulls_first") for k, _ in keys],
        maintain_order=True,
    )


def _suffix(keys: Sequence[Key], select: exp.Select | None) -> str:
    ordered = []
    for key, rewritten in keys:
        copy = key.copy()
        copy.set("this", rewritten)
        ordered.append(text(copy))
    parts = [" ORDER BY " + ", ".join(ordered)] if ordered else []
    for name in ("limit", "offset"):
        clause = select.args.get(name) if select is not None else None
        if clause is not None:
            parts.append(" " + text(clause).strip())
    return "".join(parts)
