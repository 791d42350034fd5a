"""SQL expressions over answers that only DuckDB understands: evaluated by it, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import duckdb
import polars as pl
from sqlglot import exp

from polar_llama.errors import PlanError
from polar_llama.sqlfront.calls import parameters_in
from polar_llama.sqlfront.database import without_excerpt
from polar_llama.sqlfront.writing import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polar_llama.sqlfront.database import Database
    from polar_llama.sqlfront.native import Typed
    from polar_llama.sqlfront.planning import Planning


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A SQL expression as a function of a struct column.

    Attributes:
        database: Where it runs.
        query: `SELECT … FROM (SELECT … FROM`, left open where the batch's name goes.
        dtype: The dtype of its values.
        parameters: The prepared parameters it uses.
    """

    database: Database
    query: str
    dtype: pl.DataType
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, rows: pl.Series) -> pl.Series:
        """Evaluate a batch."""
        if not len(rows):
            return pl.Series(rows.name, [], dtype=self.dtype)
        name = f"polar_llama_{uuid4().hex}"
        with self.database.opened({name: rows.struct.unnest()}) as connection:
            query = f"{self.query} {name}))"
            try:
                values: pl.Series = connection.sql(query, params=dict(self.parameters) or None).pl().to_series()
            except duckdb.Error as error:
                raise without_excerpt(error) from None
        if len(values) != len(rows):
            raise PlanError(
                "an expression over answers gives several rows, or none, for one: a macro with unnest() in it? "
                "Hint: ask in a CTE first, and unnest its column"
            )
        return values.cast(self.dtype).alias(rows.name)


def evaluated(planning: Planning, nodes: Sequence[exp.Expr], known: Mapping[str, Typed]) -> tuple[pl.Expr, list[str]]:
    """SQL expressions as one Polars expression, evaluated together.

    Args:
        planning: The query they are part of.
        nodes: The expressions, over columns of ours.
        known: Those columns.

    Returns:
        An expression for a struct with fields `e0, e1, …`, and DuckDB's types of these.

    Raises:
        duckdb.Error: What DuckDB says of them.
    """
    types = planning.types
    names = dict.fromkeys(c.name for node in nodes for c in node.find_all(exp.Column))
    nulls = ", ".join(f"CAST(NULL AS {known[n].kind}) AS {n}" for n in names) or "NULL"
    listed = ", ".join(f"{text(node)} AS e{i}" for i, node in enumerate(nodes))
    kinds = [_kind(node, known) for node in nodes]
    if "" in kinds:
        kinds = [kind for _, kind in planning.describe(f"SELECT {listed} FROM (SELECT {nulls})")]  # noqa: S608
    restored = ", ".join(f"{types.restored(n, known[n].kind)} AS {n}" for n in names)
    fields = ", ".join(f"'e{i}': {types.sent(f'e{i}', kind)}" for i, kind in enumerate(kinds))
    query = f"SELECT {{{fields}}} FROM (SELECT {listed} FROM (SELECT {restored} FROM"  # noqa: S608
    dtype = pl.Struct({f"e{i}": types.dtype(kind) for i, kind in enumerate(kinds)})
    function = Evaluation(planning.database, query, dtype, parameters_in(query, planning.parameters))
    rows = pl.struct([known[n].expr.alias(n) for n in names])
    return rows.map_batches(function, return_dtype=dtype, is_elementwise=True), kinds


def _kind(node: exp.Expr, known: Mapping[str, Typed]) -> str:
    """The type of an expression, where it is plain to see that it is text; as it is of most prompts with a guard."""
    if isinstance(node, exp.Case):
        values = [*(b.args["true"] for b in node.args["ifs"]), node.args.get("default") or exp.Null()]
        kinds = {_kind(v, known) for v in values if not isinstance(v, exp.Null)}
        return "VARCHAR" if kinds == {"VARCHAR"} else ""
    if isinstance(node, exp.Literal):
        return "VARCHAR" if node.is_string else ""
    return known[node.name].kind if isinstance(node, exp.Column) and known[node.name].kind == "VARCHAR" else ""
