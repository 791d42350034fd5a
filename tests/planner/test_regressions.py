"""Counterexamples that random plans have found, each as small as it could be made."""

from __future__ import annotations

import polars as pl
import pytest
from planner_kit import asking, assert_equivalent, assert_same, engine, judged, logical
from planner_plans import Case

import polar_llama as pll
from polar_llama.errors import PlanError

FOUND = {
    # One predicate of a sieve read the answer of another one, which had not been asked yet.
    "predicates_that_share_an_answer": Case(
        (".filter(llm('q', returns=bool) & (pl.col('i') > 0), llm('s', returns=bool) | llm('q', returns=bool))",)
    ),
    # A sieve read by a native leaf left out a column that a predicate reads, but does not answer.
    "a_predicate_reads_an_answer_from_below": Case(
        (
            ".filter((llm('{i}', returns=bool) | llm('{i}', returns=bool | None)), ~llm('{i}?', returns=bool | None))",
            ".with_columns(a=llm('{i}'))",
            ".pipe(lambda d: pl.concat([d, other.with_columns(a=llm('{z}'))], how='diagonal'))",
        )
    ),
    # A step read in pieces drops a column by name that it does not read.
    "a_dropped_column_of_a_step_in_pieces": Case(
        (
            ".with_columns(a=llm('q')).filter(llm('{q}?{k}', returns=bool)).head(2)",
            ".filter(llm('{v}-{q}', returns=bool)).filter(llm('{q}?{k}', returns=bool)).slice(1, 2)",
        )
    ),
    # The value to fill with went into the prompts, whose dtype it is not.
    "shift_fills_with_an_integer": Case((".select(a=llm('q', returns=int))", ".shift(2, fill_value=7)")),
    # Polars took the cast out of two prompts' conditions, and did it in all rows.
    "a_guarded_cast_in_the_masks_of_two_prompts": Case(
        (".with_columns(a=pl.when(pl.when('c').then(pl.col('s').cast(int) > 0)).then(llm('q')).otherwise(llm('s')))",)
    ),
    # Polars made one step of two, in which the prompt of `v` read the new `x`.
    "a_prompt_of_a_column_that_its_verb_replaces": Case(
        (
            ".with_columns(x=llm('s', returns=bool | None)).with_columns(cs.integer() * 2)",
            ".with_columns(x=llm(pl.format('on {}', 'q'), returns=int), b=pl.col('v'), v=llm('{x}', returns=int))",
        ),
        (1, 2, 3, 4),
    ),
    # A prompt of one value under a condition of one value had one row.
    "a_constant_prompt_under_an_aggregate": Case(
        (
            ".with_columns(q=pl.lit('new'))",
            ".remove((llm(pl.lit('c'), returns=int) > 1), (pl.len() > 2).eq_missing(pl.col('q').is_null()))",
        )
    ),
    # The names of fields were taken for names of the whole predicate, and taken away.
    "fields_of_a_struct_in_a_predicate": Case(
        (
            ".with_columns(p=pl.int_range(pl.len()))",
            ".filter(pl.struct(pl.col('v').alias('p'), pl.col('p').alias('v')).struct.field('v') < 3, llm('q') != '')",
        )
    ),
    "fields_of_a_struct_beside_an_answer": Case(
        (".select(v=pl.struct(pl.col('s').fill_null(llm('q', returns=str | None)).alias('y'), 's')).unnest('v')",)
    ),
    "an_answer_masked_by_an_answer_that_is_masked": Case(
        (".filter(llm('q', returns=bool) | llm('{v}', returns=bool), llm('s', returns=bool) | llm('q', returns=bool))",)
    ),
    "a_row_of_nulls_from_a_join_is_not_asked": Case(
        (
            ".join(other.with_columns(a=llm(pl.lit('const'))), on='k', how='full', maintain_order='left_right')",
            ".filter((llm('{a}', returns=bool | None) | pl.col('c')))",
        )
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    case = FOUND[name]
    assert_equivalent(case.query, case.frame)
    naive = engine(case.query, case.frame, rules=())
    ran = engine(case.query, case.frame)
    assert_same(ran.frame, judged(case.query, case.frame))
    assert ran.asked <= naive.asked


REFUSED = {
    # These were answered by prompts rendered over the whole frame: a wrong result.
    "a prompt of rows that counts its group": ".group_by('k').agg(llm(pl.format('{}/{}', 's', pl.len())))",
    "the same in having": ".group_by('k').having(llm(pl.format('{}{}', 's', pl.len()), returns=bool).first()).agg('q')",
    "a prompt inside a prompt": ".group_by('k').agg(llm(pl.format('{} {}', 'q', llm(pl.col('q').max()))))",
    "a shifted prompt under a window": ".with_columns(a=llm(pl.col('q').shift()).first().over('k'))",
    "an aggregated prompt under a window": ".with_columns(a=llm(pl.col('q').str.join(',')).over('k'))",
    "the same in a filter": ".filter(llm(pl.col('q').max(), returns=bool).over('k'))",
}


@pytest.mark.parametrize("name", REFUSED)
def test_prompts_of_a_group_are_not_rendered_over_the_frame(name: str) -> None:
    case = Case((REFUSED[name],))
    with pytest.raises(PlanError, match="looks at other rows too"):
        logical(case.query, case.frame)


def test_leaves_of_frames_of_one_origin_do_not_wait_for_each_other() -> None:
    """Polars asked a leaf for its schema under the lock that the leaf's plan needed."""
    base = pl.LazyFrame({"k": [1, 2], "q": ["a", "b"]}).sort("k")
    base.collect_schema()
    with asking():
        result = base.merge_sorted(base.with_columns(q=pll.llm("q")), "k")
        assert result.collect_schema().names() == ["k", "q"]
        assert sorted(result.collect()["q"]) == ["a", "a!", "b", "b!"]
