"""The SQL front end: DuckDB runs all that is relational, the one planner plans the calls.

One way of a query through this folder: `front` has it read by `parsing`; `tables` leads its names to frames;
`naming` learns the result's columns; `cutting` takes each SELECT apart, by `resolving` (aliases, stars), `lowering`
(`guards`, `native`, `evaluate`) its expressions; `relation` is a piece that DuckDB runs, in a `database`, its rows
kept by `holding` where they must be there first.
"""

from __future__ import annotations

from polar_llama.sqlfront.front import sql

__all__ = ["sql"]
