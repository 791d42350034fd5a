"""The end of the process: queries that still run are called off and waited for.

Python kills a thread that comes back to it from Polars after its end, and that aborts the process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

T = TypeVar("T")

ENDING = 1.0
"""Seconds that the end waits, at most."""

_working: dict[threading.Event, Callable[[], None]] = {}
_read: WeakSet[Generator[Any]] = WeakSet()


@contextmanager
def working(cancel: Callable[[], None]) -> Iterator[None]:
    """Work between Polars and Python, on a thread that Python does not wait for.

    Args:
        cancel: Has the work end soon; from any thread.
    """
    done = threading.Event()
    _working[done] = cancel
    try:
        yield
    finally:
        _working.pop(done, None)
        done.set()


def called_off_at_end(answers: Iterable[T], cancel: Callable[[], None]) -> Generator[T]:
    """Give items which a thread of Polars asks for, as work."""
    with working(cancel):
        yield from answers


def closed_at_end(reader: Generator[Any]) -> None:
    """Have a generator that a user may leave half read closed at the end."""
    _read.add(reader)


def call_off_at_end() -> None:
    """Have it done before anything that was registered with `atexit` up to now."""
    atexit.unregister(_end)
    atexit.register(_end)


def _end() -> None:
    deadline = time.monotonic() + ENDING
    for reader in list(_read):
        with contextlib.suppress(Exception):  # another thread is reading it
            reader.close()
    left = list(_working.items())
    for _, cancel in left:
        cancel()
    for done, _ in left:
        done.wait(max(0.0, deadline - time.monotonic()))


def _forked() -> None:
    """The threads stay with the parent."""
    _working.clear()
    _read.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
