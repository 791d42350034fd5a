from __future__ import annotations

import json
import random
import sys
from collections import Counter
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from polar_llama.testing import EmulatedFault, Emulator, Faults
from polar_llama.testing.wire.base import Incoming

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polar_llama.testing import EmulatedRequest, FaultKind


def ask(emulator: Emulator, prompt: str) -> str:
    """What a client sees: `answered`, a status, or how the connection broke."""
    parts = urlsplit(emulator.url)
    line = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    content = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]})
    try:
        line.request("POST", "/v1/chat/completions", content)
        reply = line.getresponse()
        found = reply.read()
        if reply.status == 200:
            return "answered" if json.loads(found)["choices"] else "?"
        waits = reply.headers.get("retry-after")
        return f"{reply.status}" + (f" after {waits}" if waits else "")
    except RemoteDisconnected:
        return "closed"
    except ConnectionResetError:
        return "reset"
    except IncompleteRead:
        return "truncated"
    except json.JSONDecodeError:
        return "malformed"
    finally:
        line.close()


def outcomes(emulator: Emulator, prompts: Iterable[str]) -> dict[str, str]:
    return {prompt: ask(emulator, prompt) for prompt in prompts}


FAULTS = Faults(
    rate_limited=0.1,
    server_error=0.1,
    overloaded=0.1,
    bad_request=0.1,
    reset=0.1,
    truncated=0.1,
    malformed=0.1,
    slow=0.1,
    slow_seconds=0.001,
    retry_after=0.25,
)


def test_every_fault_strikes_and_runs_repeat_in_any_order() -> None:
    prompts = [f"row {i}" for i in range(300)]
    with Emulator(faults=FAULTS, seed=7) as emulator:
        first = outcomes(emulator, prompts)
        stats = emulator.stats()
    seen = Counter(first.values())
    expected = {
        "answered", "429 after 0.25", "500 after 0.25", "503 after 0.25", "400", "reset", "truncated", "malformed",
    }  # fmt: skip
    assert set(seen) == expected
    assert all(count >= 12 for count in seen.values())
    assert stats.answered == seen["answered"] == sum(stats.prompts.values())
    assert stats.faults["reset"] == seen["reset"]
    assert stats.requests == stats.distinct == 300
    assert sum(stats.by_status.values()) == 300 - seen["reset"]
    shuffled = random.Random(1).sample(prompts, len(prompts))
    with Emulator(faults=FAULTS, seed=7) as emulator:
        assert outcomes(emulator, shuffled) == first
    with Emulator(faults=FAULTS, seed=8) as emulator:
        assert outcomes(emulator, prompts) != first


def test_a_retry_is_a_new_draw() -> None:
    with Emulator(faults=Faults(server_error=0.5)) as emulator:
        seen = [ask(emulator, "the same") for _ in range(40)]
        assert {"answered", "500"} == set(seen)
        emulator.reset()
        assert [ask(emulator, "the same") for _ in range(40)] == seen


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("rate_limited", "429"),
        ("quota", "429"),
        ("server_error", "500"),
        ("overloaded", "503"),
        ("bad_request", "400"),
        ("auth", "401"),
        ("unknown_model", "404"),
        ("reset", "reset"),
        ("truncated", "truncated"),
        ("malformed", "malformed"),
    ],
)
def test_one_row_that_always_fails_until_it_heals(emulator: Emulator, kind: FaultKind, outcome: str) -> None:
    def when(request: EmulatedRequest) -> EmulatedFault | None:
        return EmulatedFault(kind) if "13" in request.prompt else None

    emulator.fail(when)
    assert [ask(emulator, f"row {i}") for i in (12, 13, 13, 14)] == ["answered", outcome, outcome, "answered"]
    assert emulator.stats().faults == {kind: 2}
    emulator.fail(None)
    assert ask(emulator, "row 13") == "answered"


def test_latency_is_drawn_per_request_and_repeats() -> None:
    def delays(seed: int) -> list[float]:
        emulator = Emulator(latency=(0.1, 0.3), seed=seed)
        found = []
        for i in range(50):
            content = json.dumps({"model": "m", "messages": [{"role": "user", "content": str(i)}]}).encode()
            out = emulator._desk.serve(Incoming("POST", "/v1/chat/completions", b"", b"", content))
            found.append(out.delay)
        return found

    first = delays(1)
    assert first == delays(1) != delays(2)
    assert 0.1 <= min(first) < 0.15
    assert 0.25 < max(first) < 0.3


def test_it_works_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with Emulator(latency=0.001) as emulator:
        emulator.fail(lambda request: EmulatedFault("reset") if request.prompt == "die" else None)
        assert [ask(emulator, prompt) for prompt in ("a", "die", "b")] == ["answered", "reset", "answered"]


def test_shares_are_checked() -> None:
    with pytest.raises(ValueError, match="at most"):
        Faults(reset=0.6, slow=0.6)
    with pytest.raises(ValueError, match="0 or more"):
        Faults(reset=-0.1)


def test_a_reset_is_an_rst_and_other_connections_live(emulator: Emulator) -> None:
    emulator.fail(lambda request: EmulatedFault("reset") if request.prompt == "die" else None)
    parts = urlsplit(emulator.url)
    alive = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    alive.request("GET", "/v1/models")
    assert alive.getresponse().read()
    assert ask(emulator, "die") == "reset"
    alive.request("GET", "/v1/models")
    assert alive.getresponse().read()
    alive.close()
    assert emulator.stats().connections == 2
