"""What a command reads and writes: files of all kinds, whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from shell_kit import shell

from polar_llama.cli import main

if TYPE_CHECKING:
    from polar_llama.testing import Emulator

pytestmark = pytest.mark.usefixtures("files")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("none*.csv", "there is no file none*.csv"),
        ("directory.csv", "there is no file in the directory directory.csv"),
        ("empty.csv", "empty.csv cannot be read: empty CSV"),
        ("array.json", "write one object a line"),
        ("utf16.csv", "utf16.csv is not UTF-8 text"),
        ("latin.csv", "a file of --table is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(capfd: pytest.CaptureFixture[str], file: str, reason: str) -> None:
    assert main(["sql", "FROM t", "--table", f"t={file}"]) == 1
    out = capfd.readouterr()
    assert reason in out.err
    assert (out.out, out.err.count("\n")) == ("", 1)


def test_a_file_with_brackets_in_its_name_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "FROM t", "--table", "t=t[1].csv"]) == 0
    assert "shape: (1, 2)" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "column"), [("csv", "x"), ("ndjson", "x"), ("ndjson", "s")])
def test_bytes_are_refused_before_anything_is_asked(
    emulator: Emulator, capfd: pytest.CaptureFixture[str], kind: str, column: str
) -> None:
    query = f"SELECT {column}, llm('q') AS a FROM 'bytes.parquet'"
    assert main(["sql", query, "--output", f"out.{kind}"]) == 1
    out = capfd.readouterr()
    assert f"cannot hold the column '{column}', which has bytes" in out.err
    assert (out.out, out.err.count("\n"), emulator.stats().requests) == ("", 1, 0)


def test_a_field_called_binary_holds_no_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "SELECT {'Binary': 1} AS s", "--format", "ndjson"]) == 0
    assert capsys.readouterr().out == '{"s":{"Binary":1}}\n'


def test_an_output_that_cannot_be_written_is_told_before_anything_is_asked(
    emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", "SELECT llm('q') AS a", "--output", "/proc/out.csv"]) == 1
    assert "/proc/out.csv cannot be written: " in capsys.readouterr().err
    assert emulator.stats().requests == 0


def test_an_output_replaces_what_a_link_leads_to_and_keeps_who_may_read_it() -> None:
    Path("real.csv").write_text("old", encoding="utf-8")
    Path("real.csv").chmod(0o640)
    Path("link.csv").symlink_to("real.csv")
    assert main(["sql", "SELECT 1 AS a", "--output", "link.csv"]) == 0
    assert Path("link.csv").is_symlink()
    assert Path("real.csv").read_text(encoding="utf-8") == "a\n1\n"
    assert Path("real.csv").stat().st_mode & 0o777 == 0o640


def test_an_output_may_be_its_input() -> None:
    assert main(["sql", "SELECT a + 1 AS a FROM t", "--table", "t=t.csv", "--output", "t.csv"]) == 0
    assert Path("t.csv").read_text(encoding="utf-8") == "a\n2\n"


def test_an_output_may_be_a_pipe() -> None:
    done = shell("polar-llama sql 'SELECT 1 AS a' --format csv --output >(cat >&2)")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"a\n1\n")


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_a_format_goes_to_standard_output(kind: str) -> None:
    done = shell(f"polar-llama sql 'SELECT i, 1.5::DOUBLE AS x FROM range(3) r(i)' --format {kind} | cat > out.{kind}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert duckdb.sql(f"FROM 'out.{kind}'").fetchall() == [(0, 1.5), (1, 1.5), (2, 1.5)]


def test_a_terminal_gets_no_parquet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["sql", "SELECT 1 AS a", "--format", "parquet"]) == 1
    out = capsys.readouterr()
    assert (out.out, out.err) == (
        "",
        "polar-llama: parquet is nothing for a terminal. Hint: --output FILE, or | a command\n",
    )


def test_a_database_of_another_kind_or_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "SELECT 1", "--database", "t.csv"]) == 1
    assert "t.csv is no DuckDB database" in capsys.readouterr().err
    with duckdb.connect("used.duckdb"):
        done = shell("polar-llama sql 'SELECT 1' --database used.duckdb")
    assert done.returncode == 1
    assert b"used.duckdb cannot be opened" in done.stderr
    assert b"Hint: close it there" in done.stderr


@pytest.mark.parametrize("action", ["info", "clear", "export"])
def test_looking_at_a_cache_makes_none(capsys: pytest.CaptureFixture[str], action: str) -> None:
    assert main(["cache", action, "--directory", "nowhere"]) == (1 if action == "export" else 0)
    assert not Path("nowhere").exists()
    assert capsys.readouterr().err.startswith("polar-llama: there is no cache in ") is (action == "export")


@pytest.mark.parametrize("file", ["utf16.csv", "bytes.parquet", "short.ndjson"])
def test_an_import_of_something_else_names_its_file_and_line(capsys: pytest.CaptureFixture[str], file: str) -> None:
    Path("short.ndjson").write_text('{"key":"00","value":"AAAA"}\n', encoding="utf-8")
    assert main(["cache", "import", file]) == 1
    assert capsys.readouterr().err.startswith(f"polar-llama: {file}: line 1 is not an exported answer")
