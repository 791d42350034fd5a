"""AWS Bedrock's Converse, through aiobotocore: signatures, profiles and roles are Amazon's own business.

What aiobotocore would do beside that is ours: retries are the engine's, and bytes leave by the transport.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiobotocore.config
import aiobotocore.session
import botocore.loaders
from botocore.exceptions import ProfileNotFound
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from polar_llama.errors import ConfigurationError
from polar_llama.providers.base import Failure
from polar_llama.providers.bedrock_body import best, fill, prepare
from polar_llama.providers.bedrock_embeddings import Embeddings, room
from polar_llama.providers.bedrock_errors import CREDENTIALS, ERRORS, failed
from polar_llama.providers.bedrock_reply import read_reply
from polar_llama.providers.bedrock_session import session_class, unlogged
from polar_llama.providers.conversation import BodyError
from polar_llama.providers.endpoint import endpoint
from polar_llama.providers.forms import Forms
from polar_llama.providers.prepared import remember
from polar_llama.transport.base import MAX_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polar_llama.providers.base import Ask, Connection, Provider, Request, Response, Room, Vectors
    from polar_llama.providers.endpoint import Endpoint
    from polar_llama.providers.errors import Problem
    from polar_llama.providers.forms import Form
    from polar_llama.providers.wire import Shared

_ABOUT_SCHEMAS = (
    "outputconfig",
    "output_config",
    "textformat",
    "schema",
    "toolchoice",
    "tool_choice",
    "toolconfig",
    "tool use",
)


@functools.cache
def _data() -> botocore.loaders.Loader:
    """Amazon's descriptions of its services, read once."""
    return botocore.loaders.create_loader()


def create(connection: Connection) -> Provider:
    """Bedrock in the region of `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile, with the credentials AWS's tools use.

    Raises:
        ConfigurationError: If there is no region, or the profile or the endpoint cannot be used.
    """
    environ = connection.environ
    session = aiobotocore.session.AioSession(profile=environ.get("AWS_PROFILE") or None)
    try:
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or session.get_config_variable("region")
    except ProfileNotFound:
        raise ConfigurationError("AWS_PROFILE names a profile that is not in the AWS configuration files") from None
    if not region:
        raise ConfigurationError("no AWS region is set. Set AWS_REGION, such as AWS_REGION=us-east-1")
    region = region.strip()
    names = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL")
    name = next((name for name in names if environ.get(name)), "")
    at = endpoint(environ.get(name) or f"https://bedrock-runtime.{region}.amazonaws.com", name or "AWS_REGION")
    return BedrockProvider(session, region, at, connection, own=bool(name))


class BedrockProvider:
    """Bedrock in one region.

    Args:
        session: Finds credentials that are not in the environment.
        region: The region.
        at: Where it is.
        connection: Reads credentials when a client is made.
        own: Whether that is another place than the region's own.
    """

    wants_bytes = True

    def __init__(
        self,
        session: aiobotocore.session.AioSession,
        region: str,
        at: Endpoint,
        connection: Connection,
        *,
        own: bool,
    ) -> None:
        self.identity = f"bedrock-converse {at.shown}"
        self.host = at.host
        self._session, self._region, self._connection = session, region, connection
        self._url = at.url("") if own else None
        session.register_component("data_loader", _data())
        loaded = _data().load_service_model("bedrock-runtime", "service-2")
        self._shape = ServiceModel(loaded, "bedrock-runtime").operation_model("Converse").input_shape
        self._native = "outputConfig" in self._shape.members
        self._forms = Forms(("schema", "tool", "prompt"), _ABOUT_SCHEMAS)
        self._prepared: dict[tuple[Ask, Form], Shared] = {}
        self._clients = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._made_for = 0
        self._embeddings = Embeddings(self.host, self._opened, connection)

    def check(self, ask: Ask) -> None:
        """Raise what would keep every request of a call from being sent.

        Raises:
            ConfigurationError: If the model does not take a parameter, or an option is none of Converse's.
        """
        try:
            shared = self._shared(ask, "schema" if ask.schema is None else self._start(ask))
        except BodyError as error:
            raise ConfigurationError(f"{ask.model} cannot be asked: {error}") from None
        sample = {**shared, "messages": [{"role": "user", "content": [{"text": "?"}]}]}
        found = ParamValidator().validate(sample, self._shape)
        if found.has_errors():
            raise ConfigurationError(f"{ask.model} cannot be asked: {found.generate_report()}")

    async def complete(self, request: Request) -> Response | Failure:
        """Ask once; the first question with a schema may also find out how the model takes schemas."""
        if request.ask.schema is None:
            return (await self._once(request, "schema"))[0]
        return await self._forms.ask(request, self._once, self._start(request.ask), proven=False)

    def room(self, ask: Ask) -> Room:
        """See `Embeds.room`."""
        return room(ask)

    async def embed(self, ask: Ask, texts: Sequence[str], timeout: float) -> Vectors | Failure:
        """See `Embeds.embed`."""
        return await self._embeddings.embed(ask, texts, timeout)

    async def aclose(self) -> None:
        """Free the clients; the transport is shared."""
        self._client = None
        await self._clients.aclose()

    async def _once(self, request: Request, form: Form) -> tuple[Response | Failure, Problem | None]:
        """One exchange; the problem is there when the server answered with an error."""
        try:
            body = fill(self._shared(request.ask, form), request)
        except BodyError as error:
            return Failure("bad_request", f"not sent to {self.host}: {error}", sent=False), None
        try:
            with unlogged():
                async with asyncio.timeout(min(request.timeout, MAX_SECONDS)):
                    client = await self._opened()
                    reply = await client.converse(**body)
            return read_reply(reply, form, request.ask), None
        except ERRORS as error:
            secrets = [value for name in CREDENTIALS if (value := self._connection.secret(name))]
            return failed(error, request, self.host, secrets)

    async def _opened(self) -> Any:
        """A client for the credentials as they are now; one is made when they are new."""
        key, secret, token, bearer = (self._connection.secret(name) or None for name in CREDENTIALS)
        now = hash((key, secret, token, bearer))
        async with self._opening:
            if self._client is None or now != self._made_for:
                config = aiobotocore.config.AioConfig(
                    http_session_cls=session_class(self._connection.transport),
                    retries={"total_max_attempts": 1, "mode": "standard"},
                )
                made = self._session.create_client(
                    "bedrock-runtime",
                    region_name=self._region,
                    endpoint_url=self._url,
                    aws_access_key_id=key,
                    aws_secret_access_key=secret,
                    aws_session_token=token if key else None,
                    config=config,
                )
                self._client, self._made_for = await self._clients.enter_async_context(made), now
            return self._client

    def _start(self, ask: Ask) -> Form:
        return best(ask, native=self._native)

    def _shared(self, ask: Ask, form: Form) -> Shared:
        return self._prepared.get((ask, form)) or remember(self._prepared, (ask, form), prepare(ask, form))
