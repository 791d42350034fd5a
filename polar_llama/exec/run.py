"""A run: one terminal call. It owns what its stages share, and reads nothing global after its start.

One way of a prompt through this folder: `run` resolves the call, `stage` cuts batches and finds
distinct prompts, `asked` knows which were asked in this run, `dispatch` has the others answered,
`splice` puts the answers into the frame.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING

from polar_llama.cache import open_cache
from polar_llama.errors import AnswerError
from polar_llama.exec.asked import Asked
from polar_llama.exec.base import Limits, Question, Tally
from polar_llama.exec.budget import Budget
from polar_llama.exec.calls import meter_of, named, provider_of, shared_by_all_rows
from polar_llama.exec.dispatch import dispatcher
from polar_llama.exec.ending import called_off_at_end
from polar_llama.exec.failures import Failures
from polar_llama.exec.keys import Keyer
from polar_llama.exec.pool import without_secrets
from polar_llama.exec.price import Price, price
from polar_llama.exec.progress import Counts, Progress
from polar_llama.exec.report import RunReport, call_report, new_place
from polar_llama.exec.stage import WINDOW_PROMPTS, Filling, Slot, Stage
from polar_llama.providers.base import Failure, WantsBytes
from polar_llama.providers.registry import split_model

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    import polars as pl

    from polar_llama.call import Call, OnError
    from polar_llama.exec.base import Dispatcher, Fetches, Later
    from polar_llama.exec.budget import Meter
    from polar_llama.exec.images import Images
    from polar_llama.settings import Settings

__all__ = ["Run", "Slot", "start_run"]

CANCELLED = Failure("stopped", "the run was cancelled before this row was asked")

DEFAULT_WINDOW = 32
"""Requests in flight, about, where the user sets no limit: what the adaptive limit starts from."""

UNKNOWN = Price(1e-7, 1e-8, 5e-7)
"""Stands for prices that are not known where calls are compared: output costs five times input, as most do."""

SHORT, LONG = 10, 200
"""Tokens of an answer with a type, and of one in prose, where calls are compared."""

_scopes = itertools.count()


class Run:
    """One terminal call; safe to use from several threads at once. `start_run` makes one."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        engine: Callable[[], Dispatcher] = dispatcher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start a run.

        Args:
            settings: A snapshot of the settings.
            environ: The environment, best from `pool.environment`; credentials are left out of what is kept of it.
            engine: Gives the dispatcher when the first call needs it.
            clock: Gives seconds.
        """
        self._settings = settings
        self._environ = without_secrets(environ)
        self._engine = engine
        self._clock = clock
        self._began = clock()
        self._place = new_place()
        self._scope = f"run {next(_scopes)}"
        self._lock = threading.Lock()
        self._asked: dict[Call, Asked] = {}
        self._budget = Budget(settings.max_requests, settings.max_cost)
        self._failures = Failures(settings.cache, self._budget)
        self._progress = Progress(settings.progress, clock, self._began)
        self._images: Images | None = None
        self._cancelled = threading.Event()
        self._report: RunReport | None = None

    def prepare(self, calls: Iterable[Call]) -> None:
        """Find out, before the first request, what would keep calls from being asked. Sends nothing.

        Raises:
            ConfigurationError: If a model, provider, key, price or directory is missing or wrong.
        """
        for call in calls:
            self._ask(call)

    def answer(
        self, batches: Iterable[pl.DataFrame], slots: Sequence[Slot], *, ordered: bool = True, heartbeat: bool = False
    ) -> Generator[pl.DataFrame]:
        """Replace slots by answers: one stage.

        Rows that fail are null (or, with `on_error="struct"`, say why). Those of calls with
        `on_error="raise"` are raised by `raise_failures`; where nothing more can be answered (a
        provider refused for good, a budget is spent) also here, once what was in flight has come.

        Args:
            batches: Frames of one schema; closed, if they can be, when the answers are.
            slots: Which columns hold prompts, and whose.
            ordered: Whether rows stay in order; if not, pieces come as they are answered.
            heartbeat: Whether empty frames are given while waiting, so that an engine around this can
                see interrupts.

        Returns:
            The answered frames, cut smaller. Closing the iterator asks nothing more; what is in
            flight completes and is cached.
        """
        fillings = [Filling(slot, self._ask(slot.call), self._on_error(slot.call)) for slot in slots]
        stage = Stage(
            fillings,
            self._failures,
            self._tick,
            most=max(WINDOW_PROMPTS, 2 * (self._settings.max_concurrency or 0)),
            ordered=ordered,
            heartbeat=heartbeat,
        )
        return called_off_at_end(stage.answers(batches), self.cancel)

    @property
    def window(self) -> int:
        """About how many requests may be in flight at once."""
        return self._settings.max_concurrency or DEFAULT_WINDOW

    def rate(self, call: Call, size: float) -> float:
        """About what a call costs for a prompt of so many bytes, to compare calls by; in US dollars where known."""
        name = call.model or self._settings.model or ""
        known = price(*split_model(name)) or UNKNOWN
        inputs = (size + len((call.system or "").encode()) + len((call.returns.schema or "").encode())) / 4
        outputs = 0 if call.embedding else call.max_tokens or (SHORT if call.returns.schema else LONG)
        return inputs * known.input + outputs * known.output

    def cancel(self) -> None:
        """Send nothing more and stop waiting, soon; from any thread."""
        self._cancelled.set()

    def raise_failures(self) -> None:
        """Raise one error if rows of calls with `on_error="raise"` failed.

        Raises:
            ProviderError: If a provider refused for good, or nothing came from it.
            BudgetError: If a budget stopped the run.
            AnswerError: If rows failed for other reasons.
        """
        for asked in self._asked.values():
            if asked.is_silent():
                self._failures.unreachable(asked.name)
        self._failures.raise_error()

    def finish(self) -> RunReport:
        """Close the run: its report becomes `last_run()` of the thread or context that started it."""
        with self._lock:
            if self._report is None:
                self._progress.close()
                calls = tuple(
                    call_report(asked.label, asked.name, asked.tally, asked.ended - asked.began)
                    for asked in self._asked.values()
                )
                self._report = RunReport(calls, self._clock() - self._began)
                self._place.report = self._report
            return self._report

    def _on_error(self, call: Call) -> OnError:
        return call.on_error or self._settings.on_error

    def _tick(self) -> None:
        if self._cancelled.is_set():
            raise AnswerError("the run was cancelled. What had come back is cached: run again to ask only for the rest")
        self._progress.show(self._counts)

    def _counts(self) -> Counts:
        every = list(self._asked.values())
        return Counts(
            answered=sum(asked.answered() for asked in every),
            asked=sum(asked.tally.distinct for asked in every),
            cached=sum(asked.tally.cached for asked in every),
            failed=sum(asked.tally.failed for asked in every),
        )

    def _ask(self, call: Call) -> Asked:
        """The call in this run. Calls that differ in nothing but `on_error` and label are one."""
        name = named(call, self._settings)
        same = replace(call, model=name, on_error=None)
        with self._lock:
            if same not in self._asked:
                self._asked[same] = self._resolve(same, name)
            return self._asked[same]

    def _resolve(self, call: Call, name: str) -> Asked:
        settings = self._settings
        provider, ask = provider_of(call, name, settings, self._environ), shared_by_all_rows(call, split_model(name)[1])
        reads = settings.cache == "replay" or (settings.cache == "use" and call.cache)
        writes = settings.cache in {"use", "refresh"}
        tally = Tally()
        meter = meter_of(call, name, settings, tally)
        takes_urls = not isinstance(provider, WantsBytes) or not provider.wants_bytes
        question = Question(
            provider=provider,
            ask=ask,
            parse=call.returns.reader,
            limits=Limits(**{f.name: getattr(settings, f.name) for f in fields(Limits)}),
            mode=settings.cache,
            cache=open_cache(settings.cache_dir) if reads or writes else None,
            gate=partial(self._gate, meter),
            tally=tally,
            settled=partial(self._budget.settled, meter),
            again=self._again,
            refund=self._budget.refund,
            read=reads,
            write=writes,
            scope="" if reads else self._scope,
            images=None if takes_urls or not call.conversation else self._fetching(call.allow_urls),
        )
        keyer = Keyer(provider.identity, ask)
        asked = Asked(question, keyer, self._engine(), name=name, label=call.label, meter=meter, clock=self._clock)
        if meter is not None:
            self._budget.add(meter)
        return asked

    def _fetching(self, hosts: tuple[str, ...]) -> Fetches | None:
        """What fetches images for the calls of this run, each once; None where nothing may be fetched."""
        if not hosts:
            return None
        from polar_llama.exec.images import Images

        self._images = self._images or Images()
        return partial(self._images.fetched, hosts)

    def _gate(self, meter: Meter | None) -> Failure | Later | None:
        return CANCELLED if self._cancelled.is_set() else self._budget.admit(meter)

    def _again(self) -> Failure | None:
        return CANCELLED if self._cancelled.is_set() else self._budget.again()


def start_run(settings: Settings, environ: Mapping[str, str]) -> Run:
    """Start a run, in the thread or context that will ask for `last_run()`.

    Args:
        settings: A snapshot of the settings.
        environ: The environment, best from `pool.environment`; what is kept of it holds no credentials.
    """
    return Run(settings, environ)
