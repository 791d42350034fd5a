"""DuckDB's types: their dtypes in Polars, and how values travel between both unharmed."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import polars as pl

from polar_llama.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "tinyint": pl.Int8(),
    "smallint": pl.Int16(),
    "integer": pl.Int32(),
    "bigint": pl.Int64(),
    "utinyint": pl.UInt8(),
    "usmallint": pl.UInt16(),
    "uinteger": pl.UInt32(),
    "ubigint": pl.UInt64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "varchar": pl.String(),
    "date": pl.Date(),
    "time": pl.Time(),
    "timestamp": pl.Datetime("us"),
    "blob": pl.Binary(),
}
"""Types that come back from a frame as they went in."""

_KINDS = {dtype: kind.upper() for kind, dtype in _PLAIN.items() if dtype != pl.Time()}
"""The types that DuckDB gives to columns of a frame; it may take a time for one of nanoseconds."""

_CAST: dict[str, pl.DataType] = {
    "hugeint": pl.Decimal(38, 0),
    "uhugeint": pl.Decimal(38, 0),
    "uuid": pl.String(),
    "time_ns": pl.Time(),
    "timestamp_ns": pl.Datetime("ns"),
    "timestamp_ms": pl.Datetime("ms"),
    "timestamp_s": pl.Datetime("ms"),
    '"null"': pl.Null(),
    "null": pl.Null(),
    "sqlnull": pl.Null(),
}
"""Types that a frame holds as another one, from which DuckDB casts them back."""


def kinds_of(schema: pl.Schema) -> list[tuple[str, str]] | None:
    """Names and DuckDB's types of a frame's columns; None where only DuckDB knows."""
    kinds = [(name, _KINDS.get(dtype)) for name, dtype in schema.items()]
    if len({name.lower() for name in schema}) != len(kinds):
        return None  # DuckDB gives one of them another name
    found = [(name, kind) for name, kind in kinds if kind is not None]
    return found if len(found) == len(kinds) else None


class Types:
    """DuckDB's types as a connection knows them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Know the types of a connection, its own ones included."""
        self._connection = connection
        self._known: dict[str, tuple[pl.DataType | None, bool]] = {k.upper(): (d, True) for k, d in _PLAIN.items()}
        self._answers: dict[str, tuple[Any, str]] = {"VARCHAR": (str, "VARCHAR"), "BOOLEAN": (bool, "BOOLEAN")}

    def answer(self, returns: str) -> tuple[Any, str]:
        """`answer_annotation` of this connection."""
        if returns not in self._answers:
            self._answers[returns] = answer_annotation(self._connection, returns)
        return self._answers[returns]

    def is_known(self, kind: str) -> bool:
        """Whether DuckDB reads the name of a type, and a frame can hold it."""
        return self._of(kind)[0] is not None

    def dtype(self, kind: str) -> pl.DataType:
        """The dtype of a column of that type; String for one that no frame holds, such as INTERVAL."""
        return self._of(kind)[0] or pl.String()

    def sent(self, column: str, kind: str) -> str:
        """SQL that hands a column to a frame."""
        return column if self._of(kind)[0] is not None else f"CAST({column} AS VARCHAR)"

    def restored(self, column: str, kind: str) -> str:
        """SQL that gives a column of a frame its type back."""
        return column if self.returns_as(kind) else f"CAST({column} AS {kind})"

    def returns_as(self, kind: str) -> bool:
        """Whether a column of a frame comes back as the same type."""
        return self._of(kind)[1]

    def _zone(self, kind: str) -> str:
        """The connection's time zone, where a type has one."""
        if "TIME ZONE" not in kind:
            return "UTC"
        ((zone,),) = self._connection.execute("SELECT current_setting('TimeZone')").fetchall()
        return str(zone)

    def _of(self, kind: str) -> tuple[pl.DataType | None, bool]:
        if kind not in self._known:
            try:
                self._known[kind] = _dtype(duckdb.sqltype(kind, connection=self._connection), self._zone(kind))
            except duckdb.Error:
                self._known[kind] = None, False
        return self._known[kind]


def _dtype(kind: Any, zone: str) -> tuple[pl.DataType | None, bool]:  # noqa: PLR0911 -- one a kind
    """The dtype, if a frame can hold the type; and whether it comes back as the same type."""
    name = str(kind.id).lower()
    if name in _PLAIN:
        return _PLAIN[name], str(kind).upper() != "JSON"
    if name in _CAST:
        return _CAST[name], False
    if name.startswith("timestamp with time zone") or name in {"timestamptz", "timestamp_tz"}:
        return pl.Datetime("us", zone), True
    children = kind.children if name in {"decimal", "enum", "list", "array", "struct", "map"} else []
    parts = dict(children)
    match name:
        case "decimal":
            return pl.Decimal(parts["precision"], parts["scale"]), True
        case "enum":
            return pl.Enum(parts["values"]), False
        case "list":
            return _inside([parts["child"]], zone, lambda inner: pl.List(inner[0]))
        case "array":
            return _inside([parts["child"]], zone, lambda inner: pl.Array(inner[0], parts["size"]))
        case "map":
            return _inside([parts["key"], parts["value"]], zone, lambda inner: pl.Map(*inner))
        case "struct":
            names = list(parts)
            return _inside(
                [parts[n] for n in names], zone, lambda inner: pl.Struct(dict(zip(names, inner, strict=True)))
            )
        case _:
            return None, False


def _inside(
    kinds: list[Any], zone: str, make: Callable[[list[pl.DataType]], pl.DataType]
) -> tuple[pl.DataType | None, bool]:
    found = [_dtype(k, zone) for k in kinds]
    dtypes = [d for d, _ in found if d is not None and d != pl.Null]
    return (make(dtypes), all(same for _, same in found)) if len(dtypes) == len(found) else (None, False)


def answer_annotation(connection: duckdb.DuckDBPyConnection, returns: str) -> tuple[Any, str]:
    """What a call with `returns := '…'` answers.

    Returns:
        The Python type or Polars dtype for `polar_llama.types.answer_type`, and DuckDB's own text of the type.

    Raises:
        PlanError: If DuckDB does not know the type, or answers cannot be of it.
    """
    try:
        ((text,),) = connection.execute(f"SELECT typeof(CAST(NULL AS {_only_a_type(returns)}))").fetchall()
        kind = duckdb.sqltype(text, connection=connection)
    except duckdb.Error as error:
        msg = f"returns := {returns!r} is not a DuckDB type: {str(error).splitlines()[0]}"
        raise PlanError(msg) from None
    plain = {"varchar": str, "boolean": bool, "bigint": int, "double": float, "date": dt.date}
    name = str(kind.id).lower()
    if name in plain:
        return plain[name], text
    if name == "enum":
        labels: Any = dict(kind.children)["values"]
        return Literal[tuple(labels)], text
    dtype, _ = _dtype(kind, "UTC")
    if dtype is None or name in {"hugeint", "uhugeint", "uuid", "blob", "map", '"null"', "null"}:
        msg = (
            f"returns := {returns!r}: an answer cannot be of that type. "
            "Hint: use VARCHAR, BOOLEAN, BIGINT, DOUBLE, DATE, TIMESTAMP, DECIMAL, ENUM, or a LIST or STRUCT of them"
        )
        raise PlanError(msg)
    return dtype, text


def _only_a_type(text: str) -> str:
    """A type's text, refused where it could end the cast around it."""
    depth, quote = 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        if depth < 0 or (not quote and character == ";"):
            break
    if (
        depth
        or quote
        or not text.strip()
        or (not quote and ";" in text and "'" not in text)
        or "--" in text
        or "/*" in text
    ):
        msg = f"returns := {text!r} is not a DuckDB type"
        raise PlanError(msg)
    return text
