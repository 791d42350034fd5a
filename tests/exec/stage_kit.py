"""What the tests of stages and runs share: a dispatcher that answers when it is waited for, and a provider."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from polar_llama.call import Call
from polar_llama.providers.base import Failure, Request, Response, Usage
from polar_llama.settings import Settings
from polar_llama.types import answer_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from polar_llama.exec.base import Question
    from polar_llama.exec.run import Run, Slot

MODEL = "stagetest:m"


class HeldJob:
    """A job that is answered when somebody waits for it, or before."""

    def __init__(self, owner: OnDemand, question: Question, keys: Sequence[bytes], prompts: Sequence[str]) -> None:
        self._owner = owner
        self.question = question
        self.waiting = dict(zip(keys, prompts, strict=True))
        self.found: dict[bytes, object] = {}
        self.error: Exception | None = None
        self.cancelled = False
        self.waits = 0

    @property
    def done(self) -> bool:
        return not self.waiting

    @property
    def results(self) -> Mapping[bytes, object]:
        return self.found

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        self._owner.waited_for(self)
        return self.done

    def cancel(self) -> None:
        self.cancelled = True
        self.settle(lambda _: Failure("stopped", "cancelled"))

    def settle(self, answer: Callable[[str], object]) -> None:
        for key, prompt in list(self.waiting.items()):
            value = self.question.gate() or answer(prompt)
            tally = self.question.tally
            if isinstance(value, Failure):
                tally.failed += 1
            else:
                tally.sent += 1
                tally.replied += 1
                tally.input_tokens += 10
                tally.output_tokens += 5
            self.found[key] = value
            del self.waiting[key]


class OnDemand:
    """A `Dispatcher` in the calling thread.

    Args:
        answer: Prompt to value.
        patience: How often a job is waited for in vain.
        at_once: Whether jobs are done when they are submitted.
    """

    def __init__(
        self, answer: Callable[[str], object] = str.upper, *, patience: int = 0, at_once: bool = False
    ) -> None:
        self.answer = answer
        self.patience = patience
        self.at_once = at_once
        self.jobs: list[HeldJob] = []
        self.prompts: list[str] = []
        self.most_open = 0

    def submit(self, question: Question, keys: Sequence[bytes], prompts: Sequence[str]) -> HeldJob:
        job = HeldJob(self, question, keys, prompts)
        self.jobs.append(job)
        self.prompts += prompts
        self.most_open = max(self.most_open, sum(len(j.waiting) for j in self.jobs))
        if self.at_once:
            job.settle(self.answer)
        return job

    def waited_for(self, job: HeldJob) -> None:
        if job.waits > self.patience:
            job.settle(self.answer)


class Echo:
    """A provider in this process: the prompt in capitals; `answer` may replace that."""

    def __init__(self, identity: str, answer: Callable[[Request], Response | Failure] | None = None) -> None:
        self.identity = identity
        self.host = "echo.test"
        self.answer = answer
        self.prompts: list[str] = []
        self.arrived = threading.Event()
        self.hold: Callable[[], Any] | None = None

    async def complete(self, request: Request) -> Response | Failure:
        self.prompts.append(request.prompt)
        self.arrived.set()
        if self.hold is not None:
            await self.hold()
        if self.answer is not None:
            return self.answer(request)
        return Response(request.prompt.upper(), Usage(10, 5))

    async def aclose(self) -> None:
        pass


_names = itertools.count()


def echo(answer: Callable[[Request], Response | Failure] | None = None) -> tuple[str, Echo]:
    """A new provider: the model to name, and the provider itself."""
    from polar_llama.providers.registry import register_provider

    name = f"echo{next(_names)}"
    provider = Echo(name, answer)
    register_provider(name, lambda _: provider)
    return f"{name}:m", provider


def settings(directory: Path, **changes: object) -> Settings:
    """Settings that touch nothing outside of a test's directory."""
    return replace(Settings(cache_dir=directory / "cache", progress=False), **changes)  # type: ignore[arg-type]


def call(model: str | None = None, returns: object = str, **changes: object) -> Call:
    return replace(Call(answer_type(returns), "{q}", model=model), **changes)  # type: ignore[arg-type]


def frame(prompts: Iterable[str | None]) -> pl.DataFrame:
    return pl.DataFrame({"i": range(len(rows := list(prompts))), "a": pl.Series(rows, dtype=pl.String), "z": rows})


def answers(run: Run, batches: Iterable[pl.DataFrame], *slots: Slot, **options: bool) -> pl.DataFrame:
    return pl.concat(run.answer(batches, slots, **options))


def batches(whole: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    yield from whole.iter_slices(rows)
