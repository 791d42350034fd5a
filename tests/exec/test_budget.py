from __future__ import annotations

import pytest

from polar_llama.exec.base import Later, Tally
from polar_llama.exec.budget import AROUND, Budget, Meter
from polar_llama.exec.price import FREE, Price, price
from polar_llama.exec.tokens import FIRST_ANSWER
from polar_llama.providers.base import Failure

CENT = Price(input=0.01, cached=0.001, output=0.02)


def meter(tally: Tally | None = None, max_tokens: int | None = None, known: Price = CENT) -> Meter:
    return Meter(tally or Tally(), known, overhead=40, max_tokens=max_tokens)


def test_requests_are_counted_exactly_over_all_calls():
    budget = Budget(max_requests=3, max_cost=None)
    one, two = meter(), meter()
    assert [budget.admit(one), budget.admit(two), budget.admit(one)] == [None] * 3
    assert budget.admit(two) == Failure("stopped", "max_requests=3 is reached")


def test_without_a_budget_everything_is_admitted():
    assert Budget(None, None).admit(None) is None


def test_a_budget_that_was_exceeded_stays_so():
    tally = Tally(sent=1, replied=1, input_tokens=100, output_tokens=100)
    budget = Budget(None, 3.0)
    one = meter(tally)
    budget.add(one)
    assert budget.admit(one) is not None
    tally.input_tokens = tally.output_tokens = 0
    assert budget.admit(one) is not None


def test_before_the_first_answer_a_request_is_guessed_by_its_bytes():
    one = meter()
    one.saw(["é" * 10, "x" * 40])
    tokens = (40 + (20 + 40) / 2) / 4
    assert one.committed(more=1) == pytest.approx(tokens * 0.01 + FIRST_ANSWER * 0.02)
    assert one.committed() == 0


def test_max_tokens_bounds_the_answer():
    one = meter(max_tokens=10)
    assert one.committed(more=1) == pytest.approx(10 * 0.01 + 10 * 0.02)


def test_a_request_of_text_with_max_tokens_costs_no_more_than_its_bytes_as_tokens():
    one = Meter(Tally(sent=1, replied=1, input_tokens=1), CENT, overhead=40, max_tokens=10, is_bounded=True)
    one.saw(["x", "é" * 30, "xy"])
    assert one.committed(more=2) == pytest.approx(0.01 + 2 * ((40 + 60 + 10 + AROUND) * 0.01 + 10 * 0.02))


def test_then_by_what_the_provider_counts():
    tally = Tally(sent=6, retried=1, replied=4, failed=1, input_tokens=60, output_tokens=30, cached_tokens=20)
    back = 40 * 0.01 + 20 * 0.001 + 30 * 0.02
    one = meter(tally)
    assert one.committed(more=1) == pytest.approx(back + 3 * (30 * 0.01 + 15 * 0.02))


def test_max_tokens_still_bounds_requests_in_flight():
    one = meter(Tally(sent=2, replied=1, input_tokens=10, output_tokens=1), max_tokens=100)
    assert one.committed() == pytest.approx(10 * 0.01 + 1 * 0.02 + 10 * 0.01 + 100 * 0.02)


def test_answers_of_a_server_that_does_not_count_cost_the_estimate():
    one = meter(Tally(sent=5, replied=4, failed=1), max_tokens=10)
    assert one.committed() == pytest.approx((3 + 1) * (10 * 0.01 + 10 * 0.02))


def test_failures_that_were_not_billed_cost_nothing():
    assert meter(Tally(sent=5, replied=5, failed=5)).committed() == 0


def test_what_is_in_flight_holds_its_share():
    budget = Budget(None, 1.0)
    one = Meter(Tally(), CENT, overhead=0, max_tokens=14)
    budget.add(one)
    one.saw(["four"])
    while budget.admit(one) is None:
        one.tally.sent += 1
    assert one.tally.sent == 3  # 0.29 each
    assert isinstance(budget.admit(one), Later)
    one.tally.replied = 3
    one.tally.output_tokens = 3 * 30
    one.tally.input_tokens = 3
    stopped = budget.admit(one)
    assert isinstance(stopped, Failure)
    assert stopped.message == budget.reason
    assert budget.reason == "one more request could exceed max_cost=$1 ($1.83 were spent on 3 requests)"


def test_what_others_really_cost_makes_room():
    budget = Budget(None, 1.0)
    one, woken = Meter(Tally(), CENT, overhead=0, max_tokens=14), []
    budget.add(one)
    one.saw(["four"])
    while (said := budget.admit(one)) is None:
        one.tally.sent += 1
    assert isinstance(said, Later)
    said.then(lambda: woken.append("woken"))
    one.tally.replied, one.tally.input_tokens, one.tally.output_tokens = 1, 1, 1
    budget.settled(one)
    assert woken == ["woken"]
    assert budget.admit(one) is None


def test_a_call_whose_answers_may_have_any_length_asks_once_first():
    budget = Budget(None, 100.0)
    one = Meter(Tally(), CENT, overhead=0, max_tokens=None)
    budget.add(one)
    one.saw(["four"])
    assert budget.admit(one) is None
    one.tally.sent = 1
    assert isinstance(budget.admit(one), Later)
    one.tally.replied, one.tally.input_tokens, one.tally.output_tokens = 1, 1, 400
    budget.settled(one)
    while (said := budget.admit(one)) is None:
        one.tally.sent += 1
    assert isinstance(said, Later)
    assert one.tally.sent == 12  # at 8.01 each


def test_the_longest_answer_so_far_is_what_one_in_flight_may_cost():
    one = meter(Tally(sent=3))
    for output in (10, 500, 20):
        one.tally.replied += 1
        one.tally.input_tokens += 1
        one.tally.output_tokens += output
        one.replied()
    assert one.longest == 500
    assert one.committed(more=1) - one.spent == pytest.approx(1 * 0.01 + 500 * 0.02)


def test_two_calls_share_the_money():
    budget = Budget(None, 1.0)
    rich, poor = meter(Tally(sent=1, replied=1, input_tokens=90)), meter(max_tokens=0)
    budget.add(rich)
    budget.add(poor)
    assert budget.admit(poor) is None
    rich.tally.input_tokens += 1
    assert budget.admit(poor) is not None


def test_what_is_free_is_never_stopped():
    budget = Budget(None, 0.0)
    one = meter(known=FREE)
    budget.add(one)
    assert all(budget.admit(one) is None for _ in range(100))


def test_prices():
    known = price("openai", "gpt-4o-mini")
    assert known is not None
    assert (known.input, known.cached, known.output) == pytest.approx((0.15e-6, 0.075e-6, 0.6e-6))
    assert known.of(Tally(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000)) == pytest.approx(0.18)
    assert price("local", "") == price("local", "/any.gguf") == FREE


@pytest.mark.parametrize(
    "model",
    [
        "anthropic:claude-haiku-4-5",
        "gemini:gemini-2.5-flash",
        "groq:openai/gpt-oss-20b",
        "bedrock:amazon.nova-lite-v1:0",
    ],
)
def test_every_built_in_vendor_has_prices(model):
    known = price(*model.split(":", 1))
    assert known is not None
    assert 0 < known.input < known.output


@pytest.mark.parametrize(("provider", "model"), [("openai", "no-such-model"), ("mine", "gpt-4o-mini"), ("openai", "")])
def test_an_unknown_price_is_none_and_not_nought(provider, model):
    assert price(provider, model) is None
