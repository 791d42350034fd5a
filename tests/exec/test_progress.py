from __future__ import annotations

import io
import os
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from stage_kit import OnDemand, answers, call, echo, frame, settings

from polar_llama.exec import progress
from polar_llama.exec.progress import Counts, Progress, somebody_looks
from polar_llama.exec.run import Run, Slot


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def counts() -> Counts:
    return Counts(answered=3, asked=10, cached=2, failed=0)


def open_terminal(monkeypatch) -> Terminal:
    """Not a fixture: pytest puts its own error output back before a test's body."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_long_work_in_a_terminal_has_a_bar_that_goes_away(monkeypatch):
    terminal = open_terminal(monkeypatch)
    clock = Clock()
    bar = Progress("auto", clock, clock.now)
    bar.show(counts)
    clock.now = 0.4
    bar.show(counts)
    assert terminal.getvalue() == ""
    clock.now = 0.6
    bar.show(counts)
    assert "3/10" in terminal.getvalue()
    assert "cached=2" in terminal.getvalue()
    assert "failed" not in terminal.getvalue()
    bar.close()
    assert terminal.getvalue().endswith("\r")
    clock.now = 9.0
    bar.show(counts)
    bar.close()
    assert terminal.getvalue().endswith("\r")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudoterminal")
def test_a_terminal_that_does_not_know_its_size_has_a_bar_too(monkeypatch):
    import pty  # not everywhere

    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen, open(theirs, "w") as terminal:  # noqa: PTH123 -- descriptors
        assert os.get_terminal_size(theirs).columns == 0
        monkeypatch.setattr(sys, "stderr", terminal)
        bar = Progress(True, Clock(), 0.0)  # noqa: FBT003
        bar.show(counts)
        bar.close()
        terminal.write("that was all")
        terminal.flush()
        shown = b""
        while b"that was all" not in shown:  # a terminal gives what has come so far
            shown += screen.read(4_096)
        assert b"3/10" in shown


def test_the_rate_is_that_of_the_whole_run(monkeypatch):
    terminal = open_terminal(monkeypatch)
    clock = Clock()
    clock.now = 1.0
    bar = Progress("auto", clock, began=0.0)
    bar.show(counts)
    assert re.search(r"\b[23]\.\d+ answers/s", terminal.getvalue())
    bar.close()


def test_it_is_not_drawn_more_often_than_anybody_can_see(monkeypatch):
    open_terminal(monkeypatch)
    clock = Clock()
    bar = Progress(True, clock, clock.now)  # noqa: FBT003
    drawn: list[float] = []

    def look() -> Counts:
        drawn.append(clock.now)
        return counts()

    for tick in range(100):
        clock.now = tick / 100
        bar.show(look)
    bar.close()
    assert 8 <= len(drawn) <= 11


def test_it_is_quiet_where_nobody_looks(monkeypatch):
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    clock = Clock()
    bar = Progress("auto", clock, clock.now)
    clock.now = 10.0
    bar.show(counts)
    assert quiet.getvalue() == ""
    forced = Progress(True, clock, clock.now)  # noqa: FBT003
    forced.show(counts)
    forced.close()
    assert "3/10" in quiet.getvalue()


def test_it_can_be_switched_off(monkeypatch):
    terminal = open_terminal(monkeypatch)
    bar = Progress(False, Clock(), -10.0)  # noqa: FBT003
    bar.show(counts)
    assert terminal.getvalue() == ""


def test_without_an_error_output_nobody_looks(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert not somebody_looks()


def test_a_notebook_looks(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    notebook = ModuleType("IPython")
    notebook.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert somebody_looks()
    notebook.get_ipython = SimpleNamespace  # type: ignore[attr-defined]
    assert not somebody_looks()


def test_a_run_shows_how_far_it_is(tmp_path, monkeypatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    model, _ = echo()
    run = Run(settings(tmp_path, model=model, progress=True), {}, lambda: OnDemand(patience=1))
    answers(run, [frame([f"p{i}" for i in range(3_000)])], Slot("a", call()))
    run.finish()
    assert "0/2048" in terminal.getvalue()
    assert "3000/3000" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")
