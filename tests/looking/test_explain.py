"""Explain as people read it; what it says of each rule is with the planner's tests."""

from __future__ import annotations

import inspect
from pathlib import Path

import polars as pl
import pytest

import polar_llama as pll
from polar_llama import llm
from polar_llama.call import PREFIX
from polar_llama.errors import ConfigurationError

FRAME = pl.DataFrame({"i": [1, 2, 3], "q": ["a", "b", None], "p": [1.0, 2.0, 3.0]})
LF = FRAME.lazy()
CHAIN = LF.filter(llm("Spam? {q}", returns=bool) & (pl.col("p") > 1)).with_columns(s=llm("Sum {q}")).head(2)

TEXT = """\
LOGICAL PLAN
KEEP 2 rows
  ANSWER 's' = llm("Sum {q}") as String
    WITH COLUMNS prompt of 's'
      FILTER llm("Spam? {q}") & [col("p") > 1]
        ANSWER llm("Spam? {q}") as Boolean
          WITH COLUMNS prompt of llm("Spam? {q}")
            SCAN DataFrame["i", "q", "p"]

OPTIMIZED PLAN
ANSWER 's' = llm("Sum {q}") as String
  WITH COLUMNS prompt of 's'
    KEEP 2 rows, asking no more than it takes
      FILTER llm("Spam? {q}")
        ANSWER llm("Spam? {q}") as Boolean
          FILTER col("p") > 1
            WITH COLUMNS prompt of llm("Spam? {q}")
              SCAN DataFrame["i", "q", "p"]

STAGES
1. ask llm("Spam? {q}"), until 2 rows came out
2. ask 's' = llm("Sum {q}"), after 1"""

MERMAID = """\
flowchart BT
  n0["stage 1: ANSWER 'a' = llm(#34;q#34;) as String"]:::ask
  n1["FILTER col(#34;p#34;) #62; 1"]
  n2["WITH COLUMNS prompt of 'a'"]
  n3["SCAN DataFrame[#34;i#34;, #34;q#34;, #34;p#34;]"]
  n1 --> n0
  n2 --> n1
  n3 --> n2
  classDef ask fill:#fde68a,stroke:#b45309,color:#000"""


def test_the_plan_before_and_after_and_its_stages():
    assert pll.explain(CHAIN) == CHAIN.llm.explain() == TEXT


def test_the_plan_as_written_alone():
    assert pll.explain(CHAIN, optimized=False) == TEXT.partition("\n\n")[0]


def test_a_line_for_every_change():
    rules = pll.explain(CHAIN, verbose=True).split("\n\n")[1].splitlines()
    assert rules[0] == "RULES"
    assert 'split_filter: FILTER col("p") > 1 first, then FILTER llm("Spam? {q}")' in rules
    assert """defer_infer: 's' = llm("Sum {q}") is asked after KEEP 2 rows""" in rules
    assert "stop_early: KEEP 2 rows stops asking when enough rows came out" in rules


def test_predicates_in_a_row_are_one_stage():
    lf = LF.filter(llm("good {q}", returns=bool), llm("bad {q}", returns=bool)).with_columns(a=llm("q"))
    assert pll.explain(lf).endswith(
        'STAGES\n1. ask llm("good {q}"), llm("bad {q}"), in the order that turns out cheapest\n'
        """2. ask 'a' = llm("q"), after 1"""
    )


def test_masks_are_shown():
    masked = LF.with_columns(a=pl.when(pl.col("p") > 1).then(llm("x {q}")).otherwise(llm("y {q}")))
    text = pll.explain(masked, verbose=True)
    assert 'mask_infer: llm("x {q}") is asked where col("p") > 1' in text
    assert 'WITH COLUMNS prompt of llm("y {q}") unless col("p") > 1' in text


def test_what_is_dropped_unread_is_said_never_to_be_asked():
    text = pll.explain(LF.with_columns(a=llm("q")).drop("a"), verbose=True)
    assert """'a' = llm("q") is never asked: DROP 'a' drops it unread""" in text
    assert text.endswith("STAGES\nnothing is asked")


def test_what_planning_dedupe_and_the_cache_leave_of_the_requests(emulator):
    lf = pl.LazyFrame({"q": ["a", "a", "b", "c"], "p": [1, 2, 3, 0]}).with_columns(a=llm("{q}")).filter(pl.col("p") > 0)

    def shown() -> str:
        return pll.explain(lf, verbose=True).rpartition("REQUESTS\n")[2]

    assert shown() == 'llm("{q}"): 4 as written -> 3 planned -> 2 distinct -> 2 not cached'
    assert emulator.stats().requests == 0
    lf.head(1).collect()
    assert shown() == 'llm("{q}"): 4 as written -> 3 planned -> 2 distinct -> 1 not cached'
    behind = lf.filter(llm("{q}?", returns=bool)).with_columns(b=llm("{a}!"))
    assert pll.explain(behind, verbose=True).endswith(", at most")
    assert "REQUESTS" not in pll.explain(lf.drop("a"), verbose=True)


def test_as_a_picture():
    lf = LF.with_columns(a=llm("q")).filter(pl.col("p") > 1)
    assert pll.explain(lf, format="mermaid") == MERMAID
    assert "#62; 1" in lf.llm.explain(optimized=False, format="mermaid")
    with pytest.raises(ConfigurationError, match="mermaid"):
        pll.explain(lf, format="dot")


def test_markup_in_a_template_stays_text():
    picture = pll.explain(LF.with_columns(a=llm('<b>"{q}"</b>; `#1` & more')), format="mermaid")
    (answer,) = [line for line in picture.splitlines() if "ANSWER" in line]
    inner = answer.partition('["')[2].rpartition('"]')[0]
    assert not set('<>"`&') & set(inner)


def test_a_step_read_twice_is_told_once():
    text = pll.explain((answered := LF.sort(llm("q", returns=int))).join(answered, on="i"), optimized=False)
    assert text.count("SORT BY") == 2
    assert text.count("(the same as above)") == 1
    doubled = LF.with_columns(a=llm("q"))
    for _ in range(30):
        doubled = doubled.join(doubled.select("i"), on="i")
    assert len(pll.explain(doubled, optimized=False).splitlines()) < 200


def test_where_rows_come_from(tmp_path):
    path = tmp_path / "table.parquet"
    FRAME.write_parquet(path)
    scans = {
        "SCAN table.parquet": pl.scan_parquet(path),
        'SCAN DataFrame["i", "q", "p"]': LF,
        "SCAN native query on table.parquet": pl.scan_parquet(path).filter(pl.col("p") > 1),
        "SCAN native query on a frame with calls and": pl.concat(
            [LF.with_columns(a=llm("q")), LF.select(z="i")], how="horizontal"
        ),
    }
    for line, lf in scans.items():
        assert line in pll.explain(lf.with_columns(b=llm("q")))


HIDING = {
    "a join key": LF.join(LF, left_on=llm("q"), right_on="q"),
    "a group key": LF.group_by(llm("q", returns=int)).agg(pl.len()),
    "a sort": LF.sort(llm("q", returns=int)).filter(llm("{q}", returns=bool) | (pl.col("i") > 1)),
    "a top": LF.top_k(1, by=llm("q", returns=int)),
    "many verbs": LF.with_columns(a=llm("q")).rename({"p": "price"}).unpivot(on=["a", "q"]).cast({"value": pl.String}),
}


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize("form", ["text", "mermaid"])
def test_hidden_names_never_show(name, form):
    for optimized in (True, False):
        text = pll.explain(HIDING[name], optimized=optimized, verbose=True, format=form)
        assert PREFIX[:20] not in text
        assert "cannot be used here" not in repr(HIDING[name])


def test_a_frame_without_calls_is_a_scan():
    assert pll.explain(LF).startswith("LOGICAL PLAN\nSCAN DataFrame")


def test_explain_runs_nothing(tmp_path, monkeypatch):
    def unread(*_: object) -> None:
        raise AssertionError

    lf = pl.LazyFrame({"q": ["a"]}).map_batches(unread, schema={"q": pl.String()})
    assert "STAGES" in pll.explain(lf.with_columns(a=llm("q")))
    assert not Path(tmp_path / "cache").exists()


def test_signatures_are_those_of_the_documents():
    assert str(inspect.signature(pll.explain)).startswith(
        "(frame: 'pl.LazyFrame', *, optimized: 'bool' = True, verbose"
    )
    assert str(inspect.signature(pll.estimate)) == "(frame: 'pl.LazyFrame') -> 'pl.DataFrame'"
