"""One model behind HTTP, on a server of the OpenAI kind, asked with token ids and never with text: prompts, cuts and
special tokens stay ours. `vllm serve` is the server that this is tested with."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import httpx
import orjson
import structlog

from retrieval.engines.http_replies import outputs_of
from retrieval.errors import EngineDead, EngineFailed, NotReady, TandemError, Unavailable
from retrieval.types import Lane, TokenIds, Vector

log = structlog.get_logger()

HttpTask = Literal["embed", "classify"]

PATHS: Mapping[HttpTask, str] = {"embed": "/v1/embeddings", "classify": "/classify"}
KEEP_ALIVE_SECONDS = 2.0
"""Idle connections are dropped before the server does it (uvicorn: after 5 s), or a request could meet a closed one."""
CONNECT_SECONDS = 5.0
MESSAGE_CHARACTERS = 300
"""Of a server's own words in an error: enough to see what was wrong, too little to carry documents along."""


@dataclass(frozen=True, slots=True)
class HttpServerOptions:
    url: str
    """Root of the server, without `/v1`: `http://127.0.0.1:8001`."""
    model: str
    """Name that the server serves the model under."""
    task: HttpTask
    api_key: str | None = field(default=None, repr=False)
    """Sent as a bearer token."""
    max_model_len: int = 8192
    """Window that the server was started with, in tokens, special tokens included. Longer prompts are cut here: a
    server would refuse the whole request, or cut off what a prompt ends with."""
    send_priority: bool = False
    """Whether bulk work is marked by a `priority` field. Other servers than vLLM refuse the field; vLLM heeds it when
    started with `--scheduling-policy priority`."""
    inputs_per_request: int = 32
    tokens_per_request: int = 16384
    """A request is closed before it exceeds this, so that none takes long; one longer prompt goes alone."""
    requests_at_once: int = 4
    """Per lane, so that bulk work never holds the connections that a search needs."""
    timeout_seconds: float = 60.0
    """For one request to be answered."""
    probe_seconds: float = 5.0
    """Between two looks at the server's health."""


class HttpEngine:
    """Same contract as VllmEngine, for a server that somebody else runs: `start` does not wait for it, `failure` says
    whether it answers, and a request fails at once while it does not."""

    def __init__(self, options: HttpServerOptions, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`transport` replaces the network (tests, unix sockets)."""
        self.options = options
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._probe: asyncio.Task[None] | None = None
        self._slots = {lane: asyncio.Semaphore(options.requests_at_once) for lane in Lane}
        self._failure: str | None = "The connection to the engine was not started"
        self._closed = False

    @property
    def failure(self) -> str | None:
        return self._failure

    async def start(self) -> None:
        """Opens the client and looks at the server once. Never raises: the server may come later."""
        headers = {"Authorization": f"Bearer {self.options.api_key}"} if self.options.api_key else {}
        self._client = httpx.AsyncClient(
            base_url=self.options.url,
            headers=headers,
            timeout=httpx.Timeout(self.options.timeout_seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=len(Lane) * self.options.requests_at_once + 1, keepalive_expiry=KEEP_ALIVE_SECONDS
            ),
            transport=self._transport,
            trust_env=False,  # settings are the only reader of the environment, and proxies are for other hosts
        )
        await self._look(self._client)
        self._probe = asyncio.create_task(self._watch(self._client), name=f"probe {self.options.url}")

    async def close(self) -> None:
        """Breaks off the requests under way; they and later ones fail with EngineDead."""
        self._closed = True
        self._failure = "The connection to the engine was closed"
        if self._probe is not None:
            self._probe.cancel()
            with suppress(asyncio.CancelledError):
                await self._probe
            self._probe = None
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def encode(self, token_ids: Sequence[TokenIds], *, lane: Lane, dimensions: int | None = None) -> list[Vector]:
        """One output per prompt, in order: a vector, or for `classify` the probability of relevance, shape (1,).

        Raises EngineDead (no connection, or closed), Unavailable (overloaded, failing or late; `detail["retry_after"]`
        in seconds where the server said it), EngineFailed (refused, or an answer that cannot be right), NotReady (not
        started).
        One failed request of a call cancels the others.
        """
        client = self._client
        if client is None:
            raise (EngineDead if self._closed else NotReady)(str(self._failure))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._request(client, batch, lane, dimensions))
                    for batch in self._batches(token_ids)
                ]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [output for task in tasks for output in task.result()]

    def _batches(self, token_ids: Sequence[TokenIds]) -> Iterator[list[list[int]]]:
        batch: list[list[int]] = []
        tokens = 0
        for ids in token_ids:
            full = len(batch) == self.options.inputs_per_request or tokens + len(ids) > self.options.tokens_per_request
            if batch and full:
                yield batch
                batch, tokens = [], 0
            batch.append(list(ids))
            tokens += len(ids)
        if batch:
            yield batch

    async def _request(
        self, client: httpx.AsyncClient, batch: list[list[int]], lane: Lane, dimensions: int | None
    ) -> list[Vector]:
        body: dict[str, object] = {"model": self.options.model, "input": batch}
        if self.options.task == "embed":
            body["encoding_format"] = "base64"
        if dimensions is not None:
            body["dimensions"] = dimensions
        if self.options.send_priority:
            body["priority"] = int(lane)
        async with self._slots[lane]:
            if client is not self._client:
                raise EngineDead(str(self._failure))  # closed while this waited for its slot
            try:
                response = await client.post(
                    PATHS[self.options.task],
                    content=orjson.dumps(body),
                    headers={"Content-Type": "application/json"},
                )
            except httpx.TimeoutException as error:
                raise Unavailable(self._late(error)) from error
            except httpx.TransportError as error:
                self._failure = self._away(error) if client is self._client else self._failure
                raise EngineDead(str(self._failure)) from error
            except httpx.RequestError as error:
                raise Unavailable(f"{self.options.url} broke off its answer ({type(error).__name__})") from error
        if response.status_code != httpx.codes.OK:
            raise self._refused(response)
        self._failure = None
        return await asyncio.to_thread(outputs_of, self.options.task, response.content, len(batch))

    def _refused(self, response: httpx.Response) -> TandemError:
        status = response.status_code
        said = f"{self.options.url} answered {status}: {_message(response)}"
        if status in {408, 429} or status >= 500:
            wait = response.headers.get("Retry-After", "")
            detail: dict[str, object] = {"retry_after": int(wait)} if wait.isdecimal() else {}
            return Unavailable(said, status=status, **detail)
        return EngineFailed(said, status=status)

    async def _watch(self, client: httpx.AsyncClient) -> None:
        while True:
            await asyncio.sleep(self.options.probe_seconds)
            await self._look(client)

    async def _look(self, client: httpx.AsyncClient) -> None:
        try:
            response = await client.get("/health", timeout=CONNECT_SECONDS)
        except httpx.TimeoutException as error:
            failure: str | None = self._late(error)
        except httpx.TransportError as error:
            failure = self._away(error)
        else:
            # A server without this path still lives; its model is tried by the self-test.
            failed = response.status_code >= 500
            failure = f"{self.options.url}/health answered {response.status_code}" if failed else None
        if failure != self._failure:
            log.info("engine health changed", url=self.options.url, failure=failure)
        self._failure = failure

    def _late(self, error: httpx.TimeoutException) -> str:
        return f"{self.options.url} did not answer in time ({type(error).__name__})"

    def _away(self, error: httpx.TransportError) -> str:
        return f"{self.options.url} does not answer ({type(error).__name__}): is the server running?"


def _message(response: httpx.Response) -> str:
    """The server's own words: `error.message` as OpenAI has it, `message` or `detail` as others do, else the body."""
    text = response.text
    with suppress(orjson.JSONDecodeError):
        body = orjson.loads(response.content)
        if isinstance(body, dict):
            error = body.get("error", body)
            found = error.get("message") or error.get("detail") if isinstance(error, dict) else error
            text = str(found or text)
    return " ".join(text.split())[:MESSAGE_CHARACTERS]
