"""The background event loop: one daemon thread a process, on which every request is sent.

Callers of any thread hand work over and block on their own terms, so it makes no difference
whether the caller itself runs inside an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

CLOSING = 1.0
"""Seconds: how long closing one thing may take before it is left to the end of the process."""


class Background:
    """A running event loop on its own daemon thread.

    Args:
        died: Told, on that thread, should a task raise: nothing is sent any more.
    """

    def __init__(self, died: Callable[[BaseException], None]) -> None:
        self._died = died
        self.loop = _new_loop()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._group: asyncio.TaskGroup | None = None
        self._main: asyncio.Task[None] | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="polar_llama", daemon=True)
        self._thread.start()
        self._started.wait()

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop, from any thread."""
        self.loop.call_soon_threadsafe(function, *args)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task; on the loop's thread only."""
        try:
            if self._group is not None:
                self._group.create_task(work)
                return
        except RuntimeError:  # a task has died, and the others are being cancelled
            pass
        work.close()

    def at_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed on the loop when it ends, after every task: providers, then what they share."""
        self._closers.append(close)

    def close(self, timeout: float) -> None:
        """Cancel every task, close what is to be closed, end the thread; waits `timeout` seconds at most."""
        if self._main is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop was closed by another thread in the meantime
                self.call(self._end, self._main)
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def abandon(self) -> None:
        """Forget the parent's loop in a forked child: its thread does not exist here."""
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 -- they live on in the parent

    def _end(self, main: asyncio.Task[None]) -> None:
        self._group = None  # nothing is started any more
        main.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self._main = self.loop.create_task(self._serve())
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(self._main)
            self.loop.run_until_complete(self._close_all())
        except BaseException as error:  # noqa: BLE001 -- a bug of this package: whoever waits must hear of it
            self._died(error)
        finally:
            self._started.set()
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                self._started.set()
                await asyncio.Event().wait()
        finally:
            self._group = None

    async def _close_all(self) -> None:
        for close in self._closers:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSING):
                    await close()
        await self.loop.shutdown_asyncgens()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
