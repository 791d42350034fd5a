"""The limiter and the buckets, as pure state machines."""

from __future__ import annotations

from collections import deque
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polar_llama.exec.limits import MOST, START, Limiter
from polar_llama.exec.pace import Bucket
from polar_llama.providers.base import Quota


def fill(limiter: Limiter, now: float = 0.0) -> list[int]:
    """Send as much as may be sent; gives the generations."""
    sent = []
    while limiter.ready(now) <= now:
        sent.append(limiter.sent(now))
    return sent


def test_it_starts_carefully_and_doubles_in_the_time_of_one_answer() -> None:
    limiter = Limiter()
    levels = []
    for _ in range(4):
        generations = fill(limiter)
        levels.append(len(generations))
        for generation in generations:
            limiter.answered(generation, 0.05)
            fill(limiter)
        while limiter.in_flight > limiter.limit // 2:  # the other half, sent while those came back
            limiter.dropped()
    assert levels[0] == START
    assert limiter.limit >= 4 * START
    assert limiter.limit <= MOST


def test_few_prompts_prove_nothing() -> None:
    limiter = Limiter()
    for _ in range(1_000):
        limiter.answered(limiter.sent(0.0), 0.05)
    assert limiter.limit == START


def test_an_explicit_limit_is_where_it_starts_and_ends() -> None:
    limiter = Limiter()
    limiter.allow(256, None, None, 0.0)
    generations = fill(limiter)
    assert len(generations) == 256
    assert limiter.ready(0.0) == inf
    for generation in generations:
        limiter.answered(generation, 0.05)
        fill(limiter)
    assert limiter.in_flight == 256
    limiter.allow(4, None, None, 0.0)
    assert limiter.limit == 4
    limiter.allow(None, None, None, 0.0)
    assert limiter.limit == START


def test_an_isolated_refusal_costs_one_slot_for_one_answers_time() -> None:
    limiter = Limiter()
    limiter.allow(32, None, None, 0.0)
    generations = fill(limiter)
    limiter.answered(generations[0], 0.05)
    limiter.failed(generations[1], 1.0, 5.0, refused=True)
    assert limiter.limit == 32
    assert len(fill(limiter, 1.0)) == 1
    assert limiter.ready(1.0) == pytest.approx(1.05)
    limiter.answered(generations[2], 0.05)
    assert len(fill(limiter, 1.0)) == 1
    assert len(fill(limiter, 1.06)) == 1


def test_a_burst_of_refusals_lands_on_what_the_server_took() -> None:
    limiter = Limiter()
    limiter.allow(256, None, None, 0.0)
    for generation in fill(limiter)[:224]:
        limiter.failed(generation, 0.01, 1.0, refused=True)
    assert limiter.limit == limiter.in_flight == 32
    assert limiter.ready(0.01) == inf


def test_where_nothing_was_taken_everyone_waits_and_one_goes_ahead() -> None:
    limiter = Limiter()
    limiter.allow(64, None, None, 0.0)
    for generation in fill(limiter):
        limiter.failed(generation, 0.01, 2.0, refused=True)
    assert limiter.ready(0.01) == pytest.approx(2.01)
    first = fill(limiter, 2.02)
    assert len(first) == 1
    limiter.failed(first[0], 2.03, 3.0, refused=True)
    assert limiter.ready(2.03) == pytest.approx(5.03)
    (second,) = fill(limiter, 5.04)
    limiter.answered(second, 0.05)
    assert len(fill(limiter, 5.1)) == 2


def test_what_is_no_refusal_never_shrinks_the_limit() -> None:
    limiter = Limiter()
    limiter.allow(16, None, None, 0.0)
    for second in range(50):
        for generation in fill(limiter, float(second)):
            limiter.failed(generation, float(second), 0.1, refused=False)
    assert limiter.limit == 16


def test_a_refused_level_is_probed_and_a_recovered_server_is_used_again() -> None:
    limiter, now = Limiter(), 0.0
    flying: deque[int] = deque()

    def refill(capacity: int) -> None:
        while limiter.ready(now) <= now:
            generation = limiter.sent(now)
            if len(flying) < capacity:
                flying.append(generation)
            else:
                limiter.failed(generation, now, 1.0, refused=True)

    for step in range(600):
        now += 0.05
        for _ in range(len(flying)):
            limiter.answered(flying.popleft(), 0.05)
            refill(20 if step < 300 else 120)
        refill(20 if step < 300 else 120)
        if step == 299:
            assert limiter.limit <= 22
    assert limiter.limit >= 100


def test_a_spent_allowance_is_waited_for_and_a_smaller_one_is_not() -> None:
    limiter = Limiter()
    limiter.reported(Quota(requests_limit=100, requests_remaining=1, requests_reset=30.0), 0.0)
    assert limiter.ready(0.0) == 0.0
    limiter.reported(Quota(requests_limit=100, requests_remaining=0, requests_reset=6.0), 0.0)
    assert 0.05 < limiter.ready(0.0) < 0.07  # a hundred in six seconds
    limiter.reported(Quota(requests_limit=100, requests_remaining=20, requests_reset=5.0), 0.1)
    assert limiter.ready(0.1) == 0.1
    limiter.used(500, None)
    limiter.reported(Quota(tokens_limit=1000, tokens_remaining=300, tokens_reset=10.0), 0.1)
    assert 1.0 <= limiter.ready(0.1) < 6.0


def test_a_reset_hours_away_is_left_to_the_server() -> None:
    limiter = Limiter()
    limiter.reported(Quota(requests_limit=50, requests_remaining=0, requests_reset=8 * 3600.0), 0.0)
    assert limiter.ready(0.0) == 0.0


@given(st.integers(1, 5_000), st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_no_minute_holds_more_than_the_allowance(per_minute: int, gaps: list[float]) -> None:
    bucket, now, sent = Bucket(per_minute, 0.0), 0.0, []
    for gap in gaps:
        now = max(now + gap, bucket.ready(now + gap))
        bucket.take(now)
        sent.append(now)
    for i, start in enumerate(sent):
        assert sum(1 for t in sent[i:] if t < start + 59.999) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 60, 600, 30_000])
def test_the_allowance_is_used(per_minute: int) -> None:
    bucket, now, sent = Bucket(per_minute, 0.0), 0.0, 0
    while (now := bucket.ready(now)) < 120.0:
        bucket.take(now)
        sent += 1
    assert sent >= 1.9 * per_minute


def test_tokens_are_guessed_and_corrected() -> None:
    limiter = Limiter()
    limiter.allow(100, None, 6_000, 0.0)
    limiter.sent(0.0, 40)
    limiter.used(500, limiter.spent)
    assert limiter.ready(0.0, 40) > 4.0
    assert limiter.ready(20.0, 40) == 20.0
