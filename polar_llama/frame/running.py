"""From a plan to its result: one run, from the calling thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from polar_llama.exec.ending import closed_at_end, working
from polar_llama.frame.scope import scope, tokens_of
from polar_llama.frame.stages import RunStages
from polar_llama.planner.lower import lower
from polar_llama.planner.nodes import Answer
from polar_llama.planner.optimizer import RULES, optimize
from polar_llama.planner.resolve import resolve
from polar_llama.planner.walk import each

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import polars as pl

    from polar_llama.call import Call
    from polar_llama.exec.run import Run
    from polar_llama.frame.scope import Scope
    from polar_llama.planner.nodes import Plan
    from polar_llama.planner.optimizer import Rule
    from polar_llama.settings import Settings

T = TypeVar("T")


def planned(plan: Plan, settings: Settings, rules: Sequence[Rule] = RULES) -> Plan:
    """Resolve and optimise a captured plan."""
    return optimize(resolve(plan, settings.on_error), rules)


def collected(
    plan: Plan,
    settings: Settings,
    collect: Callable[[pl.LazyFrame], T],
    engine: Any = "auto",
    rules: Sequence[Rule] = RULES,
) -> T:
    """Run a plan.

    Args:
        plan: A captured plan.
        settings: The settings in force when the run starts.
        collect: Runs the native frame.
        engine: The Polars engine for the stages' inputs: orders that Polars does not promise differ by engine.
        rules: The rules to optimise with; none runs the plan as it was written.

    Returns:
        What `collect` returned.
    """
    with scope(settings, tokens_of(plan)) as opened:
        native = bound(planned(plan, settings, rules), opened.run, engine)
        return interruptible(lambda: collect(native), opened)


def batches(
    plan: Plan, settings: Settings, collect: Callable[[pl.LazyFrame], Iterator[pl.DataFrame]], engine: Any = "auto"
) -> Iterator[pl.DataFrame]:
    """Run a plan and hand its batches on as they come."""

    def read() -> Generator[pl.DataFrame]:
        with scope(settings, tokens_of(plan)) as opened:
            yield from collect(bound(planned(plan, settings), opened.run, engine))

    reader = read()
    closed_at_end(reader)
    return reader


async def collected_async(
    plan: Plan, settings: Settings, collect: Callable[[pl.LazyFrame], T], engine: Any = "auto"
) -> T:
    """Run a plan on a thread of its own; its report is published in the awaiting context.

    Cancelling the task sends nothing more; what is in flight comes back and is cached.
    """
    with scope(settings, tokens_of(plan)) as opened:
        future = on_thread(lambda: collect(bound(planned(plan, settings), opened.run, engine)), opened)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            opened.cancel()
            raise


def bound(plan: Plan, run: Run, engine: Any = "auto") -> pl.LazyFrame:
    """The native query of an optimised plan, whose stages ask for a run."""
    run.prepare(calls_of(plan))
    return lower(plan, RunStages(run, engine))


def calls_of(plan: Plan) -> list[Call]:
    """The calls that a plan asks for."""
    return [node.call for node in each(plan) if isinstance(node, Answer)]


def interruptible(work: Callable[[], T], opened: Scope) -> T:
    """Do work that may block inside Polars, so that Ctrl-C gets through at once.

    Python hands an interrupt to the main thread only; there the work goes to a thread of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        with working(opened.cancel):
            return work()
    future = on_thread(work, opened)
    try:
        return future.result()
    except BaseException:
        opened.cancel()
        raise


def on_thread(work: Callable[[], T], opened: Scope) -> Future[T]:
    """Do work on a thread of its own, in the caller's context; the thread does not keep the process alive."""
    future: Future[T] = Future()
    context = copy_context()

    def call() -> None:
        opened.enter()
        future.set_running_or_notify_cancel()
        try:
            with working(opened.cancel):
                result = work()
        except BaseException as error:  # noqa: BLE001 -- handed to whoever waits
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=context.run, args=(call,), name="polar_llama collect", daemon=True).start()
    return future
