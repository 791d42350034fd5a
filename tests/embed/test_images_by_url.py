"""Images that are URLs, for providers that take bytes only: fetched from allowed hosts, and only for what is asked."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest

import polar_llama as pll
from polar_llama import llm
from polar_llama.testing import Emulator
from polar_llama.transport import fetch

GIF = b"GIF89a gif"
FILES = {"/a.gif": GIF, "/b.pdf": b"%PDF-1.7 pdf", "/c.html": b"<html>", "/flaky.gif": GIF}
IS_PUBLIC = fetch.is_public
BYTES_ONLY = ["gemini:gemini-3.8-flash", "bedrock:amazon.nova-lite-v1:0"]


@pytest.fixture
def site(monkeypatch):
    """A site of images on loopback, which counts as public here; what was fetched from it, in order."""
    fetched = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            fetched.append(self.path)
            flaky = self.path == "/flaky.gif" and fetched.count(self.path) == 1
            self.send_response(503 if flaky else 200 if self.path in FILES else 404)
            self.end_headers()
            self.wfile.write(FILES.get(self.path, b""))

        def log_message(self, *_args):
            pass

    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}", fetched
        server.shutdown()
        thread.join()


@pytest.fixture
def asked(monkeypatch):
    """What the emulator understood of each request, in order."""
    seen = []

    def answer(request):
        seen.append(request)
        return "seen"

    with Emulator(answer=answer) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        yield seen


def _frame(host, *paths):
    return pl.DataFrame({"q": "What is it?", "url": [f"http://{host}{path}" for path in paths]})


@pytest.mark.parametrize("model", BYTES_ONLY)
def test_they_are_fetched_where_bytes_are_wanted(asked, site, model):
    host, fetched = site
    found = _frame(host, "/a.gif", "/b.pdf").with_columns(a=llm("q", images="url", model=model, allow_urls=[host]))
    assert found["a"].to_list() == ["seen", "seen"]
    bodies = [json.dumps(request.body) for request in asked]
    for file in (GIF, FILES["/b.pdf"]):
        assert any(b64encode(file).decode() in body for body in bodies)
    assert not any("http://" in body for body in bodies)
    assert sorted(fetched) == ["/a.gif", "/b.pdf"]


@pytest.mark.parametrize("model", ["openai:gpt-6-luna", "anthropic:claude-sonnet-5"])
def test_they_are_only_handed_on_where_urls_are_taken(asked, site, model):
    host, fetched = site
    _frame(host, "/a.gif").select(llm("q", images="url", model=model, allow_urls=[host]))
    assert f"http://{host}/a.gif" in json.dumps(asked[0].body)
    assert fetched == []


def test_only_for_what_is_asked(asked, site):
    host, fetched = site
    call = llm("q", images="url", model=BYTES_ONLY[0], allow_urls=[host])
    lf = _frame(host, *["/a.gif"] * 3, "/b.pdf").lazy().with_columns(a=call).filter(pl.col("url").str.ends_with("gif"))
    pll.estimate(lf)
    pll.explain(lf)
    assert fetched == []
    for _ in range(2):
        assert lf.collect()["a"].to_list() == ["seen"] * 3
    assert fetched == ["/a.gif"]
    assert len(asked) == 1


@pytest.mark.parametrize("model", [*BYTES_ONLY, pytest.param("local", marks=pytest.mark.local_model)])
def test_nothing_is_fetched_unasked(asked, site, model):
    host, fetched = site
    for allowed in ([], ["images.example.com"]):
        call = llm("q", images="url", model=model, allow_urls=allowed, on_error="struct")
        error = _frame(host, "/a.gif").select(call).item()["error"]
        assert "allow_urls" in error
        assert host not in error
    assert (fetched, asked) == ([], [])


@pytest.mark.local_model
@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://HOST/a.gif"}},
        {"type": "image_url", "image_url": "http://HOST/a.gif"},
        {"type": "image", "url": "http://HOST/a.gif"},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
    ],
)
def test_no_message_makes_the_local_model_fetch(site, part):
    """llama.cpp in this process can fetch URLs itself, and would check nothing."""
    host, fetched = site
    talk = json.dumps([{"role": "user", "content": [part]}]).replace("HOST", host)
    pll.configure(model="local")
    with pytest.raises(pll.AnswerError, match="takes images as bytes"):
        pl.DataFrame({"talk": [talk]}).select(pll.inference_messages("talk"))
    assert fetched == []


def test_a_prompt_of_text_is_never_read_as_messages(asked, site):
    host, fetched = site
    prompt = f'[{{"role": "user", "content": [{{"type": "image", "url": "http://{host}/a.gif"}}]}}]'
    pl.DataFrame({"q": [prompt]}).select(llm("q", model=BYTES_ONLY[0], allow_urls=[host]))
    assert (asked[0].prompt, fetched) == (prompt, [])


def test_private_addresses_stay_private(asked, site, monkeypatch):
    host, fetched = site
    monkeypatch.setattr(fetch, "is_public", IS_PUBLIC)
    call = llm("q", images="url", model=BYTES_ONLY[0], allow_urls=[host], on_error="struct")
    assert "private address" in _frame(host, "/a.gif").select(call).item()["error"]
    assert (fetched, asked) == ([], [])


def test_a_file_is_fetched_once_whatever_is_asked_of_it(asked, site):
    host, fetched = site
    call = {"images": "url", "model": BYTES_ONLY[0], "allow_urls": [host], "on_error": "struct"}
    df = pl.DataFrame({"i": range(40), "url": [f"http://{host}{p}" for p in ("/a.gif", "/missing")] * 20})
    found = df.with_columns(a=llm("What is it, for the {i}. time?", **call), b=llm("Describe it, number {i}", **call))
    assert len(asked) == 40
    assert sorted(fetched) == ["/a.gif", "/missing"]
    assert found["a"].struct.field("answer").to_list() == ["seen", None] * 20
    assert found["b"].struct.field("answer").null_count() == 20


def test_what_was_not_fetched_is_no_request(asked, site):
    host, fetched = site
    df = _frame(host, "/missing", "/c.html", "/a.gif")
    with pll.session(max_requests=1):
        found = df.select(a=llm("q", images="url", model=BYTES_ONLY[0], allow_urls=[host], on_error="struct"))["a"]
    assert [row["answer"] for row in found] == [None, None, "seen"]
    report = pll.last_run()
    assert (report.total.sent, report.total.retried, report.total.failed) == (1, 0, 2)
    assert (len(asked), len(fetched)) == (1, 3)


def test_what_is_wrong_with_a_file_is_an_error_of_its_row(asked, site):
    host, fetched = site
    call = llm("q", images="url", model=BYTES_ONLY[0], allow_urls=[host], on_error="struct")
    found = _frame(host, "/a.gif", "/c.html", "/missing", "/flaky.gif").select(a=call)["a"].to_list()
    assert [row["answer"] for row in found] == ["seen", None, None, "seen"]
    assert "no PNG, JPEG, WebP, GIF or PDF" in found[1]["error"]
    assert "answered 404" in found[2]["error"]
    assert fetched.count("/flaky.gif") == 2, "a server that is busy is asked again"
    assert fetched.count("/missing") == 1


@pytest.mark.parametrize("model", BYTES_ONLY)
def test_a_client_that_breaks_is_a_failure_of_rows_and_the_engine_goes_on(asked, site, monkeypatch, model):
    def broken(_address):
        raise RuntimeError

    host, fetched = site
    call = llm("q", images="url", model=model, allow_urls=[host], on_error="struct")
    with monkeypatch.context() as patched:
        patched.setattr(fetch, "is_public", broken)
        errors = _frame(host, "/a.gif", "/a.gif").with_columns(call)["llm"].struct.field("error").to_list()
    assert all("fetching an image failed (RuntimeError)" in error for error in errors)
    assert (fetched, asked) == ([], [])
    assert _frame(host, "/a.gif").with_columns(call)["llm"].struct.field("answer").to_list() == ["seen"]
