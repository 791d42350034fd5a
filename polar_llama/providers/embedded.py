"""llama.cpp inside this process: one server per weights file, a thread for each of its places.

A generation is a blocking call into C++ that reports back after every piece of work; that is where
it is stopped when its caller has gone, its time is up, or the interpreter exits. (A thread that
returns from C++ into a finished interpreter aborts the process, so exit stops and joins them.)
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import secrets
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

from polar_llama.providers import weights

if TYPE_CHECKING:
    from pathlib import Path

PLACES = 8
"""Generations at once; measured on 2 cores: 1.6 times the throughput of one at a time."""

CONTEXT = 2048
"""Tokens a place holds, prompt and answer together."""

_BATCH = 128
"""Tokens of one step. Small, so that a long prompt can be stopped; measured no slower than 512 or 2,048."""


@dataclass(slots=True, eq=False)
class Generation:
    """One generation: what was asked and, piece by piece, what came back.

    Attributes:
        body: A request body, as OpenAI writes it.
        timeout: Seconds from when it gets a place.
        text: The answer so far.
        finish: Why the answer ended, in OpenAI's words.
        usage: The token counts, in OpenAI's form.
        error: What llama.cpp objects to.
        stopped: Why it was cut short.
        vectors: What came back for embeddings.
    """

    body: dict[str, Any]
    timeout: float
    text: list[str] = field(default_factory=list)
    finish: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    stopped: Literal["abandoned", "timeout", "exit"] | None = None
    vectors: dict[str, Any] | None = None
    future: Future[None] = field(default_factory=Future)

    def take(self, chunk: dict[str, Any]) -> None:
        """Add one piece of a streamed answer."""
        self.error = chunk.get("error", self.error)
        self.usage = chunk.get("usage", self.usage)
        for choice in chunk.get("choices", ()):
            self.text.append(choice["delta"].get("content") or "")
            self.finish = choice["finish_reason"] or self.finish


class LoadError(Exception):
    """llama.cpp cannot load the weights."""


class Engine:
    """One model, loaded when it is first asked (SmolLM2-135M: 1 s and 500 MB); it either answers or embeds."""

    def __init__(self, path: Path, digest: str, *, embedding: bool = False) -> None:
        self._path, self._digest, self._embedding = path, digest, embedding
        self._server: Any = None
        self._loading = threading.Lock()
        self._closing = False
        self._queue: SimpleQueue[Generation | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name="polar-llama-local", daemon=True) for _ in range(PLACES)
        ]
        for thread in self._threads:
            thread.start()

    async def generate(self, body: dict[str, Any], timeout: float) -> Generation:
        """Run one generation; cancelling the task stops it at its next token.

        Raises:
            LoadError: If the weights cannot be loaded.
            ValueError: If llama.cpp refuses the body outright.
        """
        generation = Generation(body, timeout)
        self._queue.put(generation)
        try:
            await asyncio.wrap_future(generation.future)
        except asyncio.CancelledError:
            generation.stopped = "abandoned"
            raise
        return generation

    def _work(self) -> None:
        while (generation := self._queue.get()) is not None and not self._closing:
            if generation.future.set_running_or_notify_cancel():
                try:
                    self._run(generation)
                except Exception as error:  # noqa: BLE001 -- raised again where the generation is awaited
                    generation.future.set_exception(error)
                else:
                    generation.future.set_result(None)

    def _run(self, generation: Generation) -> None:
        server = self._loaded()
        if self._embedding:
            generation.vectors = server.handle_embeddings(generation.body)
            return
        deadline = time.monotonic() + generation.timeout

        def step(chunk: dict[str, Any]) -> bool:
            if self._closing:
                generation.stopped = "exit"
            elif time.monotonic() > deadline:
                generation.stopped = "timeout"
            generation.take(chunk)
            return generation.stopped is not None

        server.handle_chat_completions(generation.body, step)

    def _loaded(self) -> Any:
        with self._loading:
            if self._server is None:
                if weights.digest(self._path) != self._digest:  # its answers would be kept under the old one's key
                    msg = f"{self._path.name} has changed since the run began. Hint: run again"
                    raise LoadError(msg)
                self._server = _load(self._path, embedding=self._embedding)
            return self._server

    def close(self) -> None:
        """Stop every generation, end the threads and free the model."""
        self._closing = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        if _forked:
            self.leak()
        self._server = None

    def leak(self) -> None:
        """Never free the model: after a fork the threads that its destructor waits for do not exist."""
        if self._server is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._server))


def _load(path: Path, *, embedding: bool) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = PLACES
    params.n_ctx = PLACES * CONTEXT
    params.n_batch = _BATCH
    # Its threads wait for each other by spinning: on a busy machine with a thread per CPU, measured 6 times slower.
    params.cpuparams.n_threads = max(1, (os.cpu_count() or 1) // 2)
    if embedding:
        params.embedding = True
        params.n_batch = params.n_ubatch = CONTEXT  # a text is embedded in one step
        if not weights.says_pooling(path):
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.verbosity = -1
    params.warmup = False
    # The server listens on loopback whether wanted or not: close it to everybody.
    params.api_keys = [secrets.token_urlsafe(32)]
    params.ui = params.endpoint_slots = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        msg = f"llama.cpp cannot load {path.name}: the file is damaged, too large, or of an unknown kind"
        raise LoadError(msg) from error


_engines: dict[tuple[Path, str, bool], Engine] = {}
_lock = threading.Lock()
_forked = False


def engine(path: Path, digest: str, *, embedding: bool = False) -> Engine:
    """The one engine of this process for a weights file of this content, to answer or to embed."""
    name = path, digest, embedding
    with _lock:
        if name not in _engines:
            _engines[name] = Engine(path, digest, embedding=embedding)
        return _engines[name]


def _close_all() -> None:
    for one in _engines.values():
        one.close()
    _engines.clear()


def _after_fork() -> None:
    """The child starts over, and leaves without running llama.cpp's destructors, which would crash there."""
    global _lock, _forked
    if not _engines:
        return
    for one in _engines.values():
        one.leak()
    _engines.clear()
    _lock, _forked = threading.Lock(), True
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # glibc's; elsewhere the child may report a crash after its work is done
        libc.on_exit(libc._exit, None)  # noqa: SLF001 -- the C function of that name


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
