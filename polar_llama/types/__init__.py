"""Answer types: from a Python type (or a Polars dtype) to a dtype, a JSON schema and a validator.

`answer_type(returns)` is the only way in. Pydantic reads the annotation and validates the answers;
`shapes` reads from Pydantic what it understood and gives the Polars dtype, so both always agree.
Pydantic is imported when the first typed answer is asked for, and never for plain text.

| `returns` | dtype | |
|---|---|---|
| `str` | String | plain text: no schema, the answer as it came |
| `bool`, `int`, `float`, a union of both | Boolean, Int64, Float64, Float64 | an integer beyond 64 bits is invalid |
| `Literal`, `Enum` of strings | Enum | of the values, in order; of ints Int64, of bools Boolean |
| `date`, `time`, `timedelta` | Date, Time, Duration("us") | |
| `datetime` | Datetime("us") | one with an offset is moved to UTC; `AwareDatetime`: Datetime("us", "UTC") |
| `Decimal` | Decimal(38, 9) | or what `max_digits` and `decimal_places` say; never rounded |
| `UUID`, URLs of Pydantic | String | |
| `list`, `tuple[T, ...]`, `set` | List | sets are sorted |
| `Optional[T]`, `Annotated`, `NewType`, aliases | that of `T` | constraints and validators are honoured |
| models, TypedDicts, dataclasses, NamedTuples | Struct | of the Python names; the schema shows aliases |
| Polars dtypes | themselves | nothing in them is null |

Everything but `str` is asked for as a JSON object; what is none stands under `answer`.
"""

from __future__ import annotations

from polar_llama.types.answer import AnswerType, answer_type, error_dtype
from polar_llama.types.invalid import InvalidAnswer

__all__ = ["AnswerType", "InvalidAnswer", "answer_type", "error_dtype"]
