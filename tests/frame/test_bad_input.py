"""Mistakes are told before the first request: what is wrong, what to write instead, no prompt text, no key."""

from __future__ import annotations

import enum
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from frame_kit import python, small

import polar_llama as pll

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polar_llama.testing import Emulator

KEY = "sk-never-to-be-seen-0123456789"
CELL = "the text of a cell"


@pytest.fixture(autouse=True)
def _key(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def frame() -> pl.LazyFrame:
    return small().lazy().with_columns(q=pl.lit(CELL), raw=pl.lit(b"x"))


def refused(query: Callable[[pl.LazyFrame], Any], error: type[Exception], *told: str) -> None:
    """Run a query that is wrong; its error must hold every text of `told`, and nothing secret."""
    with pytest.raises(error) as caught:
        query(frame()).collect()
    message = str(caught.value)
    for text in told:
        assert text in message
    assert KEY not in message
    assert CELL not in message
    assert "cannot be used here" not in message


PROMPTS: dict[str, tuple[tuple[str, ...], Callable[[pl.LazyFrame], Any]]] = {
    "unknown column": (("'nope'", "its columns are 'i', 'g'", "pl.lit"), lambda lf: lf.select(pll.llm("nope"))),
    "text for a column": (("'Who?'", "pl.lit"), lambda lf: lf.select(pll.llm("Who?"))),
    "unknown column in an expression": (("'nope'",), lambda lf: lf.select(pll.llm(pl.col("nope") + "x"))),
    "unknown field": (("'nope'", "its columns are 'i', 'g'"), lambda lf: lf.select(pll.llm("x {nope}"))),
    "unknown column on a chain": (
        ("'nope'", "'a'"),
        lambda lf: lf.with_columns(a=pll.llm("q")).with_columns(b=pll.llm("{a} {nope}")),
    ),
    "unclosed brace": (("malformed", "{{ and }}"), lambda _: pll.llm("x {q")),
    "lonely brace": (("malformed", "{{ and }}"), lambda _: pll.llm("x q}")),
    "empty field": (("malformed", "name a column"), lambda _: pll.llm("x {}")),
    "position": (("malformed", "name a column"), lambda _: pll.llm("x {0}")),
    "format spec": (("malformed", "{i}", "pl.format"), lambda _: pll.llm("x {i:.2f}")),
    "conversion": (("malformed", "pl.format"), lambda _: pll.llm("x {i!r}")),
    "attribute": (("malformed", "{i.real}", "pl.format"), lambda _: pll.llm("x {i.real}")),
    "item": (("malformed", "pl.format"), lambda _: pll.llm("x {l[0]}")),
    "numbers": (("Int64", 'llm("{column}")', "pl.String"), lambda lf: lf.select(pll.llm("i"))),
    "a number": (("Int64", "pl.String"), lambda lf: lf.select(pll.llm(pl.col("i") + 1))),
    "lists": (("List(Int64)", "role, content"), lambda lf: lf.select(pll.llm("l"))),
    "bytes": (("Binary",), lambda lf: lf.select(pll.llm("raw"))),
    "bytes in a template": (("'raw'", "Binary", "decode"), lambda lf: lf.select(pll.llm("{raw}"))),
    "several columns": (("one column", "is 2"), lambda lf: lf.select(pll.llm(pl.col("q", "g")))),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts(emulator: Emulator, name: str) -> None:
    told, query = PROMPTS[name]
    refused(query, pll.PlanError, *told)
    assert emulator.stats().requests == 0


def test_an_unknown_column_is_also_what_polars_would_raise() -> None:
    for prompt in ("nope", "{nope}"):
        with pytest.raises(pl.exceptions.ColumnNotFoundError):
            frame().select(pll.llm(prompt)).collect()
        with pytest.raises(pll.UnknownColumnError):
            frame().select(pll.llm(prompt)).collect_schema()


@pytest.mark.parametrize("prompt", [5, None, 1.5, b"q", ["q"], pl.Series(["q"]), {"q": 1}], ids=repr)
def test_prompts_of_another_type(prompt: Any) -> None:
    with pytest.raises(pll.ConfigurationError, match='Hint: llm\\("question"\\)'):
        pll.llm(prompt)


WRONG: dict[str, Callable[[pl.LazyFrame], Any]] = {
    "parsing": lambda lf: lf.with_columns(a=pll.llm("{q}!").str.to_integer()),
    "a cast": lambda lf: lf.filter(pll.llm("{q}!").cast(pl.Int64) > 3),
    "a cast as a key": lambda lf: lf.group_by(pll.llm("{q}!").cast(pl.Int64)).agg(pl.len()),
    "a dtype": lambda lf: lf.filter(pll.llm("{q}!")),
    "arithmetic": lambda lf: lf.select(pll.llm("{q}!") + 1),
    "another column": lambda lf: lf.filter(pll.llm("{q}!") == pl.col("nope")),
    "a join": lambda lf: lf.join(lf, left_on=pll.llm("{q}!"), right_on="i"),
    "a native query": lambda lf: pl.concat([lf.select(pll.llm("{q}!"))], how="diagonal").cast(pl.Int64),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_polars_says_of_an_answer_names_the_call(name: str) -> None:
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        WRONG[name](frame()).collect()
    assert "llm" in str(caught.value)
    assert "cannot be used here" not in str(caught.value)  # as the hidden column is called
    if name in {"parsing", "a cast", "a dtype"}:
        assert 'llm("{q}!")' in str(caught.value)


def test_a_call_that_nobody_captured_keeps_its_advice() -> None:
    captured = frame().with_columns(a=pll.llm("q"))
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="write it in select, with_columns"):
        captured.map_batches(lambda d: d.head(d.n_unique(pll.llm("q")))).collect()


def test_a_call_is_no_function_of_values(emulator: Emulator) -> None:
    pll.llm("q")  # the first call of a process arms the capture
    for ask in (pll.llm, lambda cell: pll.llm(pl.lit(cell))):
        with pytest.raises(pll.PlanError, match=r"map_elements\(\).*Hint: .*with_columns\(a=llm"):
            small()["q"].map_elements(ask)
    assert small()["q"].map_elements(lambda _: ...).dtype == pl.Object
    assert emulator.stats().requests == 0


TYPES: list[Any] = [
    dict, object, "str", socket.socket, int | str, None, min, tuple[int, str], bytes, Any, 7, enum.Enum("E", {}),
    lambda x: x,
]  # fmt: skip


@pytest.mark.parametrize("returns", TYPES, ids=repr)
def test_types_that_are_not_supported(returns: Any) -> None:
    with pytest.raises(pll.ConfigurationError, match=r"^returns.*Hint: "):
        pll.llm("q", returns=returns)


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 5}, "from 0 to 2"),
    ({"temperature": "hot"}, "from 0 to 2"),
    ({"max_tokens": 0}, "at least 1"),
    ({"seed": "x"}, "whole number"),
    ({"options": {"a": object()}}, "JSON"),
    ({"options": ["a"]}, "mapping"),
    ({"on_error": "ignore"}, '"raise", "null" or "struct"'),
    ({"cache": "use"}, "True or False"),
    ({"model": 3}, "a string"),
    ({"system": 3}, "a string"),
]


@pytest.mark.parametrize(("options", "told"), OPTIONS)
def test_options_of_a_call(options: dict[str, Any], told: str) -> None:
    with pytest.raises(pll.ConfigurationError, match=told):
        pll.llm("q", **options)


MODELS: dict[str, tuple[str, ...]] = {
    "opnai:gpt-6-luna": ('did you mean "openai"?', "local"),
    "nobody:x": ("The providers are", "openai"),
    "gpt-6-luna": ('"openai:gpt-6-luna"', '"local"'),
    "openai:": ('"provider:model"', '"local"'),
    "": ("openai:gpt-6-luna", '"local"'),
}


@pytest.mark.parametrize("model", MODELS)
def test_models_that_nobody_has(emulator: Emulator, model: str) -> None:
    refused(lambda lf: lf.select(pll.llm("q", model=model)), pll.ConfigurationError, *MODELS[model])
    with pll.session(model=model):
        refused(lambda lf: lf.select(pll.llm("q")), pll.ConfigurationError, *MODELS[model])
    assert emulator.stats().requests == 0


RUNS: dict[str, Callable[[pl.LazyFrame], Any]] = {
    "collect": lambda lf: lf.collect(),
    "eager": lambda lf: lf.collect(engine="in-memory"),
    "collect_all": lambda lf: pl.collect_all([lf, lf]),
    "concat": lambda lf: pl.concat([lf, lf], how="diagonal").collect(),
    "batches": lambda lf: list(lf.collect_batches()),
    "sink": lambda lf: lf.sink_csv(os.devnull),
}


@pytest.mark.parametrize("run", RUNS)
def test_no_model_however_the_frame_is_run(emulator: Emulator, run: str) -> None:
    pll.configure(model=None)
    with pytest.raises(pll.ConfigurationError) as caught:
        RUNS[run](frame().select(pll.llm("q")))
    for told in ("no model", "llm(..., model=", "configure", "POLAR_LLAMA_MODEL", '"local"'):
        assert told in str(caught.value)
    assert emulator.stats().requests == 0


def test_no_key(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    refused(lambda lf: lf.select(pll.llm("q")), pll.ConfigurationError, "OPENAI_API_KEY", '"local"')
    assert emulator.stats().requests == 0


def test_one_bad_call_of_several_stops_all_of_them(emulator: Emulator) -> None:
    refused(
        lambda lf: lf.with_columns(a=pll.llm("q"), b=pll.llm("{a} {q}", model="nobody:x")),
        pll.PolarLlamaError,
    )
    refused(
        lambda lf: lf.with_columns(a=pll.llm("q")).with_columns(b=pll.llm("{a} {q}", model="nobody:x")),
        pll.ConfigurationError,
        "nobody",
    )
    assert emulator.stats().requests == 0


PLANS: dict[str, tuple[type[Exception], Callable[[pl.LazyFrame], Any]]] = {
    "duplicate": (pl.exceptions.DuplicateError, lambda lf: lf.select("a", pl.col("q").alias("a"))),
    "drop of nothing": (pl.exceptions.ColumnNotFoundError, lambda lf: lf.drop("zz")),
    "rename of nothing": (pl.exceptions.ColumnNotFoundError, lambda lf: lf.rename({"zz": "y"})),
    "filter of nothing": (pl.exceptions.ColumnNotFoundError, lambda lf: lf.filter(pl.col("zz") == 1)),
    "filter by text": (pl.exceptions.InvalidOperationError, lambda lf: lf.filter("a")),
    "key of another dtype": (pl.exceptions.SchemaError, lambda lf: lf.join(lf, left_on="a", right_on="i")),
    "suffix": (
        pl.exceptions.DuplicateError,
        lambda lf: lf.select("i", z=pl.lit(1), z_right="a").join(pl.LazyFrame({"i": [1], "z": [1]}), on="i"),
    ),
    "unnest of text": (pl.exceptions.InvalidOperationError, lambda lf: lf.unnest("a")),
    "row index": (pl.exceptions.DuplicateError, lambda lf: lf.rename({"a": "index"}).with_row_index()),
}


@pytest.mark.parametrize("name", PLANS)
def test_what_polars_refuses_is_refused_before_asking(emulator: Emulator, name: str) -> None:
    error, query = PLANS[name]
    refused(lambda lf: query(lf.with_columns(a=pll.llm("q"))), error)
    assert emulator.stats().requests == 0


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"modle": "x"}, "unknown setting modle; the settings are cache"),
    ({"cache": "maybe"}, "'use', 'refresh', 'replay', 'off'"),
    ({"max_concurrency": 0}, "at least 1"),
    ({"max_retries": -1}, "at least 0"),
    ({"timeout": "soon"}, "number"),
    ({"timeout": 0}, "above zero"),
    ({"cache_dir": 3}, "a path"),
    ({"on_error": "skip"}, "'raise', 'null', 'struct'"),
    ({"http_client": "me"}, "httpx.AsyncClient"),
]


@pytest.mark.parametrize(("settings", "told"), SETTINGS)
def test_settings(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(pll.ConfigurationError, match=told):
        pll.configure(**settings)
    with pytest.raises(pll.ConfigurationError, match=told), pll.session(**settings):
        pass


@pytest.mark.parametrize(("name", "value"), [("MAX_RETRIES", "x"), ("CACHE", "x"), ("TIMEOUT", "x"), ("PROGRESS", "x")])
def test_settings_of_the_environment(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"POLAR_LLAMA_{name}", value)
    with pytest.raises(pll.ConfigurationError, match=f"(?i){name}"):
        frame().select(pll.llm("q")).collect()
    assert emulator.stats().requests == 0


def test_a_base_url_that_is_none(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "not a url")
    refused(lambda lf: lf.select(pll.llm("q")), pll.ConfigurationError, "OPENAI_BASE_URL", "http://")
    assert emulator.stats().requests == 0


def test_weights_that_are_not_there(emulator: Emulator, tmp_path: Path) -> None:
    model = f"local:{tmp_path}/nothing.gguf"
    refused(lambda lf: lf.select(pll.llm("q", model=model)), pll.ConfigurationError, "nothing.gguf", "GGUF")


@pytest.mark.parametrize("below", [False, True])
def test_a_cache_directory_that_is_a_file(emulator: Emulator, tmp_path: Path, below: bool) -> None:  # noqa: FBT001
    (tmp_path / "file").touch()
    pll.configure(cache_dir=tmp_path / "file" / "x" if below else tmp_path / "file")
    refused(lambda lf: lf.select(pll.llm("q")), pll.ConfigurationError, "cache_dir", 'cache="off"', "a file is in its")
    assert emulator.stats().requests == 0


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
def test_a_cache_directory_that_cannot_be_written(emulator: Emulator, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    out = python(
        """
import os, sys
import polars as pl
import polar_llama as pll
pll.configure(model="openai:gpt-6-luna")
ask = lambda text: pl.LazyFrame({"q": [text]}).select(pll.llm("q")).collect()
ask("everything is imported, and the user may change")
if os.geteuid() == 0:
    os.setuid(65534)
pll.configure(cache_dir=sys.argv[1])
try:
    ask("never sent")
except pll.ConfigurationError as error:
    print(error)
""",
        locked / "below",
    )
    assert "cannot be written" in out
    assert 'cache="off"' in out
    assert emulator.stats().requests == 1


def test_the_cache_directory_is_the_user_s_own(tmp_path: Path) -> None:
    pll.configure(cache_dir=tmp_path / "a" / "b")
    frame().select(pll.llm("q")).collect()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
