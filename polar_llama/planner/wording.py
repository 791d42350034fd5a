"""A step of a plan in one line, as a person may read it: calls by their template, no hidden names."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl

from polar_llama.call import PREFIX, is_answer, written
from polar_llama.errors import PlanError
from polar_llama.planner.exprs import conjuncts
from polar_llama.planner.nodes import (
    Aggregate,
    Answer,
    Distinct,
    Filter,
    Join,
    Native,
    Prompt,
    Scan,
    Select,
    Slice,
    Sort,
    Union,
    WithColumns,
    inputs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polar_llama.planner.nodes import Item, Plan

WIDTH = 100
"""Characters of a line, without its indentation."""

_ANSWER = re.compile(r'col\("(' + re.escape(PREFIX) + r'[0-9a-f]{24})"\)(\.alias\("[^"]*"\))?')
_NUMBER = re.compile(r"dyn (?:int|float): (-?[\w.+-]+)")
_ATOM = r'(?:col\("[^"]*"\)|llm\("[^"]*"\)|"[^"]*"|[-\w.]+|\[[^\[\]]*\])'
_LEAF = re.compile("polar_llama leaf [0-9a-f]{16}")  # how `frame.leaf` names what it hands to Polars
_HOW = frozenset({"inner", "left", "right", "full", "semi", "anti", "cross"})
_PART = re.compile(r'col\("' + re.escape(PREFIX) + r'part [0-9a-f]{24}"\)')  # what `outputs` cuts from an expression
_HIDDEN = re.compile(re.escape(PREFIX) + r"[\w ]*")
_TWICE = re.compile(r'(\.alias\("[^"]*"\))\1+')
_LEFT, _RIGHT = re.compile(rf"(?<=\[)\(({_ATOM})\)(?= )"), re.compile(rf"(?<= )\(({_ATOM})\)(?=\])")
_BY_NAME = re.compile(r"cs\.by_name\(((?:'[^']*'(?:, )?)*)require_all=true\)")
_SOURCE = re.compile(r"(?:DF (\[.*?\])|\bSCAN \[(.*?)\]$|^ *PYTHON\[(.*)\] SCAN)", re.MULTILINE)


def line(node: Plan) -> str:  # noqa: PLR0911, C901 -- one line a node
    """What a step does."""
    match node:
        case Scan():
            return _line("SCAN", source(node))
        case Filter():
            return _line("FILTER", _predicate(node.predicate))
        case Select():
            return _line("SELECT", _items(node.items))
        case WithColumns():
            return _line("WITH COLUMNS", _items(node.items))
        case Sort():
            return _line("SORT BY", _list(node.by))
        case Slice():
            return _slice(node)
        case Distinct():
            subset = "all columns" if node.subset is None else _list(node.subset)
            return _line("UNIQUE BY", f"{subset} keep {node.keep}")
        case Aggregate():
            having = f" HAVING {_list(node.having)}" if node.having else ""
            return _line("GROUP BY", f"{_list(node.keys)} AGGREGATE {_items(node.items)}{having}")
        case Union():
            return f"CONCAT {len(node.frames)} frames"
        case Join():
            return _line(node.verb.upper().replace("_", " "), _join(node))
        case Answer():
            return _line("ANSWER", f"{asked(node)} as {node.call.dtype}")
        case Native():
            return _line(node.verb.upper().replace("_", " "), _arguments(node))


def asked(answer: Answer) -> str:
    """A call by its template, with the column it answers where that one shows."""
    label = _one_line(answer.call.label)
    return label if is_answer(answer.column) else f"{answer.column!r} = {label}"


def is_hidden(node: Plan) -> bool:
    """Whether a step does nothing but drop hidden columns, which nobody has seen."""
    if not isinstance(node, Native) or node.verb != "drop":
        return False
    return PREFIX in str(node.kwargs.get("columns")).replace("\\", "")  # a selector by prefix is a pattern


def shown_step(node: Plan) -> Plan:
    """The step that people see: the next that is not hidden."""
    while is_hidden(node):
        node = inputs(node)[0]
    return node


def text(expr: pl.Expr) -> str:
    """An expression: calls by their template, without the brackets that say nothing."""
    found = _PART.sub("…", _ANSWER.sub(lambda match: _label(match[1]), str(expr)))
    found = _TWICE.sub(r"\1", _NUMBER.sub(r"\1", _one_line(found)))
    while (simpler := _RIGHT.sub(r"\1", _LEFT.sub(r"\1", found))) != found:
        found = simpler
    if found.startswith("[") and _closing(found) == len(found) - 1:
        found = found[1:-1]
    found = found.replace(" !=v ", " is not ").replace(" ==v ", " is ")
    return _HIDDEN.sub("llm", found).removeprefix(".").replace("(.when(", "(when(")


@contextmanager
def in_words() -> Iterator[None]:
    """Have what Polars says of a query name calls as they were written, in whatever it raises.

    Of a call that nobody has captured Polars says that there is no such column: that name is the advice, and stays.
    """
    try:
        yield
    except Exception as error:
        said = error.args[0] if error.args else None
        if isinstance(said, str) and PREFIX in said and not said.startswith(f'unable to find column "{PREFIX}'):
            found = _ANSWER.sub(lambda match: _label(match[1]), said)
            error.args = (_HIDDEN.sub("llm", found), *error.args[1:])
        raise


def cut(words: str, width: int = WIDTH) -> str:
    """Words on one line of at most so many characters."""
    words = _one_line(words)
    return words if len(words) <= width else words[: width - 1] + "…"


def source(node: Scan) -> str:
    """Where rows come from: files by their name, frames in memory by their columns."""
    lines = node.frame.explain(optimized=False)
    found = [_origin(columns, paths, name) for columns, paths, name in _SOURCE.findall(lines)]
    first = lines.lstrip()
    if _SOURCE.match(first) or "SCAN [" in first.partition("\n")[0]:
        return found[0] if found else cut(first)
    return f"native query on {' and '.join(found)}" if found else "native query"


def holds_calls(node: Scan) -> bool:
    """Whether a native query holds frames with calls, which are asked when it is read."""
    return _LEAF.search(node.frame._ldf.describe_plan()) is not None


def _origin(columns: str, paths: str, name: str) -> str:
    if columns:
        return f"DataFrame{columns}"
    if name:
        return "a frame with calls" if _LEAF.match(name) else " ".join(_LEAF.sub("", name).split())
    return ", ".join(path.rpartition("/")[2].rpartition("\\")[2] for path in paths.split(", "))


def _label(name: str) -> str:
    try:
        return written(name).call.label
    except PlanError:  # made in another process, or long ago
        return "llm"


def _closing(words: str) -> int:
    """Where the bracket that opens a text is closed."""
    depth = 0
    for i, letter in enumerate(words):
        depth += (letter == "[") - (letter == "]")
        if depth == 0:
            return i
    return -1


def _predicate(predicate: pl.Expr) -> str:
    """A predicate; several that were given to one filter stand side by side, as they were written."""
    words = text(predicate)
    parts = conjuncts(predicate) if ".all_horizontal(" in words else []
    return ", ".join(map(text, parts)) if len(parts) > 1 else words


def _slice(node: Slice) -> str:
    rows = "all rows" if node.length is None else f"{node.length:,} row{'s' * (node.length != 1)}"
    offset = f" from {node.offset:,}" if node.offset else ""
    return f"KEEP {rows}{offset}" + (", asking no more than it takes" if node.early else "")


def _join(node: Join) -> str:
    how = next((a for a in node.args if isinstance(a, str) and a in _HOW), "")
    left, right = (_value(keys) if isinstance(keys, list | pl.Expr) else "" for keys in node.args[:2])
    on = left if left == right or not right else f"{left} = {right}"
    return f"{how} ON {on}".strip() if on else how


def _arguments(node: Native) -> str:
    if node.verb == "rename":
        return ", ".join(f"{old!r} to {new!r}" for old, new in zip(*node.args[:2], strict=True))
    values = [v for v in (*node.args, *node.kwargs.values()) if v is not None]
    return ", ".join(filter(None, map(_value, values)))


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_value, value)))
    if isinstance(value, pl.Expr):
        shown = text(value).replace(" | cs.by_name(require_all=true)", "")
        return _BY_NAME.sub(lambda m: m[1].removesuffix(", "), shown).replace("cs.empty()", "")
    if isinstance(value, bool):
        return ""
    return "a function" if callable(value) else str(value)


def _list(exprs: Sequence[pl.Expr]) -> str:
    return ", ".join(map(_value, exprs))


def _items(items: tuple[Item, ...]) -> str:
    return ", ".join(_prompt(i) if isinstance(i, Prompt) else _value(i) for i in items)


def _prompt(prompt: Prompt) -> str:
    named = _one_line(prompt.call.label) if is_answer(prompt.column) else repr(prompt.column)
    rows = mask(prompt)
    return f"prompt of {named}" + ("" if rows is None else f" {where(rows)}")


def mask(prompt: Prompt) -> pl.Expr | None:
    """The condition under which a prompt is asked, where it is not asked in every row (`mask_infer`)."""
    if not prompt.masked or prompt.expr is None:
        return None
    operands = [] if prompt.expr.meta.is_literal() else prompt.expr.meta.pop()[::-1]
    match operands:
        case [then, _, condition] if pl.when(condition).then(then).meta.eq(prompt.expr):
            return condition
        case _:
            return None


def where(rows: pl.Expr) -> str:
    """A condition as the end of a sentence."""
    words = text(rows)
    for end, begin in ((".then(true).otherwise(false)", "where"), (".then(false).otherwise(true)", "unless")):
        condition = words.removesuffix(end)
        if condition != words and condition.startswith("when([") and _closing(condition[5:]) == len(condition) - 7:
            return f"{begin} {condition[6:-2]}"
    return f"where {words}"


def _line(word: str, words: str) -> str:
    return f"{word} {cut(words)}".rstrip()


def _one_line(words: str) -> str:
    return " ".join(words.split())
