"""The emulator's path of one request: read, strike, limit, answer, write."""

from __future__ import annotations

import itertools
import json
from hashlib import blake2b
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from polar_llama.testing.faults import EmulatedFault, Faults, chance
from polar_llama.testing.http import Outgoing
from polar_llama.testing.limits import Limits, Meter
from polar_llama.testing.wire import WIRES
from polar_llama.testing.wire.base import RefusedError, Task, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from polar_llama.providers.base import Usage
    from polar_llama.testing.answers import Answer, EmulatedRequest
    from polar_llama.testing.http import Connection
    from polar_llama.testing.stats import Tally
    from polar_llama.testing.wire.base import Incoming, RefusalKind, Wire

_REASONS = {int(status): status.phrase for status in HTTPStatus}
_SAYS = {
    "rate_limited": "Rate limit reached. Please try again later.",
    "server_error": "The server had an error while processing your request.",
    "overloaded": "The model is overloaded. Please try again later.",
    "bad_request": "The request was refused.",
    "auth": "Incorrect API key provided.",
    "quota": "You exceeded your current quota, please check your plan and billing details.",
    "unknown_model": "The model does not exist or you do not have access to it.",
}
_STATS = "/emulator/stats"


class Desk:
    """Answers what arrives on every connection; runs on one thread."""

    def __init__(
        self,
        *,
        answer: Answer,
        latency: tuple[float, float],
        seed: int,
        limits: Limits | None,
        faults: Faults | None,
        key: str | None,
        clock: Callable[[], float],
        tally: Tally,
    ) -> None:
        self.fail: Callable[[EmulatedRequest], EmulatedFault | None] | None = None
        self.connections: set[Connection] = set()
        self._answer, self._latency, self._seed = answer, latency, seed
        self._limits, self._faults, self._key, self._clock, self._tally = limits, faults, key, clock, tally
        self._meters: dict[tuple[str, str], Meter] = {}
        self._numbers = itertools.count(1)

    def connected(self, connection: Connection) -> None:
        """Count a connection."""
        self.connections.add(connection)
        self._tally.connected()

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)

    def sent(self, outgoing: Outgoing) -> None:
        """Count a reply."""
        if outgoing.meter is not None:
            outgoing.meter.in_flight -= 1
        if outgoing.counted:
            self._tally.replied(outgoing.status, outgoing.prompts, outgoing.usage)

    def abandoned(self, outgoing: Outgoing) -> None:
        """Count a client that hung up."""
        if outgoing.meter is not None:
            outgoing.meter.in_flight -= 1
        if outgoing.counted:
            self._tally.abandoned()

    def serve(self, incoming: Incoming) -> Outgoing:
        """The reply to a request."""
        path = incoming.path.partition("?")[0]
        wire = _wire(path)
        if wire is None:
            return self._own(path)
        self._tally.arrived(wire.name)
        request_id = f"req_{next(self._numbers):024x}"
        try:
            self._let_in(wire, incoming)
            task = _read(wire, incoming, path)
            if isinstance(task, str):
                return _reply(200, wire.head(request_id, None), task)
            return self._do(wire, task, blake2b(path.encode() + incoming.body, digest_size=12).digest(), request_id)
        except RefusedError as refused:
            status, lines, body = wire.error(refused, request_id)
            return _reply(status, wire.head(request_id, None) + lines, body)

    def _do(self, wire: Wire, task: Task, digest: bytes, request_id: str) -> Outgoing:
        seen = self._tally.understood(digest)
        fault: EmulatedFault | None = None
        meter: Meter | None = None
        try:
            fault = self._fault(task.request, digest, seen)
            meter = self._admit(task)
            body, usage = self._write(task)
        except RefusedError as refused:
            status, lines, body = wire.error(refused, request_id)
            known = self._meters.get((wire.name, task.request.model))
            out = _reply(status, wire.head(request_id, known.quota() if known else None) + lines, body)
            out.meter = meter
            if status >= 500:  # noqa: PLR2004 -- what goes wrong while answering takes its time
                out.delay = self._wait(digest, seen)
            return out
        quota = None
        if meter is not None:
            meter.charge(usage.input + usage.output)
            quota = meter.quota()
        out = _reply(200, wire.head(request_id, quota), body)
        out.meter, out.delay = meter, self._wait(digest, seen)
        if fault is None or fault.kind == "slow":
            out.prompts, out.usage = task.request.inputs or (task.request.prompt,), usage
        if fault is not None:
            _spoil(out, fault)
        return out

    def _let_in(self, wire: Wire, incoming: Incoming) -> None:
        if self._key is not None and wire.key(incoming) != self._key:
            raise RefusedError("auth", _SAYS["auth"])

    def _fault(self, request: EmulatedRequest, digest: bytes, seen: int) -> EmulatedFault | None:
        """What strikes the request; raises when it is a refusal."""
        fault = self._chosen(request)
        if fault is None and self._faults is not None:
            fault = self._faults.strike(chance(self._seed, "fault", digest, seen))
        if fault is None:
            return None
        self._tally.failed(fault.kind)
        if fault.kind in _SAYS:
            raise RefusedError(cast("RefusalKind", fault.kind), _SAYS[fault.kind], retry_after=fault.retry_after)
        return fault

    def _chosen(self, request: EmulatedRequest) -> EmulatedFault | None:
        try:
            return None if self.fail is None else self.fail(request)
        except Exception as error:
            raise _raised("fail", error) from error

    def _wait(self, digest: bytes, seen: int) -> float:
        low, high = self._latency
        return low if low == high else low + (high - low) * chance(self._seed, "latency", digest, seen)

    def _admit(self, task: Task) -> Meter | None:
        """Take the request's place among the limits of its format and model, or refuse it."""
        if self._limits is None:
            return None
        request = task.request
        meter = self._meters.get((request.provider, request.model))
        if meter is None:
            meter = self._meters[request.provider, request.model] = Meter(self._limits, self._clock)
        refused = meter.refuse(task.tokens)
        if refused is None:
            return meter
        what, wait = refused
        raise RefusedError(
            "rate_limited",
            f"Rate limit reached for {request.model} on {what}. Please try again in {wait:.3f}s.",
            retry_after=wait,
        )

    def _write(self, task: Task) -> tuple[str, Usage]:
        """The reply's body and the tokens it took."""
        try:
            answer, usage = settled("" if task.request.inputs else self._answer(task.request), task)
            return task.write(task.request, answer, usage), usage
        except Exception as error:
            raise _raised("answer", error) from error

    def _own(self, path: str) -> Outgoing:
        if path == _STATS:
            out = _reply(200, "", json.dumps(self._tally.read().to_dict()))
        else:
            known = ", ".join([*(w.prefix for w in WIRES), _STATS])
            out = _reply(404, "", json.dumps({"error": {"message": f"nothing here; paths begin with {known}"}}))
        out.counted = False
        return out


def _wire(path: str) -> Wire | None:
    for wire in WIRES:
        if path.startswith(wire.prefix):
            return wire
    return None


def _read(wire: Wire, incoming: Incoming, path: str) -> Task | str:
    try:
        return wire.read(incoming, path[len(wire.prefix) :])
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RefusedError(
            "bad_request", f"A field of the request has the wrong type ({type(error).__name__}: {error})."
        ) from error


def _raised(what: str, error: Exception) -> RefusedError:
    """For what the user's function raised: a 400, because asking again would not heal it."""
    return RefusedError("bad_request", f"The emulator's {what} function raised {type(error).__name__}: {error}")


def _reply(status: int, lines: str, body: str) -> Outgoing:
    head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\ncontent-type: application/json\r\n"
    return Outgoing(f"{head}content-length: {len(body)}\r\n{lines}\r\n{body}".encode("ascii"), status)


def _spoil(out: Outgoing, fault: EmulatedFault) -> None:
    match fault.kind:
        case "slow":
            out.delay += fault.seconds
        case "reset":
            out.end, out.status = "reset", None
        case "truncated":
            out.end, out.data = "close", out.data[: -(len(out.data) - out.data.find(b"\r\n\r\n") - 4) // 2]
        case "malformed":
            out.data = out.data[:-1] + b","
        case _:
            pass
