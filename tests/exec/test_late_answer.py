from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stage_kit import OnDemand, answers, batches, call, echo, frame, settings

from polar_llama.exec import stage
from polar_llama.exec.run import Run, Slot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stage_kit import HeldJob

    from polar_llama.exec.base import Question

ROWS = 20_000


class OneLate(OnDemand):
    """Answers everything at once but the first prompt, which comes when `until` others have been asked."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until = until
        self.asked_before_it = 0

    def submit(self, question: Question, keys: Sequence[bytes], prompts: Sequence[str]) -> HeldJob:
        job = super().submit(question, keys, prompts)
        late = {key: prompt for key, prompt in job.waiting.items() if prompt == "p0"}
        job.waiting = {key: prompt for key, prompt in job.waiting.items() if key not in late}
        job.settle(self.answer)
        job.waiting = late
        return job

    def waited_for(self, job: HeldJob) -> None:
        if len(self.prompts) >= self.until:
            self.asked_before_it = len(self.prompts)
            job.settle(self.answer)
        assert job.waits < 100, f"only {len(self.prompts)} prompts were asked while one was late"


@pytest.fixture
def late(tmp_path: Path):
    def run(until: int) -> tuple[OneLate, list[str]]:
        dispatcher = OneLate(until)
        name, _ = echo()
        one = Run(settings(tmp_path, model=name), {}, lambda: dispatcher)
        got = answers(one, batches(frame([f"p{i}" for i in range(ROWS)]), 500), Slot("a", call()))
        return dispatcher, got["a"].to_list()

    return run


def test_a_late_answer_keeps_no_other_prompt_waiting(late):
    _, got = late(ROWS)
    assert got == [f"P{i}" for i in range(ROWS)]


def test_what_waits_for_a_late_answer_is_bounded(late, monkeypatch):
    monkeypatch.setattr(stage, "WINDOW_HELD", 6_000)
    dispatcher, got = late(6_000)
    assert dispatcher.asked_before_it <= 6_500
    assert len(got) == ROWS
