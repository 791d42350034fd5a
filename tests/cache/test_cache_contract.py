"""What every `AnswerCache` must do; another implementation is one more entry in `MAKERS`."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polar_llama.cache import open_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polar_llama.cache.base import AnswerCache

MAKERS: dict[str, Callable[[Path], AnswerCache]] = {"disk": open_cache}

every_maker = pytest.mark.parametrize("maker", list(MAKERS.values()), ids=list(MAKERS))


@pytest.fixture(params=list(MAKERS.values()), ids=list(MAKERS))
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnswerCache]:
    made: AnswerCache = request.param(tmp_path / "answers")
    yield made
    made.close()


def key(number: int, size: int = 20) -> bytes:
    return blake2b(str(number).encode(), digest_size=size).digest()


def test_an_unknown_key_is_absent(cache: AnswerCache) -> None:
    assert cache.get_many([key(1)]) == {}


def test_no_keys_and_no_items(cache: AnswerCache) -> None:
    cache.put_many({})
    assert cache.get_many([]) == {}


def test_what_was_put_is_found_and_nothing_else(cache: AnswerCache) -> None:
    cache.put_many({key(1): b"one", key(2): b"two"})
    assert cache.get_many([key(3), key(2)]) == {key(2): b"two"}


def test_the_last_value_wins(cache: AnswerCache) -> None:
    cache.put_many({key(1): b"one", key(2): b"two"})
    cache.put_many({key(1): b"uno"})
    assert cache.get_many([key(1), key(2)]) == {key(1): b"uno", key(2): b"two"}


def test_a_key_may_be_asked_for_twice(cache: AnswerCache) -> None:
    cache.put_many({key(1): b"one"})
    assert cache.get_many([key(1)] * 700) == {key(1): b"one"}


@pytest.mark.parametrize("size", [16, 20, 32])
def test_digests_of_any_length(cache: AnswerCache, size: int) -> None:
    cache.put_many({key(1, size): b"one"})
    assert cache.get_many([key(1, size)]) == {key(1, size): b"one"}


@pytest.mark.parametrize("value", [b"", b"\x00\xff\x00", "größer".encode(), b"\x80\x04N."], ids=repr)
def test_values_come_back_byte_for_byte(cache: AnswerCache, value: bytes) -> None:
    cache.put_many({key(1): value})
    assert cache.get_many([key(1)]) == {key(1): value}


@pytest.mark.parametrize("count", [499, 500, 501, 1_700])
def test_many_keys(cache: AnswerCache, count: int) -> None:
    items = {key(n): b"answer %d" % n for n in range(count)}
    cache.put_many(items)
    assert cache.get_many([key(n) for n in range(2 * count)]) == items


def test_large_values(cache: AnswerCache) -> None:
    items = {key(size): b"\xab" * size for size in (32_767, 32_768, 100_000, 5_000_000)}
    cache.put_many(items)
    assert cache.get_many(list(items)) == items


@every_maker
def test_answers_outlive_the_object(maker: Callable[[Path], AnswerCache], tmp_path: Path) -> None:
    first = maker(tmp_path)
    first.put_many({key(1): b"one"})
    first.close()
    second = maker(tmp_path)
    assert second.get_many([key(1)]) == {key(1): b"one"}
    second.close()


@every_maker
def test_two_directories_are_two_caches(maker: Callable[[Path], AnswerCache], tmp_path: Path) -> None:
    left, right = maker(tmp_path / "left"), maker(tmp_path / "right")
    left.put_many({key(1): b"one"})
    assert right.get_many([key(1)]) == {}
    left.close()
    right.close()


def test_closing_twice_is_fine(cache: AnswerCache) -> None:
    cache.close()
    cache.close()


def test_threads_share_one_cache(cache: AnswerCache) -> None:
    workers = 6
    together = threading.Barrier(workers)

    def work(worker: int) -> bool:
        together.wait()
        seen = True
        for batch in range(15):
            items = {key(1_000 * worker + 20 * batch + n): b"%d" % n for n in range(20)}
            cache.put_many({**items, key(-1): b"%d" % worker})
            seen = seen and cache.get_many(list(items)) == items
        return seen

    with ThreadPoolExecutor(workers) as pool:
        assert all(pool.map(work, range(workers)))
    everything = [key(1_000 * worker + n) for worker in range(workers) for n in range(300)]
    assert len(cache.get_many(everything)) == len(everything)


digests = st.integers(0, 30).map(key)
steps = st.lists(st.dictionaries(digests, st.binary(max_size=200), max_size=8) | st.none(), max_size=8)


@every_maker
@settings(max_examples=25, deadline=None)
@given(steps=steps, asked=st.lists(digests, max_size=40))
def test_it_is_a_dictionary_that_lasts(
    maker: Callable[[Path], AnswerCache], steps: list[dict[bytes, bytes] | None], asked: list[bytes]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        cache, model = maker(Path(directory)), dict[bytes, bytes]()
        for step in steps:
            if step is None:  # a new run
                cache.close()
                cache = maker(Path(directory))
            else:
                cache.put_many(step)
                model |= step
        assert cache.get_many(asked) == {k: model[k] for k in asked if k in model}
        cache.close()
