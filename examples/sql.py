"""The triage of a bank's questions, as an analyst would write it: in SQL.

    python examples/sql.py                     on an emulated model server, which needs no key
    python examples/sql.py --model local       on the embedded local model
    python examples/sql.py --model openai:gpt-6-luna

The same from a shell: `polar-llama sql - --table questions=examples/questions.csv < query.sql`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

import polar_llama as pll
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SAMPLE = Path(__file__).resolve().parent / "questions.csv"

URGENT = """
WITH asked AS (
    SELECT
        text,
        llm_bool('Has this customer lost money, a card or a phone? ' || text) AS urgent,
        llm_class('Which desk answers this? ' || text, ['cards', 'cash', 'transfers', 'account']) AS desk
    FROM questions
    WHERE length(text) > 10
)
SELECT desk, count(*) AS questions, min(text) AS for_example
FROM asked
WHERE urgent
GROUP BY desk
ORDER BY questions DESC, desk
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan, the urgent questions per desk, and what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="provider:model; without it an emulated model server answers")
    options = parser.parse_args(arguments)
    questions = pl.scan_csv(SAMPLE)
    with _model(options.model):
        urgent = pll.sql(URGENT, questions=questions)
        print(pll.explain(urgent))
        with pl.Config(fmt_str_lengths=80, tbl_width_chars=120):
            print(urgent.collect())
        print(pll.last_run())


@contextlib.contextmanager
def _model(name: str | None) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if name is None:
            os.environ |= stack.enter_context(Emulator()).environ()
        stack.enter_context(pll.session(model=name or "openai:gpt-6-luna"))
        yield


if __name__ == "__main__":
    main()
