"""Before a SELECT is cut: stars spelled out, aliases and ordinals replaced by what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import duckdb
from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.sqlfront.aliases import position, substituted
from polar_llama.sqlfront.calls import holds_call, is_call, prompt_of
from polar_llama.sqlfront.grouping import group, unify
from polar_llama.sqlfront.known import known_names
from polar_llama.sqlfront.syntax import (
    holds_aggregate,
    is_constant,
    is_multiple,
    source_of,
    sources_of,
)
from polar_llama.sqlfront.walking import walk
from polar_llama.sqlfront.writing import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polar_llama.sqlfront.known import ColumnsOf
    from polar_llama.sqlfront.planning import Planning

    Describe = Callable[[exp.Select], list[tuple[str, str]]]
    Over = Callable[[exp.Expr], list[tuple[str, str]]]


Tree = TypeVar("Tree", bound=exp.Expr)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A column of a SELECT: an expression and its name."""

    expr: exp.Expr
    name: str


def resolve(planning: Planning, select: exp.Select, describe: Describe, columns_of: ColumnsOf) -> list[Item]:
    """Spell a SELECT out, in place.

    Args:
        planning: The query it is part of.
        select: The SELECT; its derived tables hold no calls.
        describe: Gives names and types of a query without calls.
        columns_of: Gives those of a table, by its name in lower case, where they are known without DuckDB.

    Returns:
        Its columns; `ORDER BY`, `GROUP BY` and the rest refer to no alias and no position any more.
    """

    def over(item: exp.Expr) -> list[tuple[str, str]]:
        query = source_of(select)
        query.set("expressions", [item])
        return describe(query)

    def alone(item: exp.Expr) -> bool:
        try:
            describe(exp.Select(expressions=[stubbed(item, planning)]))
        except duckdb.Error:
            return False
        return True

    _check_unnested(select)
    columns = _hidden(select, over, columns_of)
    _inline_windows(select)
    items: list[Item] = []
    aliases: dict[str, exp.Expr] = {}
    for written in select.expressions:
        alias = written.alias if isinstance(written, exp.Alias) else ""
        inner = written.this if isinstance(written, exp.Alias) else written
        inner = substituted(inner, {k: v for k, v in aliases.items() if k not in columns})
        found = _expanded(planning, inner, over) if is_multiple(inner) else [Item(inner, "")]
        items += [Item(i.expr, alias or i.name or _name(planning, written, over)) for i in found]
        if alias and len(found) == 1:
            aliases.setdefault(alias.lower(), found[0].expr)
    free = {k: v for k, v in aliases.items() if k not in columns}
    for key in ("where", "group", "having", "qualify", "distinct"):
        if select.args.get(key) is not None:
            select.set(key, substituted(select.args[key], free))
    group(select, [i.expr for i in items], {k: v for k, v in aliases.items() if k in columns}, alone)
    _order(select, items, aliases, free)
    select.set("expressions", [i.expr for i in items])
    unify(select)
    return [Item(e, i.name) for e, i in zip(select.expressions, items, strict=True)]


_UNNESTING = frozenset({"generate_subscripts", "regexp_split_to_table"})
"""DuckDB's macros with an unnest() in them."""


def _check_unnested(select: exp.Select) -> None:
    """Refuse `unnest` that DuckDB would run before answers are there, and what belongs before it after."""
    parts = [*select.expressions, *(select.args[k] for k in ("qualify", "order") if select.args.get(k) is not None)]
    nodes = [n for part in parts for n in walk(part)]
    lists = [n for n in nodes if _is_unnest(n)]
    asking = [n for n in lists if holds_call(n)]
    if asking and len(asking) < len(lists):
        raise PlanError(
            "unnest() of answers beside another unnest() cannot be planned. "
            "Hint: unnest them together, unnest(list_zip(a, b)) AS z, and take z[1] and z[2] of that"
        )
    for node in nodes:
        if isinstance(node, exp.Anonymous) and node.name.lower() in _UNNESTING and holds_call(node):
            raise PlanError(
                f"{node.name.lower()}() of answers cannot be planned. Hint: unnest() the list it goes through"
            )
    group = select.args.get("group")
    if group is not None and any(_is_unnest(n) for n in walk(group)):
        raise PlanError("unnest() in GROUP BY beside a call cannot be planned. Hint: unnest in a CTE first")
    windows = [n for n in nodes if isinstance(n, exp.Window)]
    if lists and not asking and windows and any(holds_call(n) for n in [*windows, select.args.get("where")]):
        raise PlanError(
            "unnest() beside a window function over what is asked cannot be planned. "
            "Hint: compute the window function in a CTE first"
        )


def _is_unnest(node: exp.Expr) -> bool:
    return isinstance(node, exp.Explode | exp.Unnest) or (
        isinstance(node, exp.Anonymous) and node.name.lower() == "unnest"
    )


def _hidden(select: exp.Select, over: Over, columns_of: ColumnsOf) -> set[str]:
    """The columns of FROM, in lower case, where an alias of the same name may be hidden by one."""
    aliases = {i.alias.lower() for i in select.expressions if isinstance(i, exp.Alias)}
    read = {n.name.lower() for n in walk(select) if isinstance(n, exp.Column) and not n.table}
    if not aliases & read or not select.args.get("from_"):
        return set()
    rows = {s.alias_or_name.lower() for s in sources_of(select)}  # the name of a table is its whole row
    known = known_names(select, columns_of)
    return rows | (known if known is not None else {name.lower() for name, _ in over(exp.Star())})


def _name(planning: Planning, written: exp.Expr, over: Over) -> str:
    if isinstance(written, exp.PositionalColumn):
        return over(written.copy())[0][0]
    return written.name if isinstance(written, exp.Column) else planning.name_of(written)


def _expanded(planning: Planning, item: exp.Expr, over: Over) -> list[Item]:
    """The columns of a star, of `COLUMNS(...)`, or of a call over them."""
    if not holds_call(item) and not holds_aggregate(item):
        names = [name for name, _ in over(item.copy())]
        return [Item(part, n) for part, n in zip(planning.parts_of(item, len(names)), names, strict=True)]
    star = item.this if isinstance(item, exp.Column) else item
    if isinstance(star, exp.Star):
        return _replaced(planning, item, star, over)
    columns = next((n for n in walk(item) if isinstance(n, exp.Columns | exp.Star)), None)
    if columns is None:
        return [_unnested(planning, item, over)]
    names = [name for name, _ in over(columns.copy())]
    found = []
    parts = _plain(columns, names, over) or planning.parts_of(columns.copy(), len(names))
    for part, name in zip(parts, names, strict=True):
        copy = item.copy()
        for node in [n for n in walk(copy) if n == columns]:
            node.replace(part.copy())
        found.append(Item(copy, name))
    return found


def _plain(columns: exp.Expr, names: list[str], over: Over) -> list[exp.Column] | None:
    """The columns that `COLUMNS(...)` stands for by their names, where every name is that of one column only."""
    if any(n.args.get(k) for n in columns.find_all(exp.Star) for k in ("replace", "rename")):
        return None
    every = [name.lower() for name, _ in over(exp.Star())]
    if any(every.count(name.lower()) != 1 for name in names):
        return None
    return [exp.column(name, quoted=True) for name in names]


def _unnested(planning: Planning, item: exp.Expr, over: Over) -> Item:
    """`unnest` over an answer: DuckDB makes rows of it once it is there."""
    found = over(stubbed(item, planning))
    if len(found) != 1:
        raise PlanError(
            "unnest() of an answer that is a struct cannot be planned. Hint: name it first, and select its fields"
        )
    return Item(item, "")


def _replaced(planning: Planning, item: exp.Expr, star: exp.Star, over: Over) -> list[Item]:
    """`* REPLACE (llm(q) AS q)`: the star without what is replaced by calls, and the calls in its place."""
    calls = {r.alias.lower(): r.this for r in star.args["replace"] if holds_call(r)}
    plain = item.copy()
    inner = plain.this if isinstance(plain, exp.Column) else plain
    inner.set("replace", [r for r in inner.args["replace"] if not holds_call(r)] or None)
    found = _expanded(planning, plain, over)
    return [Item(calls[i.name.lower()].copy(), i.name) if i.name.lower() in calls else i for i in found]


def _inline_windows(select: exp.Select) -> None:
    """`OVER w` as the window that the WINDOW clause defines."""
    named = {w.name.lower(): w for w in select.args.get("windows") or []}
    if not named:
        return
    for node in list(select.walk()):
        if isinstance(node, exp.Window) and node.args.get("alias") is not None and node.args.get("over"):
            definition = named[node.args["alias"].name.lower()]
            for key in ("partition_by", "order", "spec"):
                value = definition.args.get(key)
                if value is not None and not node.args.get(key):
                    node.set(key, [v.copy() for v in value] if isinstance(value, list) else value.copy())
            node.set("alias", None)
    select.set("windows", None)


def _order(
    select: exp.Select, items: list[Item], aliases: Mapping[str, exp.Expr], free: Mapping[str, exp.Expr]
) -> None:
    order = select.args.get("order")
    if order is None:
        return
    keys: list[exp.Expr] = []
    for key in order.expressions:
        inner = key.this
        if isinstance(inner, exp.Var) and inner.name.upper() == "ALL":
            keys += [_keyed(key, i.expr) for i in items]
            continue
        if isinstance(inner, exp.PositionalColumn):  # counts the columns of SELECT here, those of FROM elsewhere
            inner = inner.this
            if position(inner, [i.expr for i in items]) is None:
                raise PlanError(f"ORDER BY #{inner.name} needs a column of SELECT, of which there are {len(items)}")
        whole = isinstance(inner, exp.Column) and not inner.table and aliases.get(inner.name.lower())
        keys.append(_keyed(key, whole or position(inner, [i.expr for i in items]) or substituted(inner, free)))
    keys = [k for k in keys if not is_constant(k.this)]  # DuckDB would take one for a position, or refuse it
    order.set("expressions", keys)
    if not keys:
        select.set("order", None)


def _keyed(key: exp.Expr, value: exp.Expr) -> exp.Expr:
    copy = key.copy()
    copy.set("this", value.copy())
    return copy


def stubbed(node: Tree, planning: Planning) -> Tree:
    """A copy in which every call is a null of the answer's type, so that DuckDB can describe it."""
    root = exp.Tuple(expressions=[node.copy()])
    calls = [(n, planning.asks(n).kind) for n in walk(root, nested=True) if is_call(n)]
    for call, kind in reversed(calls):  # those in a prompt come first
        prompt = exp.Is(this=exp.Paren(this=prompt_of(call)), expression=exp.Null())
        null = exp.Case(ifs=[exp.If(this=prompt, true=exp.Null())])
        call.replace(typed(null, kind))
    stub: Tree = root.expressions[0].pop()
    return stub
