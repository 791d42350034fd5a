"""A model server on the loopback interface, for tests and benchmarks."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self

from polar_llama.testing.answers import default_answer
from polar_llama.testing.desk import Desk
from polar_llama.testing.http import Connection
from polar_llama.testing.stats import Tally
from polar_llama.testing.wire import WIRES

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from polar_llama.testing.answers import Answer, EmulatedRequest
    from polar_llama.testing.faults import EmulatedFault, Faults
    from polar_llama.testing.limits import Limits
    from polar_llama.testing.stats import Stats


class Emulator:
    """A server on 127.0.0.1 that speaks the vendors' wire formats, strictly, and answers at once.

    Answers are a pure function of the request. Latency, limits and faults are seeded, so that a
    run repeats. A context manager: the server runs on a thread of this process while it is open.

    Args:
        answer: Answers a request with a text, a mapping (sent as JSON) or an `EmulatedAnswer`;
            None is `default_answer`. It runs on the server's thread and should be quick.
        latency: Seconds from a request to its answer, or `(least, most)`, drawn per request.
        seed: Seeds faults and drawn latencies.
        limits: Rate limits per wire format and model.
        faults: How often what goes wrong.
        key: The only key that is accepted; None accepts any, and none.
        record: Whether `stats().prompts` counts the prompts.
        host: The address to listen at.
        port: The port to listen at; 0 takes a free one.
        clock: Seconds, for limits.

    >>> import json, urllib.request
    >>> with Emulator() as emulator:
    ...     with urllib.request.urlopen(emulator.base_url("openai") + "/models") as reply:
    ...         json.load(reply)["data"][0]["id"]
    'gpt-6-luna'
    """

    def __init__(  # noqa: PLR0913 -- all of them keywords, each with a default
        self,
        *,
        answer: Answer | None = None,
        latency: float | tuple[float, float] = 0.0,
        seed: int = 0,
        limits: Limits | None = None,
        faults: Faults | None = None,
        key: str | None = None,
        record: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tally = Tally(record=record)
        self._desk = Desk(
            answer=answer or default_answer,
            latency=latency if isinstance(latency, tuple) else (latency, latency),
            seed=seed,
            limits=limits,
            faults=faults,
            key=key,
            clock=clock,
            tally=self._tally,
        )
        self._key, self._host, self._port = key, host, port
        self._address: str | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event

    def __enter__(self) -> Self:
        """Start the server.

        Raises:
            OSError: If the port is taken.
            RuntimeError: If it is running already.
        """
        if self._address is not None:
            raise RuntimeError("this emulator is running already; make another Emulator()")
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="polar_llama emulator", daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and drop its connections."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()
        self._loop = self._thread = self._address = None

    @property
    def url(self) -> str:
        """The root of every base URL, such as `http://127.0.0.1:54321`.

        Raises:
            RuntimeError: If the server is not running.
        """
        if self._address is None:
            raise RuntimeError("the emulator is not running; use it in `with Emulator() as emulator:`")
        return self._address

    def base_url(self, provider: str) -> str:
        """What to set as a provider's base URL: what its vendor's own client expects.

        Args:
            provider: `openai`, `anthropic`, `gemini`, `groq`, `bedrock` or `azure`.

        Raises:
            ValueError: If the emulator does not speak the provider's wire format.
        """
        for wire in WIRES:
            if wire.name == provider:
                return self.url + wire.base
        raise ValueError(f"the emulator does not speak {provider!r}; it speaks {', '.join(w.name for w in WIRES)}")

    def environ(self) -> dict[str, str]:
        """The environment variables that lead every vendor's client here, keys included."""
        found: dict[str, str] = {}
        for wire in WIRES:
            found.update(wire.environ(self.url + wire.base, self._key or "emulated-key"))
        return found

    def fail(self, when: Callable[[EmulatedRequest], EmulatedFault | None] | None) -> None:
        """Give chosen requests a fault, such as one row that always fails; None heals.

        Args:
            when: Called for every request, before `faults` are drawn.
        """
        self._desk.fail = when

    def stats(self) -> Stats:
        """What was seen so far."""
        return self._tally.read()

    def reset(self) -> None:
        """Start counting anew; limits and allowances go on. Requests are new to the seeded faults again."""
        self._tally.reset()

    def _run(self, started: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self.serve(lambda: started.set_result(None)))
        except BaseException as failure:
            if started.done():
                raise
            started.set_exception(failure)  # raised where the server was to start

    async def serve(self, started: Callable[[], None]) -> None:
        """Serve on the running loop until the task is cancelled or the emulator is closed.

        Args:
            started: Called when requests are accepted and the URLs are known.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        server = await loop.create_server(
            lambda: Connection(self._desk, loop), self._host, self._port, backlog=4096, reuse_address=True
        )
        try:
            host, port = server.sockets[0].getsockname()[:2]
            self._address = f"http://{host}:{port}"
            started()
            await self._closing.wait()
        finally:
            server.close()
            for connection in list(self._desk.connections):
                connection.abort()
            for _ in range(100):  # the loop tells connections in its next turns
                if self._desk.connections:
                    await asyncio.sleep(0)
            await server.wait_closed()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes an event loop: uvloop's, where it is installed, because it is the quicker one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
