"""From what Amazon's client raises to a `Failure`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore import exceptions as aws
from botocore.parsers import ResponseParserError

from polar_llama.providers.base import Failure
from polar_llama.providers.errors import Problem, failure
from polar_llama.transport.base import Reply, TransportError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from polar_llama.providers.base import Kind, Request

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")

_KINDS: dict[str, Kind] = {
    "ThrottlingException": "rate_limited",
    "ModelNotReadyException": "rate_limited",
    "ModelTimeoutException": "timeout",
    "ModelErrorException": "overloaded",
    "ServiceQuotaExceededException": "quota",
    "AccessDeniedException": "auth",
    "UnrecognizedClientException": "auth",
    "InvalidSignatureException": "auth",
    "ExpiredTokenException": "auth",
    "ResourceNotFoundException": "unknown_model",
}

ERRORS = (TransportError, aws.ClientError, aws.BotoCoreError, ResponseParserError, OSError, ValueError)
"""What an exchange can raise; `TimeoutError` is an `OSError`."""

_BROKEN: tuple[tuple[tuple[type[Exception], ...], Kind, str], ...] = (
    (
        (TimeoutError, aws.ReadTimeoutError, aws.ConnectTimeoutError),
        "timeout",
        "{host} did not answer within {seconds:g} s",
    ),
    (
        (
            aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError, aws.NoAuthTokenError,
            aws.TokenRetrievalError, aws.SSOError,
        ),
        "auth",
        "no credentials for {host} found ({name}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    ),
    (
        (aws.HTTPClientError, aws.ConnectionError, OSError),
        "network",
        "no complete answer from {host} ({name})",
    ),
    ((ResponseParserError, ValueError), "malformed", "{host} answered 200 with a body that is not an answer"),
)  # fmt: skip
"""In this order: timeouts are network errors too. Botocore's own words may quote what was sent: they are not shown."""


def failed(error: Exception, request: Request, host: str, secrets: Collection[str]) -> tuple[Failure, Problem | None]:
    """The failure that an error stands for; the problem is there when the server answered.

    Args:
        error: One of `ERRORS`.
        request: What was asked: none of its text is shown.
        host: Who was asked.
        secrets: Credentials: a message that holds one is not shown.
    """
    if isinstance(error, aws.ClientError):
        return _answered(error.response, request, host, secrets)
    if isinstance(error, TransportError):
        return Failure(error.kind, str(error)), None
    for types, kind, words in _BROKEN:
        if isinstance(error, types):
            said = words.format(host=host, seconds=request.timeout, name=type(error).__name__)
            return Failure(kind, said, 200 if kind == "malformed" else None, sent=kind != "auth"), None
    return Failure("bad_request", f"not sent to {host}: {type(error).__name__}", sent=False), None


def _answered(
    response: Mapping[str, Any], request: Request, host: str, secrets: Collection[str]
) -> tuple[Failure, Problem]:
    error, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if any(secret in message for secret in secrets):
        message = ""
    kind = _KINDS.get(code)
    if code == "ThrottlingException" and "per day" in message:
        kind = "quota"
    elif code == "ValidationException" and "model identifier is invalid" in message:
        kind = "unknown_model"
    problem = Problem(message, code=code)
    reply = Reply(int(about.get("HTTPStatusCode", 0)), about.get("HTTPHeaders", {}), b"")
    key = next(iter(secrets), None)
    said = failure(reply, problem, request, host=host, key=key, variable="the AWS credentials", kind=kind)
    return said, problem
