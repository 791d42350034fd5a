"""The values of scalar answers: each function gives what its dtype holds, or says why it cannot.

Pydantic has validated already; these stand guard where its types are wider than Polars' (integers, decimals,
time zones) and where a user's validator or default gave something else than its annotation says.
"""

from __future__ import annotations

import datetime as dt
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_LONGEST = dt.timedelta(microseconds=INT64_MAX)


def text(value: Any) -> str:
    """String: anything UTF-8 can write."""
    if type(value) is not str:
        value = str.__str__(_expect(value, str))  # of a str-valued enum its value
    if not value.isascii():
        value.encode()
    return value  # type: ignore[no-any-return]


def written(value: Any) -> str:
    """String, of what has one way to be written: a URL, a UUID."""
    return text(str(value))


def truth(value: Any) -> bool:
    """Boolean."""
    return bool(_expect(value, bool))


def whole(value: Any) -> int:
    """Int64."""
    if type(value) is not int:
        value = int(_expect(value, int))
    if not INT64_MIN <= value <= INT64_MAX:
        msg = f"an integer must be between {INT64_MIN} and {INT64_MAX}"
        raise ValueError(msg)
    return value  # type: ignore[no-any-return]


def number(value: Any) -> float:
    """Float64."""
    return value if type(value) is float else float(_expect(value, (int, float)))


def date(value: Any) -> dt.date:
    """Date; of a datetime the validator of a user let through, its date."""
    return value.date() if isinstance(value, dt.datetime) else _expect(value, dt.date)


def naive(value: Any) -> dt.datetime:
    """Datetime: a text with an offset is the same instant in UTC, one without is taken as written.

    The JSON format `date-time` demands an offset, so models end with `Z` where no zone is meant; this keeps the
    clock of those. Polars reads mixed offsets the same way.
    """
    moment: dt.datetime = _expect(value, dt.datetime)
    return moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def aware(value: Any) -> dt.datetime:
    """Datetime in UTC, of an annotation that demands an offset."""
    return _expect(value, dt.datetime).astimezone(dt.UTC)  # type: ignore[no-any-return]


def clock(value: Any) -> dt.time:
    """Time; one with an offset is moved to UTC, as `naive` does."""
    moment: dt.time = _expect(value, dt.time)
    if moment.tzinfo is None:
        return moment
    day = dt.datetime(2000, 1, 2, tzinfo=dt.UTC)
    return dt.datetime.combine(day, moment).astimezone(dt.UTC).time()


def duration(value: Any) -> dt.timedelta:
    """Duration in microseconds, about 292,000 years."""
    span: dt.timedelta = _expect(value, dt.timedelta)
    if not -_LONGEST <= span <= _LONGEST:
        msg = "a duration must be shorter than 292,000 years"
        raise ValueError(msg)
    return span


def exact(precision: int, scale: int) -> Callable[[Any], Decimal]:
    """Decimal of this precision and scale; never rounds."""
    unit = Decimal((0, (1,), -scale))
    context = Context(prec=precision, Emin=-999_999, Emax=999_999, traps=[Inexact, InvalidOperation])

    def decimal(value: Any) -> Decimal:
        try:
            return context.copy().quantize(_expect(value, Decimal), unit)
        except (Inexact, InvalidOperation):
            msg = f"a decimal must have at most {precision - scale} digits before the point and {scale} after it"
            raise ValueError(msg) from None

    return decimal


def one_of(labels: Mapping[Any, Any]) -> Callable[[Any], Any]:
    """A choice, from members and labels to labels."""

    def label(value: Any) -> Any:
        try:
            return labels[value]
        except (KeyError, TypeError):
            msg = f"a validator or default of the type gave a {type(value).__name__} that is none of the labels"
            raise ValueError(msg) from None

    return label


def _expect(value: Any, wanted: Any) -> Any:
    if isinstance(value, wanted) and not (isinstance(value, bool) and wanted is not bool):
        return value
    name = wanted.__name__ if isinstance(wanted, type) else "number"
    msg = f"a validator or default of the type gave a {type(value).__name__} where a {name} belongs"
    raise ValueError(msg)
