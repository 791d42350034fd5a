"""Azure OpenAI: OpenAI's shape under a resource's own paths, with keys and errors of its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from polar_llama.testing.wire import openai, quota
from polar_llama.testing.wire.base import RefusedError, Task, Wire
from polar_llama.testing.wire.chat import bearer

if TYPE_CHECKING:
    from polar_llama.providers.base import Quota
    from polar_llama.testing.wire.base import Incoming

_WITHOUT_DATES = "/openai/v1"
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)(/chat/completions|/embeddings)")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?")
_CODES = {"auth": "401", "rate_limited": "429", "unknown_model": "DeploymentNotFound", "unknown_path": "404"}


def read(incoming: Incoming, path: str) -> Task | str:
    """Understand a request to the resource: `/openai/v1/…`, or a deployment's path with a dated version."""
    body = incoming.json() if incoming.method == "POST" else {}
    if path.startswith(_WITHOUT_DATES) and incoming.method == "POST":
        path = path.removeprefix(_WITHOUT_DATES)
    elif (found := _DEPLOYMENT.fullmatch(path)) is not None and incoming.method == "POST":
        given = parse_qs(incoming.path.partition("?")[2]).get("api-version", [""])
        if not _VERSION.fullmatch(given[0]):
            raise RefusedError("unknown_path", "Resource not found")
        path, body["model"] = found[2], unquote(found[1])  # the path says who answers, whatever the body says
    else:
        raise RefusedError("unknown_path", "Resource not found")
    if path == "/chat/completions":
        task = openai.chat(body)
    elif path == "/embeddings":
        task = openai.embeddings(body)
    else:
        raise RefusedError("unknown_path", "Resource not found")
    task.request = replace(task.request, provider="azure")
    return task


def _key(incoming: Incoming) -> str | None:
    return incoming.header(b"api-key") or bearer(incoming)


def _error(refused: RefusedError, request_id: str) -> tuple[int, str, str]:
    status, _, body = openai.error(refused, request_id)
    if (code := _CODES.get(refused.kind)) is not None:
        body = json.dumps({"error": {"code": code, "message": refused.message}})
    return status, quota.retry_lines(refused), body


def _head(request_id: str, left: Quota | None) -> str:
    return f"apim-request-id: {request_id}\r\nx-request-id: {request_id}\r\n{quota.quota_lines(left)}"


WIRE = Wire(
    name="azure",
    prefix="/azure",
    base="/azure",
    environ=lambda url, key: {"AZURE_OPENAI_ENDPOINT": url, "AZURE_OPENAI_API_KEY": key},
    key=_key,
    read=read,
    error=_error,
    head=_head,
)
