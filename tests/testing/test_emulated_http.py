"""HTTP/1.1 as bytes on a socket."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from polar_llama.testing import Emulator, Limits, answer_text

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "m"


def body(prompt: str) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": prompt}]}).encode()


def post(prompt: str, *lines: str, length: int | None = None) -> bytes:
    content = body(prompt)
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Content-Length: {length or len(content)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


@pytest.fixture
def line(emulator: Emulator) -> Iterator[socket.socket]:
    with connect(emulator) as made:
        yield made


def connect(emulator: Emulator) -> socket.socket:
    parts = urlsplit(emulator.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=5)


def replies(line: socket.socket, count: int) -> list[tuple[int, str]]:
    """Read so many replies: status and answer (or the raw body of an error)."""
    found: list[tuple[int, str]] = []
    data = b""
    while len(found) < count:
        head, sep, rest = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0) if sep else 0
        if sep and len(rest) >= length:
            content, data = rest[:length], rest[length:]
            status = int(head.split(b" ")[1])
            text = json.loads(content)["choices"][0]["message"]["content"] if status == 200 else content.decode()
            found.append((status, text))
        else:
            more = line.recv(65536)
            assert more, f"the connection ended after {found}"
            data += more
    assert not data
    return found


def said(prompt: str) -> tuple[int, str]:
    return 200, answer_text(prompt, model=MODEL)


def test_keep_alive_and_bytes_one_by_one(line: socket.socket, emulator: Emulator) -> None:
    for byte in post("slowly"):
        line.sendall(bytes([byte]))
    assert replies(line, 1) == [said("slowly")]
    line.sendall(post("again"))
    assert replies(line, 1) == [said("again")]
    assert emulator.stats().connections == 1


def test_pipelined_requests_are_answered_in_order() -> None:
    with Emulator(latency=(0.0, 0.02)) as emulator, connect(emulator) as line:
        line.sendall(b"".join(post(str(i)) for i in range(20)))
        assert replies(line, 20) == [said(str(i)) for i in range(20)]
        assert emulator.stats().max_in_flight == 1


@pytest.mark.parametrize("cut", range(0, 300, 17))
def test_chunked_bodies(line: socket.socket, cut: int) -> None:
    content = body("in chunks")
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(p), p) for p in (content[:9], content[9:30], content[30:]))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent = head + chunks + b"0\r\nTrailer: x\r\n\r\n" + post("next")
    line.sendall(sent[:cut])
    line.sendall(sent[cut:])
    assert replies(line, 2) == [said("in chunks"), said("next")]


def test_expect_continue(line: socket.socket) -> None:
    sent = post("expected", "Expect: 100-continue")
    head = sent.index(b"\r\n\r\n") + 4
    line.sendall(sent[:head])
    assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.sendall(sent[head:])
    assert replies(line, 1) == [said("expected")]


@pytest.mark.parametrize("how", ["Connection: close", "HTTP/1.0"])
def test_the_client_may_ask_to_close(line: socket.socket, how: str) -> None:
    sent = post("last", how) if how != "HTTP/1.0" else post("last").replace(b"HTTP/1.1", b"HTTP/1.0")
    line.sendall(sent)
    assert replies(line, 1) == [said("last")]
    assert line.recv(10) == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /v1 HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_what_is_not_http_is_refused(line: socket.socket, sent: bytes, status: int) -> None:
    line.sendall(sent)
    assert replies(line, 1) == [(status, "")]


def test_what_is_not_json_or_not_known(line: socket.socket) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
    for content in (b"{,}", b"[1]", b"\xff\xfe\xfd"):
        line.sendall(head + content)
        assert replies(line, 1)[0][0] == 400
    line.sendall(b"GET /elsewhere HTTP/1.1\r\n\r\n")
    status, text = replies(line, 1)[0]
    assert status == 404
    assert "/v1" in text


def test_large_bodies(line: socket.socket) -> None:
    prompt = "x" * 5_000_000
    line.sendall(post(prompt))
    assert replies(line, 1) == [said(prompt)]


def test_in_flight_is_limited_and_given_back() -> None:
    with Emulator(latency=0.05, limits=Limits(max_in_flight=2, retry_after=0.01)) as emulator:
        lines = [connect(emulator) for _ in range(3)]
        for i, one in enumerate(lines):
            one.sendall(post(str(i)))
        statuses = sorted(replies(one, 1)[0][0] for one in lines)
        assert statuses == [200, 200, 429]
        lines[0].sendall(post("free again"))
        assert replies(lines[0], 1) == [said("free again")]
        assert emulator.stats().max_in_flight == 3
        for one in lines:
            one.close()


def test_a_client_that_hangs_up_gives_its_place_back() -> None:
    arrived = threading.Event()

    def answer(_request: object) -> str:
        arrived.set()
        return "x"

    with Emulator(answer=answer, latency=30, limits=Limits(max_in_flight=1)) as emulator:
        with connect(emulator) as line:
            line.sendall(post("gone"))
            assert arrived.wait(5)
        with connect(emulator) as line:
            while emulator.stats().abandoned == 0:
                line.sendall(b"GET /v1/models/x HTTP/1.1\r\n\r\n")
                assert line.recv(65536)
            arrived.clear()
            line.sendall(post("admitted"))
            assert arrived.wait(5)
        assert emulator.stats().refused == 0


def test_stopping_drops_requests_in_flight() -> None:
    with Emulator(latency=60) as emulator:
        line = connect(emulator)
        line.sendall(post("never answered"))
    with line, contextlib.suppress(ConnectionResetError):  # also an end: the request may still be unread
        assert line.recv(10) == b""
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.url


def test_it_can_be_entered_again_and_twice_at_once() -> None:
    emulator = Emulator()
    for _ in range(2):
        with emulator, connect(emulator) as line, Emulator() as other, connect(other) as elsewhere:
            line.sendall(post("a"))
            elsewhere.sendall(post("b"))
            assert replies(line, 1) + replies(elsewhere, 1) == [said("a"), said("b")]
    assert emulator.stats().requests == 2
    emulator.reset()
    assert emulator.stats().requests == 0


def test_it_cannot_be_entered_while_it_runs(emulator: Emulator) -> None:
    with pytest.raises(RuntimeError, match="already"):
        emulator.__enter__()


def test_a_taken_port_is_an_error_of_the_caller(emulator: Emulator) -> None:
    with pytest.raises(OSError, match="in use"), Emulator(port=urlsplit(emulator.url).port or 0):
        pass


def test_unknown_providers_are_named(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="openai"):
        emulator.base_url("nobody")
