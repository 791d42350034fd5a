"""From a plan to its result: one run, from the calling thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl
from polars.io.plugins import register_io_source

from polar_llama.exec.report import last_run, publish
from polar_llama.exec.run import Slot
from polar_llama.frame.scope import scope
from polar_llama.planner.lower import lower
from polar_llama.planner.nodes import Answer, Filter, Scan, Select, apply, inputs
from polar_llama.planner.optimizer import RULES, optimize
from polar_llama.planner.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    with scope() as opened:
        native = bound(planned(plan, settings, rules), opened.run(settings), engine)
        return interruptible(lambda: collect(native), opened)


def batches(
    plan: Plan, settings: Settings, collect: Callable[[pl.LazyFrame], Iterator[pl.DataFrame]]
) -> Iterator[pl.DataFrame]:
    """Run a plan and hand its batches on as they come."""
    with scope() as opened:
        yield from collect(bound(planned(plan, settings), opened.run(settings)))


async def collected_async(collect: Callable[[], T]) -> T:
    """Collect on a worker thread; the run's report is published in the awaiting context."""
    context = copy_context()
    result = await asyncio.get_running_loop().run_in_executor(None, context.run, collect)
    publish(context.run(last_run))
    return result


def bound(plan: Plan, run: Run, engine: Any = "auto") -> pl.LazyFrame:
    """The native query of an optimised plan, whose stages ask for a run."""
    run.prepare(calls_of(plan))

    def stage(frame: pl.LazyFrame, answers: Sequence[Answer], schema: pl.Schema) -> pl.LazyFrame:
        slots = [Slot(a.column, a.call) for a in answers]

        def source(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _size: int | None
        ) -> Iterator[pl.DataFrame]:
            # Answering keeps rows and their order, so a limit holds for the input as well.
            limited = frame if n_rows is None else frame.slice(0, n_rows)
            read = slots
            if with_columns is not None:
                wanted = {*with_columns, *(() if predicate is None else predicate.meta.root_names())}
                read = [s for s in slots if s.column in wanted]
                kept = tuple(pl.col(c) for c in schema if c in wanted)
                limited = apply(Select(Scan(limited), kept), (limited,)) if kept else limited
            batches = limited.collect_batches(maintain_order=True, lazy=True, engine=engine)
            for batch in run.answer(batches, read, heartbeat=True):
                yield projected(batch, predicate, with_columns)

        return register_io_source(source, schema=schema, explain_name="polar_llama", is_pure=False)

    return lower(plan, stage)


def projected(batch: pl.DataFrame, predicate: pl.Expr | None, with_columns: list[str] | None) -> pl.DataFrame:
    """What Polars asked a source for; no columns at all keep the height."""
    if predicate is not None:
        frame = batch.lazy()
        batch = apply(Filter(Scan(frame), predicate), (frame,))._collect_eager()
    if with_columns is None:
        return batch
    return batch.select(with_columns) if with_columns else batch.drop(batch.columns)


def calls_of(plan: Plan) -> list[Call]:
    """The calls that a plan asks for."""
    found: dict[int, Call] = {}
    todo = [plan]
    while todo:
        node = todo.pop()
        if isinstance(node, Answer):
            found[id(node)] = node.call
        todo += inputs(node)
    return list(found.values())


def interruptible(work: Callable[[], T], opened: Scope) -> T:
    """Do work that may block inside Polars, so that Ctrl-C gets through at once.

    Python hands an interrupt to the main thread only; there the work goes to a thread of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 -- handed to the caller
            future.set_exception(error)

    threading.Thread(target=call, name="polar_llama collect", daemon=True).start()
    try:
        return future.result()
    except BaseException:
        opened.cancel()
        raise
