"""What `polar-llama sql --estimate` prints: a few lines a call, which fit any terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def shown(figures: pl.DataFrame) -> str:
    """The figures of `estimate()` for people: the calls, and their sum if there are several."""
    rows = figures.rows(named=True)
    if not rows:
        return "nothing is asked"
    blocks = [f"{row['call']}\n  {row['model']}: {_rows(row)}\n  {_cost(row)}" for row in rows]
    if len(rows) > 1:
        blocks.append(f"all {len(rows)} calls\n  {_cost(_sum(rows))}")
    return "\n".join(blocks)


def _rows(row: dict[str, Any]) -> str:
    return f"{_number(row['rows'])} rows, {_number(row['prompts'])} prompts, {_number(row['cached'])} of them cached"


def _cost(row: dict[str, Any]) -> str:
    most = "" if row["exact"] else "at most "
    price = "price not known" if row["cost_usd"] is None else f"${row['cost_usd']:,.6f}"
    tokens = f"{_number(row['input_tokens'])} tokens in, {_number(row['output_tokens'])} out"
    return f"{most}{_number(row['requests'])} requests, about {tokens}, {price}"


def _sum(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What all calls come to; unknown where one of them is."""
    found: dict[str, Any] = {"exact": all(row["exact"] for row in rows)}
    for name in ("requests", "input_tokens", "output_tokens", "cost_usd"):
        values = [row[name] for row in rows]
        found[name] = None if None in values else sum(values)
    return found


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
