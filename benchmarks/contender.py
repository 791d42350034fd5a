"""A contender in a process of its own, so that CPU time and memory are its alone: one line of JSON a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.work import Work, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run took.

    Attributes:
        wall: Seconds.
        cpu: Seconds of this process, all threads.
        peak: MiB of resident memory, the most since the process began.
        digest: A fingerprint of the answers.
    """

    wall: float
    cpu: float
    peak: float
    digest: str


class Contender(Protocol):
    """Does the work in its own way."""

    def prepare(self, work: Work) -> Any:
        """What a run starts from; not measured."""
        ...

    def run(self, work: Work, start: Any) -> Any:
        """Do the work; measured."""
        ...

    def answers(self, result: Any) -> Sequence[str | None]:
        """The answers, to be checked."""
        ...

    def close(self) -> None:
        """End."""
        ...


@contextmanager
def contender(module: str, url: str, concurrency: int) -> Iterator[Callable[[Work], Measured]]:
    """Start a contender; the function given has it do some work.

    Args:
        module: `bare` or `ours`.
        url: The server's root.
        concurrency: Requests at once.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", url, str(concurrency)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        to, back = process.stdin, process.stdout
        assert to is not None
        assert back is not None

        def measure(work: Work) -> Measured:
            to.write(json.dumps(work.to_dict()) + "\n")
            to.flush()
            said = back.readline()
            if not said:
                raise RuntimeError(f"benchmarks.{module} has ended before its time")
            return Measured(*json.loads(said))

        yield measure
        to.close()


def serve(make: Callable[[str, int], Contender]) -> None:
    """Be a contender: read work from the standard input, write what it took."""
    one = make(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        work = Work(**json.loads(line))
        start = one.prepare(work)
        cpu, wall = time.process_time(), time.perf_counter()
        result = one.run(work, start)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = peak_memory()
        print(json.dumps([wall, cpu, peak, digest(one.answers(result))]), flush=True)
    one.close()


def peak_memory() -> float:
    """MiB of resident memory, the most so far; `ru_maxrss` would count the parent's before `exec`."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
