"""The command line, as a shell sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

from polar_llama.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from polar_llama.testing import Emulator


@pytest.fixture
def questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame({"q": ["Where is my card?", "Is it open?", "Where is my card?"], "n": [1, 2, 3]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    return tmp_path


def test_a_query_prints_a_table(emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "SELECT n, llm(q) AS a FROM t ORDER BY n LIMIT 2", "--table", "t=t.parquet"]) == 0
    out = capsys.readouterr()
    assert "answer " in out.out
    assert "shape: (2, 2)" in out.out
    assert not out.err
    assert emulator.stats().requests == 2


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.ndjson"])
def test_a_query_writes_a_file(emulator: Emulator, questions: Path, name: str) -> None:
    query = "SELECT n, llm(q) AS a FROM t WHERE llm_bool(q) OR n > 0"
    assert main(["sql", query, "--table", "t=t.csv", "--output", name]) == 0
    written = pl.read_parquet(name) if name == "out.parquet" else duckdb.sql(f"FROM '{name}'").pl()
    assert written["n"].to_list() == [1, 2, 3]
    assert {p.name for p in questions.iterdir()} == {name, "cache", "t.csv", "t.parquet"}


def test_no_half_of_a_file_is_left(emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT llm(q, model := 'openai:x') AS a, (n - 2)::UTINYINT AS b FROM t"
    assert main(["sql", query, "--table", "t=t.csv", "--output", "out.csv"]) == 1
    assert not [p for p in questions.iterdir() if "out" in p.name]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_query_from_standard_input_over_a_database(
    emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    with duckdb.connect("shop.duckdb") as con:
        con.execute("CREATE TABLE orders AS FROM 't.parquet'")
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT count(*) AS c FROM orders WHERE llm_bool(q) OR true"))
    assert main(["sql", "-", "--database", "shop.duckdb", "--quiet"]) == 0
    assert "3" in capsys.readouterr().out


def test_explain_sends_nothing(emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT llm(q) AS a FROM 't.parquet' WHERE n > 1"
    assert main(["sql", query, "--explain"]) == 0
    out = capsys.readouterr().out
    assert "OPTIMIZED PLAN" in out
    assert "n > 1" in out
    assert emulator.stats().requests == 0


def test_explain_shows_what_duckdb_reads(questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT b, count(*) AS n FROM (SELECT llm_bool(q) AS b FROM 't.parquet' WHERE n > 1) GROUP BY b"
    assert main(["sql", query, "--explain"]) == 0
    out = capsys.readouterr().out
    assert "READ BY A SCAN ABOVE" in out
    assert "1. ask" in out


def test_estimate_sends_nothing(emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "SELECT llm(q) AS a FROM 't.parquet' WHERE n > 1", "--estimate"]) == 0
    out = capsys.readouterr().out
    assert " requests, about " in out
    assert emulator.stats().requests == 0


def test_what_csv_cannot_hold_is_said_before_anything_is_asked(
    emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", "SELECT [llm(q)] AS several FROM 't.parquet'", "--output", "a.csv"]) == 1
    assert "'several'" in capsys.readouterr().err
    assert emulator.stats().requests == 0


def test_an_estimate_fits_a_narrow_terminal(
    emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = "SELECT llm('Answer in one sentence: ' || q) AS a, llm('z' || llm(q)) AS b FROM 't.parquet'"
    assert main(["sql", query, "--estimate", "--model", "openai:no-such-model"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "llm('Answer in one sentence: ' || q)" in lines
    assert lines[-2] == "all 3 calls"
    assert lines[-1].startswith("  at most ")
    assert lines[-1].endswith("price not known")
    assert main(["sql", "SELECT 1 AS a", "--estimate"]) == 0
    assert capsys.readouterr().out == "nothing is asked\n"


def test_model_and_budget_are_options(emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT llm(q) AS a FROM 't.parquet'"
    assert main(["sql", query, "--model", "anthropic:claude-haiku-4-5", "--max-requests", "1"]) == 1
    assert "max_requests" in capsys.readouterr().err
    assert emulator.stats().requests <= 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sql", "SELECT llm(nope) FROM 't.parquet'"], "nope"),
        (["sql", "SELECT llm(q) FROM 'missing.parquet'"], "missing.parquet"),
        (["sql", "SELECT llm(q"], "cannot be read"),
        (["sql", "SELEC 1"], "begins with SELEC"),
        (["sql", "SELECT 1; SELECT 2"], "one SELECT"),
        (["sql", "FROM t"], "--table NAME=FILE"),
        (["sql", "SELECT llm('x')"], "--model"),
        (["sql", "SELECT llm(q) FROM t", "--table", "t=missing.csv"], "there is no file missing.csv"),
        (["sql", "SELECT 1", "--database", "missing.duckdb"], "there is no database missing.duckdb"),
        (["cache", "import", "missing.ndjson"], "missing.ndjson"),
    ],
)
def test_an_error_is_one_line(
    questions: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main(arguments) == 1
    out = capsys.readouterr()
    assert reason in out.err
    assert out.err.startswith("polar-llama: ")
    assert out.err.count("\n") == 1
    assert not out.out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sql"],
        ["nonsense"],
        ["sql", "SELECT 1", "--table", "t"],
        ["sql", "SELECT 1", "--table", "t=x.docx"],
        ["sql", "SELECT 1", "--output", "x.docx"],
        ["sql", "SELECT 1", "--output", "nowhere/x.csv"],
        ["sql", "SELECT 1", "--rows", "-3"],
        ["sql", "SELECT 1", "--explain", "--estimate"],
        ["cache"],
    ],
)
def test_a_wrong_command_line_ends_with_two(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: polar-llama" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        (["--help"], "exit codes"),
        (["sql", "--help"], "llm_class"),
        (["cache", "--help"], "replay"),
        (["emulator", "--help"], "variables to export"),
        (["cache", "info", "--help"], "--directory"),
        (["--version"], "polar-llama 1."),
    ],
)
def test_help_teaches(capsys: pytest.CaptureFixture[str], arguments: list[str], taught: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert taught in capsys.readouterr().out


def test_the_cache_travels(emulator: Emulator, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT llm(q) AS a FROM 't.parquet'"
    assert main(["sql", query, "--quiet"]) == 0
    first = capsys.readouterr().out
    assert main(["cache", "info"]) == 0
    assert "2 answers" in capsys.readouterr().out
    assert main(["cache", "export", "answers.ndjson"]) == 0
    assert len(pl.read_ndjson("answers.ndjson")) == 2
    assert main(["cache", "clear"]) == 1, "not without being asked"
    assert main(["cache", "clear", "--yes"]) == 0
    assert main(["cache", "import", "answers.ndjson"]) == 0
    capsys.readouterr()
    assert main(["cache", "info"]) == 0
    assert "2 answers" in capsys.readouterr().out
    assert main(["sql", query, "--quiet"]) == 0
    assert capsys.readouterr().out == first
    assert emulator.stats().requests == 2


def test_a_damaged_export_is_refused(questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (questions / "bad.ndjson").write_text(json.dumps({"key": "00", "value": "!"}) + "\n", encoding="utf-8")
    assert main(["cache", "import", "bad.ndjson"]) == 1
    assert "line 1 is not an exported answer" in capsys.readouterr().err


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "polar_llama", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_an_error_of_a_process_is_one_line(emulator: Emulator, questions: Path) -> None:
    query = "SELECT count(*) AS c FROM range(30) r(i) WHERE llm_bool('q' || i)"
    done = run("sql", query, "--max-requests", "5")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr


def test_the_cache_is_where_it_is_said_to_be(questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "info", "--directory", "here"]) == 0
    assert main(["cache", "--directory", "here", "info"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.endswith("here")


def test_the_emulator_prints_what_to_export() -> None:
    command = [sys.executable, "-m", "polar_llama", "emulator"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as emulated:
        assert emulated.stdout is not None
        first = [emulated.stdout.readline() for _ in range(3)]
        rest, errors = emulated.communicate()
    url, *exports = "".join([*first, rest]).splitlines()
    assert (emulated.returncode, errors) == (0, "")
    assert f"export OPENAI_BASE_URL={url}/v1" in exports
    assert "export OPENAI_API_KEY=emulated-key" in exports


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told(questions: Path, monkeypatch: pytest.MonkeyPatch, unbuffered: str) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    command = f"{sys.executable} -m polar_llama sql 'SELECT 1' > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_a_process_of_its_own_is_clean(emulator: Emulator, questions: Path) -> None:
    done = run("sql", "SELECT count(*) AS c FROM 't.parquet' WHERE llm_bool(q) OR true")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3" in done.stdout


def test_an_interrupt_ends_with_130(
    questions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from polar_llama.cli import sql

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sql, "show", interrupted)
    assert main(["sql", "SELECT 1"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(questions: Path) -> None:
    query = "'SELECT * FROM range(100000)'"
    command = f"{sys.executable} -m polar_llama sql {query} --rows 0 | head -2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("0")
    assert "Traceback" not in done.stderr
