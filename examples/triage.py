"""Sort a bank's customer questions onto six desks, and count the urgent ones.

    python examples/triage.py                              the sample beside this file, embedded local model
    python examples/triage.py --rows 200 --model local     200 questions of the BANKING77 data set
    python examples/triage.py --emulator                   all of them, on an emulated model server

The questions are the column `text` of a CSV file: `--data`, the environment variable `BANKING77_CSV`,
or `banking77.csv` in a folder `shared/data` beside this checkout; else a sample of 32 questions.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

import polar_llama as pll
from polar_llama import llm
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
SAMPLE = HERE / "questions.csv"
BANKING77 = HERE.parents[1] / "shared" / "data" / "banking77.csv"

Desk = Literal["cards", "cash", "transfers", "top-ups", "exchange", "account"]


def triage(questions: pl.LazyFrame) -> pl.LazyFrame:
    """The questions that a person should see first, counted per desk.

    The free filter (one word is no question) is written last and runs first. Each distinct question
    is asked once, and only the urgent ones are asked for their desk.
    """
    return (
        questions.with_columns(
            desk=llm(
                "Which desk of the bank answers this customer: cards, cash, transfers, top-ups, exchange or "
                "account?\n{text}",
                returns=Desk,
            ),
        )
        .filter(llm("Has this customer lost money, a card or a phone? {text}", returns=bool))
        .filter(pl.col("text").str.contains(" "))
        .group_by("desk")
        .agg(questions=pl.len(), for_example=pl.col("text").first())
        .sort("questions", "desk", descending=[True, False])
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan, the counts per desk and the run's report."""
    options = _parser().parse_args(arguments)
    questions = pl.scan_csv(options.data).select("text").head(options.rows)
    with _model(options):
        urgent = triage(questions)
        print(pll.explain(urgent))
        with pl.Config(fmt_str_lengths=80, tbl_width_chars=160):
            print(urgent.collect())
        print(pll.last_run())


@contextlib.contextmanager
def _model(options: argparse.Namespace) -> Iterator[None]:
    if not options.emulator:
        with pll.session(model=options.model):
            yield
        return
    # An emulator's port is new each time, and a port is part of a cache key: there is nothing to keep.
    emulated = pll.session(model="openai:gpt-6-luna", cache="off")
    with Emulator() as emulator, _environment(emulator.environ()), emulated:
        yield


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Sort a bank's customer questions onto six desks.")
    parser.add_argument("--data", type=Path, default=_data(), help="a CSV file with a column `text`")
    parser.add_argument("--rows", type=int, help="only the first so many questions")
    parser.add_argument("--model", default=os.environ.get("POLAR_LLAMA_MODEL", "local"))
    parser.add_argument("--emulator", action="store_true", help="ask an emulated model server instead")
    return parser


def _data() -> Path:
    named = os.environ.get("BANKING77_CSV")
    if named:
        return Path(named)
    return BANKING77 if BANKING77.exists() else SAMPLE


if __name__ == "__main__":
    main()
