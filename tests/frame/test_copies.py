"""Copies of frames work, and hold no credentials."""

from __future__ import annotations

import copy
import io
import pickle
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import pytest
from frame_kit import naive, python, questions, small
from polars.testing import assert_frame_equal

import polar_llama as pll

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polar_llama.testing import Emulator

SECRET = "sk-never-to-be-seen-0123456789"

pytestmark = pytest.mark.usefixtures("secret")


@pytest.fixture
def secret(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key wherever one may be."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)


def chain(lf: Any, llm: Any) -> Any:
    asked = lf.with_columns(a=llm("q").str.to_uppercase(), b=llm("{q} {g}")).filter(llm("q", returns=bool))
    return asked.join(lf.select("i", c=llm("q")), on="i", maintain_order="left").sort("i")


def padded(lf: Any, llm: Any) -> Any:
    """What Polars holds: a native frame over a leaf."""
    return pl.concat([chain(lf, llm), lf.select(z="i")], how="horizontal_extend")


FRAMES: dict[str, Callable[[Any, Any], Any]] = {"ours": chain, "native": padded}
COPIES: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of what holds it": lambda lf: copy.deepcopy({"x": [lf]})["x"][0],
    "clone": lambda lf: lf.clone(),
    "lazy": lambda lf: lf.lazy(),
    "pickle": lambda lf: pickle.loads(pickle.dumps(lf)),
    "pickle of a copy": lambda lf: pickle.loads(pickle.dumps(copy.deepcopy(lf))),
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_copy_gives_the_same(frame: str, copied: str) -> None:
    lf = FRAMES[frame](small().lazy(), pll.llm)
    twin = COPIES[copied](lf)
    assert twin.collect_schema() == lf.collect_schema()
    assert_frame_equal(twin.collect(), FRAMES[frame](small().lazy(), naive).collect())


@pytest.mark.parametrize("frame", FRAMES)
def test_a_serialized_frame_gives_the_same(frame: str) -> None:
    pytest.importorskip("cloudpickle", reason="Polars serializes Python sources with cloudpickle")
    written = FRAMES[frame](small().lazy(), pll.llm).serialize()
    assert SECRET.encode() not in written
    assert_frame_equal(
        pl.LazyFrame.deserialize(io.BytesIO(written)).collect(), FRAMES[frame](small().lazy(), naive).collect()
    )


@pytest.mark.parametrize("frame", FRAMES)
def test_pickled_bytes_hold_no_key(frame: str) -> None:
    pll.configure(http_client=httpx.AsyncClient(headers={"Authorization": f"Bearer {SECRET}"}))
    lf = FRAMES[frame](small().lazy(), pll.llm)
    lf.collect_schema()
    assert SECRET.encode() not in pickle.dumps(lf)
    assert SECRET not in f"{lf!r}{lf.explain()}{pll.explain(lf)}{pll.Settings()!r}"


def test_a_frame_that_has_run_holds_no_key() -> None:
    lf = padded(small().lazy(), pll.llm)
    lf.collect()
    assert SECRET.encode() not in pickle.dumps(lf)


def test_a_pickled_frame_runs_in_another_process(emulator: Emulator, tmp_path: Path) -> None:
    lf = questions().lazy().with_columns(a=pll.llm("q").str.to_uppercase()).filter(pl.col("cat") == 3)
    lf.collect()
    assert emulator.stats().requests == 10
    emulator.reset()
    written = tmp_path / "frame"
    written.write_bytes(pickle.dumps(lf))
    out = python(
        """
import pathlib, pickle, sys
import polar_llama as pll
pll.configure(model="openai:gpt-6-luna")
print(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()).select("a").head(2).collect().to_series().to_list())
""",
        written,
    )
    expected = questions().filter(pl.col("cat") == 3).head(2).select(naive("q").str.to_uppercase())
    assert out == f"{expected.to_series().to_list()}\n"
    assert emulator.stats().requests == 0


def test_a_self_join_asks_once(emulator: Emulator) -> None:
    lf = questions().lazy().with_columns(a=pll.llm("q"))
    joined = lf.join(lf, on="i", maintain_order="left")
    assert joined.collect()["a"].to_list() == joined.collect()["a_right"].to_list()
    assert emulator.stats().requests == 100


def test_a_grouping_is_pickled_with_its_frame() -> None:
    groups = small().lazy().with_columns(a=pll.llm("q")).group_by("g", maintain_order=True)
    result = pickle.loads(pickle.dumps(groups)).agg(pl.col("a").first()).collect()
    expected = small().with_columns(a=naive("q")).group_by("g", maintain_order=True).agg(pl.col("a").first())
    assert_frame_equal(result, expected)
