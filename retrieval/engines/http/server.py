"""One model behind HTTP, on a server that is operated elsewhere. Its dialect builds the requests and parses the
responses.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic

import httpx
import orjson
import structlog

from retrieval.engines.http.connection import HttpConnection
from retrieval.engines.http.dialects.dialect import Answer, Dialect, InputT, Request
from retrieval.errors import EngineFailed, TandemError, Unavailable
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.types import Lane, Vector

log = structlog.get_logger()

REFUSALS = (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY)
"""Statuses with which servers reject an unknown field or value."""
MESSAGE_CHARACTERS = 300
"""Characters of a server's own message in an error: enough to see what was wrong, too few to carry documents along."""


REQUEST_TOKENS = 16384
REQUESTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class HttpServerOptions:
    url: str
    """Root of the server, without `/v1`: `http://127.0.0.1:8001`."""
    model: str
    """Name that the server serves the model under."""
    api_key: str | None = field(default=None, repr=False)
    """Sent as a bearer token."""
    max_model_len: int = 8192
    """Window that the server was started with, in tokens, special tokens included. Longer prompts are cut here: a
    server would refuse the whole request, or cut off what a prompt ends with."""
    send_priority: bool = False
    """Whether bulk work is marked by a `priority` field, for dialects that have one and servers configured
    to use it.
    """
    inputs_per_request: int = 32
    tokens_per_request: int = REQUEST_TOKENS
    """A request is closed before it exceeds this, so that none takes long; one longer prompt goes alone."""
    requests_at_once: int = REQUESTS_AT_ONCE
    """Limit per lane, so that bulk work never holds the connections that a search needs."""
    timeout_seconds: float = 60.0
    """Seconds for one request."""
    probe_seconds: float = 5.0
    """Interval of health probes."""


class HttpEngine(Generic[InputT]):
    """Has the contract of VllmEngine, except that `start` does not wait for the server, `failure` says whether it
    answers, and requests fail at once while it does not.
    """

    def __init__(
        self,
        options: HttpServerOptions,
        dialect: Dialect[InputT],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`transport` replaces the network (tests, Unix sockets)."""
        self.options = options
        self._dialect = dialect
        self._connection = HttpConnection(
            options.url,
            api_key=options.api_key,
            requests_at_once=options.requests_at_once,
            timeout_seconds=options.timeout_seconds,
            probe_path="/health",
            probe_seconds=options.probe_seconds,
            check=self._check_response,
            transport=transport,
        )

    @property
    def failure(self) -> str | None:
        return self._connection.failure

    @property
    def dialect(self) -> Dialect[InputT]:
        """The dialect in use."""
        return self._dialect

    async def start(self) -> None:
        """Opens the client and probes the server once. Never raises: the server may start later."""
        self._connection.open()
        await self._connection.look()
        self._connection.watch()

    async def close(self) -> None:
        """Aborts the requests in flight; they and later ones fail with EngineDead."""
        await self._connection.close()

    async def encode(self, inputs: Sequence[InputT], *, lane: Lane, dimensions: int | None = None) -> list[Vector]:
        """Returns one output per input, in order, in the form of the dialect's task.

        Raises EngineDead (no connection, or closed), Unavailable (overloaded, failing or late; `detail["retry_after"]`
        holds the seconds that the server asked for, if any), EngineFailed (refused, or an invalid answer), NotReady
        (not started).

        One failed request of a call cancels the others.
        """
        replies = await gather_or_cancel(
            self._send(Request(self.options.model, batch, dimensions), lane) for batch in self._batches(inputs)
        )
        return [output for outputs in replies for output in outputs]

    def _batches(self, inputs: Sequence[InputT]) -> Iterator[list[InputT]]:
        batch: list[InputT] = []
        tokens = 0
        for each in inputs:
            longer = tokens + len(each) > self.options.tokens_per_request
            if batch and (longer or len(batch) == self.options.inputs_per_request):
                yield batch
                batch, tokens = [], 0
            batch.append(each)
            tokens += len(each)
        if batch:
            yield batch

    async def _send(self, request: Request[InputT], lane: Lane) -> list[Vector]:
        dialect = self._dialect
        response = await self._post(dialect, request, lane)
        if response.status_code in REFUSALS and dialect.fallback is not None:
            refused, dialect = dialect, dialect.fallback
            response = await self._post(dialect, request, lane)
            if response.status_code == httpx.codes.OK and self._dialect is refused:
                log.info(
                    "server supports only the older form of its dialect", url=self.options.url, dialect=dialect.name
                )
                self._dialect = dialect
        if response.status_code != httpx.codes.OK:
            raise self._refused(response)
        self._connection.found(None)
        media_type = response.headers.get("Content-Type", "").partition(";")[0]
        answer = Answer(response.content, media_type, len(request.inputs))
        return await asyncio.to_thread(dialect.outputs, answer)

    async def _post(self, dialect: Dialect[InputT], request: Request[InputT], lane: Lane) -> httpx.Response:
        priority = {"priority": int(lane)} if self.options.send_priority and dialect.priority else {}
        return await self._connection.post(dialect.path, orjson.dumps({**dialect.body(request), **priority}), lane)

    def _refused(self, response: httpx.Response) -> TandemError:
        status = response.status_code
        said = f"{self.options.url} answered {status}: {_message(response)}"
        if status in {408, 429} or status >= 500:
            wait = response.headers.get("Retry-After", "")
            detail: dict[str, object] = {"retry_after": int(wait)} if wait.isdecimal() else {}
            return Unavailable(said, status=status, **detail)
        return EngineFailed(said, status=status)

    def _check_response(self, response: httpx.Response) -> str | None:
        # A server without this path is alive all the same; the self-test checks its model.
        failed = response.status_code >= 500
        return f"{self.options.url}/health answered {response.status_code}" if failed else None


def _message(response: httpx.Response) -> str:
    """Returns the server's own message: `error.message` as in OpenAI's format, `message` or `detail` in other formats,
    else the body.
    """
    text = response.text
    with suppress(orjson.JSONDecodeError):
        body = orjson.loads(response.content)
        if isinstance(body, dict):
            error = body.get("error", body)
            found = error.get("message") or error.get("detail") if isinstance(error, dict) else error
            text = str(found or text)
    return " ".join(text.split())[:MESSAGE_CHARACTERS]
