"""A bounded and monitored connection to a model server. It translates failures of the connection; callers define the
requests and interpret the answers.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import httpx
import structlog

from retrieval.errors import EngineDead, NotReady, Unavailable
from retrieval.trace_context import outgoing_headers
from retrieval.types import Lane

log = structlog.get_logger()

KEEP_ALIVE_SECONDS = 2.0
"""Idle connections are dropped before the server does it (uvicorn: after 5 s), or a request could meet a closed one."""
CONNECT_SECONDS = 5.0
MAX_FAILED_PROBES = 3
"""Failed probes in a row before the server counts as away: a server that is only busy answers one of them."""

CheckResponse = Callable[[httpx.Response], str | None]
"""Returns what a response to the probe reports as wrong, or None."""


class HttpConnection:
    """`failure` is the result of the last probe or the last broken request. A server that does not answer a probe gets
    no other request until it answers one again.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        requests_at_once: int,
        timeout_seconds: float,
        probe_path: str,
        probe_seconds: float,
        check: CheckResponse,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`requests_at_once` applies to each lane, so that bulk work never holds the connections that a search needs.
        `api_key` is sent as a bearer token. `transport` replaces the network (tests, Unix sockets).
        """
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._connections = len(Lane) * requests_at_once + 1
        self._timeout_seconds = timeout_seconds
        self._probe_path = probe_path
        self._probe_seconds = probe_seconds
        self._check_response = check
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._probe: asyncio.Task[None] | None = None
        self._slots = {lane: asyncio.Semaphore(requests_at_once) for lane in Lane}
        self._failed_probes = 0
        self._failure: str | None = "The connection to the engine was not started"
        self._closed = False

    @property
    def failure(self) -> str | None:
        return self._failure

    def open(self) -> None:
        """Opens the connection. Does nothing if it is open."""
        self._client = self._client or httpx.AsyncClient(
            base_url=self._url,
            headers=self._headers,
            timeout=httpx.Timeout(self._timeout_seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=self._connections, keepalive_expiry=KEEP_ALIVE_SECONDS),
            transport=self._transport,
            trust_env=False,  # settings.py is the only reader of the environment, and proxies are for other hosts
        )

    def watch(self) -> None:
        """Starts to probe the server periodically, which keeps `failure` up to date."""
        self._probe = self._probe or asyncio.create_task(self._watch(), name=f"probe {self._url}")

    async def close(self) -> None:
        """Aborts the requests in flight; they and later ones fail with EngineDead."""
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

    async def look(self) -> None:
        """Probes the server once. Never raises."""
        if self._client is not None:
            await self._look(self._client)

    async def get(self, path: str) -> httpx.Response:
        """Sends a GET request outside of the lanes. Raises the errors of `post`."""
        return await self._send(self._opened(), "GET", path, None)

    async def post(self, path: str, body: bytes, lane: Lane) -> httpx.Response:
        """Sends JSON when the lane has a free connection. The answer may have any status. Raises EngineDead (no
        connection, closed, or a hung server), Unavailable (late, or connection lost), NotReady (not opened).
        """
        client = self._opened()
        self._require_answers()
        async with self._slots[lane]:
            if client is not self._client:
                raise EngineDead(str(self._failure))  # closed while this call waited for its slot
            self._require_answers()
            return await self._send(client, "POST", path, body)

    def found(self, failure: str | None) -> None:
        """Records the server's health as a response showed it. A closed connection stays failed."""
        if self._closed:
            return
        if failure != self._failure:
            log.info("engine health changed", url=self._url, failure=failure)
        self._failure = failure

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            raise (EngineDead if self._closed else NotReady)(str(self._failure))
        return self._client

    async def _send(self, client: httpx.AsyncClient, method: str, path: str, body: bytes | None) -> httpx.Response:
        headers = {**outgoing_headers(), **({"Content-Type": "application/json"} if body is not None else {})}
        try:
            # One timeout for the whole answer: httpx's applies to each piece, and their number is unlimited.
            async with asyncio.timeout(self._timeout_seconds):
                response = await client.request(method, path, content=body, headers=headers)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise Unavailable(self._late(error)) from error
        except httpx.TransportError as error:
            self.found(self._away(error))
            raise EngineDead(str(self._failure)) from error
        except httpx.RequestError as error:
            raise Unavailable(f"{self._url} broke off its answer ({type(error).__name__})") from error
        self._failed_probes = 0
        return response

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._probe_seconds)
            await self.look()

    async def _look(self, client: httpx.AsyncClient) -> None:
        late = 0
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                response = await client.get(self._probe_path, timeout=CONNECT_SECONDS)
        except (httpx.TimeoutException, TimeoutError) as error:
            late = self._failed_probes + 1
            self.found(self._late(error))
        except httpx.RequestError as error:
            self.found(self._away(error))
        else:
            self.found(self._check_response(response))
        self._failed_probes = late

    def _require_answers(self) -> None:
        if self._failed_probes >= MAX_FAILED_PROBES:
            raise EngineDead(f"{self._url} answered none of its last {self._failed_probes} probes: it hangs")

    def _late(self, error: Exception) -> str:
        return f"{self._url} did not answer in time ({type(error).__name__})"

    def _away(self, error: httpx.RequestError) -> str:
        return f"{self._url} does not answer ({type(error).__name__}): is the server running?"
