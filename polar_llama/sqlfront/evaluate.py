"""SQL expressions over answers that only DuckDB understands: evaluated by it, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl

from polar_llama.sqlfront.calls import parameters_in
from polar_llama.sqlfront.native import Typed
from polar_llama.sqlfront.syntax import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlglot import exp

    from polar_llama.sqlfront.database import Database
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
            values: pl.Series = connection.sql(query, params=dict(self.parameters) or None).pl().to_series()
        return values.cast(self.dtype).alias(rows.name)


def evaluated(planning: Planning, node: exp.Expr, known: Mapping[str, Typed]) -> Typed:
    """A SQL expression as a Polars one.

    Args:
        planning: The query it is part of.
        node: The expression, over columns of ours.
        known: Those columns.

    Raises:
        duckdb.Error: What DuckDB says of it.
    """
    source = ", ".join(f"CAST(NULL AS {typed.kind}) AS {name}" for name, typed in known.items())
    kind = planning.describe(f"SELECT {text(node)} FROM (SELECT {source or 'NULL'})")[0][1]  # noqa: S608
    types = planning.types
    restored = ", ".join(f"{types.restored(name, typed.kind)} AS {name}" for name, typed in known.items())
    query = f"SELECT {types.sent('v', kind)} FROM (SELECT {text(node)} AS v FROM (SELECT {restored} FROM"  # noqa: S608
    parameters = parameters_in(query, planning.parameters)
    function = Evaluation(planning.database, query, types.dtype(kind), parameters)
    rows = pl.struct([typed.expr.alias(name) for name, typed in known.items()])
    expr = rows.map_batches(function, return_dtype=function.dtype, is_elementwise=True)
    return Typed(expr, kind)
