"""On random plans: an estimate is never below what is sent, equal where it says so, and fails only where runs do."""

from __future__ import annotations

import itertools

import planner_kit as kit
import planner_plans as plans
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, assume, given, reject
from hypothesis import settings as examples
from hypothesis import strategies as st

import polar_llama as pll
from polar_llama import settings
from polar_llama.frame import estimating
from polar_llama.planner.estimate import Reading

_numbers = itertools.count()

MANY = examples(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(autouse=True)
def _same_engine():
    """Orders that Polars does not promise differ between its engines, and with them what a limit keeps."""
    with pl.Config():
        pl.Config.set_engine_affinity("in-memory")
        yield


def assert_bounds(case: plans.Case, sent: int, found: pl.DataFrame) -> None:
    if found["requests"].null_count() == 0:
        foreseen = int(found["requests"].sum())
        assert sent <= foreseen, repr(case)
        if found["exact"].all():
            assert sent == foreseen, repr(case)


@MANY
@given(case=plans.cases())
def test_a_run_sends_no_more_than_estimated(case, monkeypatch):
    # These stages read every slot; real ones leave out what Polars never reads.
    monkeypatch.setattr(estimating, "reading", lambda plan: Reading())
    try:
        ran = kit.planned(case.query, case.frame)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pll.PolarLlamaError):
        reject()
    with settings.session(model="pure:model", cache="off"):
        found = pll.estimate(case.query(case.frame, pll.llm))
    assert_bounds(case, len(ran.asked), found)


@examples(MANY, max_examples=25, phases=[Phase.generate])
@given(case=plans.cases(), few=st.integers(0, 7))
def test_nor_where_some_of_it_is_cached(tmp_path, case, few):
    with settings.session(model="pure:model", cache_dir=tmp_path / str(next(_numbers)), progress=False):
        try:
            case.query(case.frame.head(few), pll.llm).collect(engine="in-memory")
            found = pll.estimate(case.query(case.frame, pll.llm))
            case.query(case.frame, pll.llm).collect(engine="in-memory")
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pll.PolarLlamaError):
            reject()
        report = pll.last_run()
        assume(report is not None)
        assert_bounds(case, report.total.sent, found)
        again = pll.estimate(case.query(case.frame, pll.llm))
        if not any(word in case.source for word in ("head", "limit", "slice", "filter")):
            assert (again["requests"].fill_null(0) == 0).all(), (case, again)
