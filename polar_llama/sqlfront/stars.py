"""Stars over derived tables with calls, spelled out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from polar_llama.sqlfront.calls import is_call, prompt_of
from polar_llama.sqlfront.syntax import sources_of
from polar_llama.sqlfront.walking import walk

if TYPE_CHECKING:
    from collections.abc import Callable

    Describe = Callable[[exp.Query], list[tuple[str, str]]]


def spell_stars(select: exp.Select, source: exp.Subquery, describe: Describe) -> bool:
    """Spell out the stars of a SELECT, in place; False where only DuckDB knows what they stand for."""
    stars = (n for n in walk(select, nested=True, but=source) if isinstance(n, exp.Star | exp.Columns))
    if not any(n.find_ancestor(exp.Select) is select and not n.find_ancestor(exp.Count) for n in stars):
        return True
    columns: list[exp.Column] = []  # of every table
    shown: list[exp.Column] = []  # of a star without a table
    for node in sources_of(select):
        try:
            names = describe(exp.Select(expressions=[exp.Star()]).from_(_without_calls(node)))
        except duckdb.Error:
            return False
        merged = _merged(node.parent)
        if merged is None:
            return False
        found = [exp.column(name, table=node.alias_or_name, quoted=True) for name, _ in names]
        columns += found
        shown += [c for c in found if c.name.lower() not in merged]
    items: list[exp.Expr] = []
    for item in select.expressions:
        spelled = _spelled(item, columns, shown)
        if spelled is None:
            return False
        items += spelled
    if not all(c.table for c in columns):
        return False
    select.set("expressions", items)
    return True


def _merged(join: exp.Expr | None) -> set[str] | None:
    """The columns that USING leaves out of a joined table; None where it gives others than the left one's."""
    if not isinstance(join, exp.Join):
        return set()
    used = {i.name.lower() for i in join.args.get("using") or []}
    if join.kind.upper() in {"SEMI", "ANTI"} or (used and join.side.upper() in {"RIGHT", "FULL"}):
        return None
    return used


def _spelled(item: exp.Expr, columns: list[exp.Column], shown: list[exp.Column]) -> list[exp.Expr] | None:
    """The columns that a select item stands for; None where it is more than a plain star."""
    star = item.this if isinstance(item, exp.Column) else item
    if not isinstance(star, exp.Star):
        return None if item.find(exp.Star, exp.Columns) and not item.find(exp.Count) else [item]
    excluded = star.args.get("except_") or []
    if any(star.args.get(k) for k in ("replace", "rename", "ilike")):
        return None
    if not all(isinstance(e, exp.Column | exp.Identifier) for e in excluded):
        return None
    if any(isinstance(e, exp.Column) and e.table for e in excluded):
        return None
    gone = {e.name.lower() for e in excluded}
    table = item.table.lower() if isinstance(item, exp.Column) else ""
    meant = [c for c in columns if c.table.lower() == table] if table else shown
    return [c.copy() for c in meant if c.name.lower() not in gone]


def _without_calls(node: exp.Expr) -> exp.Expr:
    copy = node.copy()
    for call in [n for n in copy.walk() if is_call(n)]:
        call.replace(prompt_of(call).copy())
    return copy
