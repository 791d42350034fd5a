"""Ask a model about every row of a frame: `make demo`, or `python examples/quickstart.py`.

Runs on the model embedded in `polar-llama[local]`: no key, no server, no network. It is a very small
model, so look at what is asked and what is not rather than at the wisdom of the answers. Another
model: `POLAR_LLAMA_MODEL=openai:gpt-6-luna python examples/quickstart.py`.
"""

from __future__ import annotations

import os
from typing import Literal

import polars as pl

import polar_llama as pll
from polar_llama import llm

pll.configure(model=os.environ.get("POLAR_LLAMA_MODEL", "local"))

tickets = pl.LazyFrame(
    {
        "id": [1, 2, 3, 4, 5, 6, 7, 8],
        "plan": ["pro", "free", "pro", "pro", "free", "pro", "pro", "pro"],
        "message": [
            "My card was stolen on the train, please block it!",
            "What is the exchange rate for euros today?",
            "I was charged twice for the same coffee.",
            "How do I change my address?",
            "My card was stolen on the train, please block it!",
            "My card was stolen on the train, please block it!",
            "Somebody I do not know has taken money from my account.",
            None,
        ],
    }
)

# The free filter stands last and runs first; only rows of the desk "cards" are asked for more.
answered = (
    tickets.with_columns(
        desk=llm(
            "Which desk should answer this customer of a bank: cards, payments or general?\n{message}",
            returns=Literal["cards", "payments", "general"],
        ),
        urgent=llm("Has this customer lost a card? {message}", returns=bool),
        reply=llm("Answer this customer of a bank in one short sentence: {message}", max_tokens=40),
    )
    .filter(pl.col("desk") == "cards")
    .filter(pl.col("plan") == "pro")
)

print(pll.explain(answered))

with pl.Config(fmt_str_lengths=60, tbl_width_chars=160, tbl_rows=-1):
    print(answered.collect())

print(pll.last_run())
