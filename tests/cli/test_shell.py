"""What surrounds a command in a shell: arguments, streams, encodings, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from shell_kit import POLAR_LLAMA, shell

from polar_llama.cli import main
from polar_llama.testing import Emulator

if TYPE_CHECKING:
    from polar_llama.testing import EmulatedRequest

pytestmark = pytest.mark.usefixtures("files")


@pytest.mark.parametrize(
    "arguments",
    [
        ["SELECT", "1"],
        ["SELECT 1", "--max-cost", "-1"],
        ["SELECT 1", "--max-cost", "nan"],
        ["SELECT 1", "--max-cost", "five"],
        ["SELECT 1", "--max-requests", "-1"],
        ["SELECT 1", "--output", "directory.csv"],
        ["SELECT 1", "--output", "out.xlsx"],
        ["FROM t", "--table", "t=t.csv", "--table", "T=latin.csv"],
        ["SELECT $n", "--parameter", "n"],
        ["SELECT $n", "--parameter", "=1"],
    ],
)
def test_what_is_wrong_on_the_command_line_is_told_with_the_usage_of_its_command(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sql", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: polar-llama sql")


def test_a_panic_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from polar_llama.cli import sql

    def panics(*_: object) -> None:
        raise pl.exceptions.PanicException("not yet implemented")  # as Polars' own code does, in Rust

    monkeypatch.setattr(sql, "show", panics)
    assert main(["sql", "SELECT 1"]) == 1
    assert capsys.readouterr().err == "polar-llama: not yet implemented\n"


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_a_reader_of_a_format_may_have_seen_enough(kind: str) -> None:
    done = shell(f"polar-llama sql 'FROM range(500000)' --format {kind} | head -c 9 >&2; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, len(done.stderr)) == (0, 9), done.stderr


def test_a_full_disk_below_a_format_is_told() -> None:
    done = shell("polar-llama sql 'FROM range(500000)' --format csv > /dev/full")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"No space left" in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "shown"),
    [
        ("sql 'SELECT 1' >&-", 0, b""),
        ("sql 'SELECT 1' > /dev/null 2>&-", 0, b""),
        ("sql 'SELEC 1' 2>&-", 1, b""),
        ("sql 'SELEC 1' 2> /dev/full", 1, b""),
        ("sql - <&-", 1, b"polar-llama: the query is empty"),
        ("cache clear <&-", 0, b""),
    ],
)
def test_closed_streams_are_no_trouble(command: str, code: int, shown: bytes) -> None:
    done = shell(f"polar-llama {command}")
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(shown) if shown else not done.stderr
    assert b"Error" not in done.stdout


def test_queries_with_a_byte_order_mark_are_read_and_others_than_utf8_are_told() -> None:
    Path("bom.sql").write_text("SELECT 1 AS a", encoding="utf-8-sig")
    Path("latin.sql").write_text("SELECT 'ä' AS a", encoding="latin-1")
    assert shell("polar-llama sql - --format csv < bom.sql").stdout == b"a\n1\n"
    for command in ("polar-llama sql - < latin.sql", 'polar-llama sql "$(cat latin.sql)"'):
        told = shell(command)
        assert told.returncode == 1
        assert told.stderr.startswith(b"polar-llama: the query is not UTF-8 text.")


def test_what_an_encoding_lacks_is_escaped() -> None:
    done = shell("polar-llama sql \"SELECT 'ä' AS a\"", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\xe4" in done.stdout
    assert b"+--" in done.stdout
    assert shell("polar-llama sql --help", PYTHONIOENCODING="ascii").returncode == 0


@pytest.mark.parametrize(("columns", "widest"), [("40", 40), ("0", 120)])
def test_a_table_is_as_wide_as_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str, widest: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["sql", "SELECT repeat('word ', 19) AS a, repeat('word ', 19) AS b"]) == 0
    longest = max(map(len, capsys.readouterr().out.splitlines()))
    assert widest / 2 < longest <= widest


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "the query is empty"),
        ("-- nothing", "the query is empty"),
        ("SELECT 1; SELECT 2", "this one is several statements"),
        ("SELECT * FROM", "but got the end of the query"),
        ("SELECT 1 WHERE WHERE", "something is missing"),
        ("SELECT 'a secret", "a quote or a comment in it is not closed"),
        ("FROM u", "there is no table u, only t"),
    ],
)
def test_a_wrong_query_is_told_in_plain_words(capsys: pytest.CaptureFixture[str], query: str, told: str) -> None:
    assert main(["sql", query, "--table", "t=t.csv"]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert not [word for word in ("Token", "class", "secret") if word in err]


def test_a_parameter_is_a_text_and_never_sql(capsys: pytest.CaptureFixture[str]) -> None:
    quotes = """O'Brien; -- "$b" = ?"""
    query = "SELECT $a AS a, $b::INTEGER + 1 AS b"
    assert main(["sql", query, "--parameter", f"a={quotes}", "--parameter", "b=2", "--format", "ndjson"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": quotes, "b": 3}
    assert main(["sql", query, "--parameter", "a=1"]) == 1
    assert "Hint: --parameter b=VALUE" in capsys.readouterr().err
    assert main(["sql", "SELECT 1", "--parameter", "c=1"]) == 1
    assert "has no parameter $c" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "99999"], "'99999' is no port"),
        (["--latency", "x"], "'x' is no number of seconds"),
        (["--latency", "2-1"], "'2-1' is no number of seconds"),
        (["--requests-per-minute", "-3"], "'-3' is no whole number above 0"),
    ],
)
def test_the_emulator_refuses_what_it_cannot_do(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["emulator", *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_the_emulator_names_a_port_in_use(emulator: Emulator) -> None:
    port = emulator.url.rsplit(":", 1)[1]
    done = shell(f"polar-llama emulator --port {port} < /dev/null")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"polar-llama: port {port} of 127.0.0.1 is in use already. Hint: --port 0 takes a free one\n"
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)], ids=lambda v: str(int(v))
)
def test_a_signal_ends_a_run_cleanly_and_what_came_back_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    reached = threading.Event()

    def answer(request: EmulatedRequest) -> str:
        if request.prompt == "99":
            reached.set()
        return "yes"

    query = "SELECT llm(i::VARCHAR) AS a FROM range(5000) r(i)"
    with Emulator(answer=answer, latency=0.02) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("POLAR_LLAMA_MODEL", "openai:gpt-6-luna")
        monkeypatch.setenv("POLAR_LLAMA_MAX_CONCURRENCY", "8")
        with subprocess.Popen([*POLAR_LLAMA.split(), "sql", query, "--output", "out.csv"], stderr=-1) as running:
            assert reached.wait(30)
            running.send_signal(number)
            _, told = running.communicate(timeout=20)
        assert running.returncode == code
        assert told.startswith(b"polar-llama: interrupted. ")
        assert told.count(b"\n") == 1
        assert not list(Path().glob("*out.csv*")) + list(Path().glob(".*out.csv*"))
        answered = emulator.stats().answered
        assert answered < 5000
        assert main(["sql", query, "--estimate"]) == 0
        cached = int(capsys.readouterr().out.split(" of them cached")[0].split()[-1].replace(",", ""))
        assert answered - 8 <= cached <= answered


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
def test_in_a_terminal_ctrl_c_ends_the_loop_around_a_command_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    asked = threading.Event()

    def answer(_: EmulatedRequest) -> str:
        asked.set()
        return "yes"

    query = "SELECT llm(i::VARCHAR) AS a FROM range(100) r(i)"
    with Emulator(answer=answer, latency=60) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("POLAR_LLAMA_MODEL", "openai:gpt-6-luna")
        ours, theirs = pty.openpty()
        with subprocess.Popen([*POLAR_LLAMA.split(), "sql", query], stdout=theirs, stderr=theirs) as running:
            os.close(theirs)
            assert asked.wait(30)
            running.send_signal(signal.SIGINT)
            assert running.wait(20) == -signal.SIGINT, "which a shell calls 130"
        told = _all(ours)
    assert b"polar-llama: interrupted. " in told
    assert b"Traceback" not in told


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
@pytest.mark.parametrize(
    ("typed", "code", "told"), [(b"\x04", 1, b"nothing was"), (b"n\n", 1, b"nothing was"), (b"y\n", 0, b"1 ")]
)
def test_clearing_asks_first(emulator: Emulator, typed: bytes, code: int, told: bytes) -> None:
    import pty

    assert main(["sql", "SELECT llm('q') AS a"]) == 0
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*POLAR_LLAMA.split(), "cache", "clear"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        os.write(ours, typed)
        out, errors = running.communicate(timeout=20)
    os.close(theirs)
    os.close(ours)
    assert running.returncode == code, errors
    assert told in out.split(b"[y/N]")[1]
    assert not errors


def _all(terminal: int) -> bytes:
    """What is left to read of a terminal whose other side is closed."""
    found = b""
    try:
        while read := os.read(terminal, 1 << 16):
            found += read
    except OSError:  # how Linux tells it
        pass
    os.close(terminal)
    return found
