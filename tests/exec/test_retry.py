"""When a failed request is sent again."""

from __future__ import annotations

from typing import get_args

import pytest

from polar_llama.exec.retry import LONGEST, PATIENCE, given_up, wait
from polar_llama.providers.base import HEALS, Failure, Kind


@pytest.mark.parametrize("kind", get_args(Kind))
def test_only_what_can_heal_is_sent_again(kind: Kind) -> None:
    assert (wait(Failure(kind, "x"), 0, 6, 0.5) is not None) == (kind in HEALS)


def test_the_servers_wish_is_obeyed_and_never_undercut() -> None:
    for draw in (0.0, 0.5, 0.999):
        assert 3.0 <= (wait(Failure("rate_limited", "x", retry_after=3.0), 4, 6, draw) or 0) <= 3.2


def test_a_wish_beyond_patience_is_given_up_and_said() -> None:
    failure = Failure("rate_limited", "too many requests", retry_after=PATIENCE + 1)
    assert wait(failure, 0, 6, 0.5) is None
    assert "asks to wait 121 s" in given_up(failure, 0, 6).message


def test_without_a_wish_the_wait_doubles_with_full_jitter_up_to_a_bound() -> None:
    failure = Failure("overloaded", "x")
    assert [wait(failure, n, 99, 0.5) for n in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert wait(failure, 3, 99, 0.0) == 0.0
    assert wait(failure, 2_000, 9_999, 0.5) == LONGEST / 2


def test_tries_are_counted() -> None:
    failure = Failure("timeout", "no answer in 600 s")
    assert wait(failure, 5, 6, 0.5) is not None
    assert wait(failure, 6, 6, 0.5) is None
    assert wait(failure, 0, 0, 0.5) is None
    assert given_up(failure, 6, 6).message == "no answer in 600 s (given up after 7 tries)"
    assert given_up(failure, 0, 0).message == "no answer in 600 s (given up after 1 try)"


def test_a_failure_that_never_heals_is_told_as_it_is() -> None:
    failure = Failure("bad_request", "unknown field", status=400)
    assert given_up(failure, 0, 6) is failure
