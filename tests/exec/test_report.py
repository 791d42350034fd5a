from __future__ import annotations

import dataclasses
import subprocess
import sys

import polars as pl
import pytest

from polar_llama.exec.base import Tally
from polar_llama.exec.report import WIDTH, RunReport, call_report

SMALL = Tally(rows=5_000, null_prompts=12, distinct=1_000, cached=200, sent=801, retried=1, replied=801, failed=3)


def priced(**changes: int) -> Tally:
    return dataclasses.replace(SMALL, input_tokens=10_000_000, output_tokens=1_000_000, **changes)


def test_it_reads_as_a_small_table():
    one = call_report('"Is {q} about money?"', "openai:gpt-4o-mini", priced(), 4.21)
    two = call_report("col(\n 'a' )", "local", SMALL, 0.4)
    assert str(RunReport((one, two), 4.5)) == (
        "        rows null distinct cached  sent retried failed     tok in   tok out  cost seconds\n"
        "   #1  5,000   12    1,000    200   801       1      3 10,000,000 1,000,000 $2.10     4.2\n"
        "   #2  5,000   12    1,000    200   801       1      3          0         0 $0.00     0.4\n"
        "total 10,000   24    2,000    400 1,602       2      6 10,000,000 1,000,000 $2.10     4.5\n"
        '#1 openai:gpt-4o-mini: "Is {q} about money?"\n'
        "#2 local: col( 'a' )"
    )


@pytest.mark.parametrize("value", [0, 1, 999_999, 999_999_999, 123_456_789_012])
def test_it_is_never_wider_than_a_terminal(value):
    tally = Tally(*[value] * len(dataclasses.fields(Tally)))
    report = RunReport((call_report("x" * 200, "y" * 50, tally, 9_999.9),) * 2, 9_999.9)
    assert max(map(len, str(report).splitlines())) <= WIDTH


def test_it_prints_what_nothing_looks_like():
    assert str(RunReport((), 0.01)) == "polar_llama run: nothing was asked (0.0 s)"


def test_cost():
    known = call_report("a", "openai:gpt-4o-mini", priced(), 1.0)
    unknown = call_report("b", "mine:m", priced(), 1.0)
    free = call_report("c", "local", priced(), 1.0)
    nothing_sent = call_report("d", "mine:m", Tally(rows=1, distinct=1, cached=1), 1.0)
    uncounted = call_report("e", "openai:gpt-4o-mini", Tally(rows=1, distinct=1, sent=1), 1.0)
    refused = call_report("f", "openai:gpt-4o-mini", Tally(rows=1, distinct=1, sent=1, failed=1), 1.0)
    assert known.cost == pytest.approx(2.1)
    assert [c.cost for c in (unknown, free, nothing_sent, uncounted, refused)] == [None, 0.0, 0.0, None, 0.0]
    assert RunReport((known, free), 1.0).total.cost == pytest.approx(2.1)
    assert RunReport((known, unknown), 1.0).cost is None
    assert "unknown" in str(RunReport((known, unknown), 1.0))


def test_total():
    report = RunReport((call_report("a", "m:x", SMALL, 1.0), call_report("b", "m:y", SMALL, 2.0)), 2.5)
    total = report.total
    assert (total.call, total.model, total.rows, total.failed, total.seconds) == ("total", "", 10_000, 6, 2.5)


def test_it_is_a_frame():
    report = RunReport(
        (call_report("a", "openai:gpt-4o-mini", priced(), 1.5), call_report("b", "mine:m", SMALL, 2.0)), 2
    )
    got = report.to_frame()
    assert got.columns == [
        "call", "model", "rows", "null_prompts", "distinct", "cached", "shared", "sent", "retried", "failed",
        "input_tokens", "output_tokens", "cached_tokens", "stored_tokens", "unenforced", "seconds", "cost_usd",
    ]  # fmt: skip
    assert got.row(0) == (
        "a", "openai:gpt-4o-mini", 5_000, 12, 1_000, 200, 0, 801, 1, 3,
        10_000_000, 1_000_000, 0, 0, 0, 1.5, pytest.approx(2.1),
    )  # fmt: skip
    assert got["cost_usd"].to_list()[1] is None
    assert RunReport((), 0.0).to_frame().schema == got.schema
    assert got.schema["rows"] == pl.Int64


def test_a_report_is_a_copy():
    tally = Tally(rows=1)
    report = call_report("a", "local", tally, 0.0)
    tally.rows = 2
    assert report.rows == 1


def test_prices_are_loaded_only_when_asked_for():
    code = """
import sys
from polar_llama.exec.base import Tally
from polar_llama.exec.report import RunReport, call_report
report = RunReport((call_report("a", "openai:gpt-4o-mini", Tally(sent=1, input_tokens=1), 0.0),), 0.0)
assert "genai_prices" not in sys.modules and "tqdm" not in sys.modules
report.cost
assert "genai_prices" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
