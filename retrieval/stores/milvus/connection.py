"""One bounded connection to a Milvus server: calls run off the event loop, errors are translated, health is
monitored.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import structlog
from pymilvus import MilvusClient, MilvusException

from retrieval.errors import StoreUnavailable, TandemError
from retrieval.stores.milvus.errors import is_away, translated

_log = structlog.get_logger()

_CONNECT_TIMEOUT_S = 2.0
_PROBE_TIMEOUT_S = 3.0
_PROBE_EVERY_S = 2.0
_PROBES_MISSED = 3
"""A server that is busy may miss a probe; one that misses this many in a row, some 15 seconds, counts as away."""
_THREADS = 8
_GRACE_S = 5.0
"""Time that a call may take beyond its own timeout, for a thread and a new connection."""


class MilvusConnection:
    """While `failure` is set, calls fail at once, and only the probe contacts the server; a successful probe clears the
    failure.
    """

    def __init__(self, uri: str, token: str = "") -> None:
        self._uri = uri
        self._token = token
        self._client: MilvusClient | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="milvus")
        # A separate thread, so that a probe never waits behind the calls that depend on it.
        self._probe_thread = ThreadPoolExecutor(1, thread_name_prefix="milvus-probe")
        self._probing: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Future[Any]] = set()
        self._failure: str | None = "The connection to Milvus has not been opened."

    @property
    def failure(self) -> str | None:
        return self._failure

    async def open(self) -> None:
        """Opens the connection. An unreachable server is not an error here: `failure` reports it until a probe
        succeeds. Raises ConfigurationError for an invalid URI, StoreFailed if the server rejects the client.
        """
        # It logs each refusal with a traceback and the server's message about the request; errors are reported here.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        try:
            await self._probe()
        except StoreUnavailable as error:
            self._fail(error.message)
        self._probing = asyncio.create_task(self._keep_probing(), name="milvus-probe")

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
            self._probing = None
        self._failure = "The connection to Milvus is closed."
        client, self._client = self._client, None
        if client is not None:
            await asyncio.get_running_loop().run_in_executor(self._probe_thread, client.close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._probe_thread.shutdown(wait=False, cancel_futures=True)

    def lose(self, reason: str) -> None:
        """Records that the server is gone: calls in flight fail at once, without waiting for their timeouts, and so do
        later ones until a probe succeeds.
        """
        if self._client is None:
            return
        self._fail(reason)
        for waiting in tuple(self._waiting):
            waiting.cancel()

    async def call(
        self,
        method: str,
        /,
        *args: object,
        timeout_s: float,
        began: Callable[["Future[Any]"], None] = lambda _: None,
        **kwargs: object,
    ) -> Any:
        """Runs a method of MilvusClient in a thread and returns its result. `began` gets a future that ends with the
        thread's work, which may be after this call.

        Raises StoreUnavailable (away, busy, or no answer in time), StoreFull, CollectionNotFound, NotLoaded,
        StoreFailed.
        """
        if self._failure is not None or self._client is None:
            raise StoreUnavailable(f"The vector store does not answer. {self._failure}")
        function = partial(getattr(self._client, method), *args, timeout=timeout_s, **kwargs)
        try:
            return await self._run(self._threads, function, timeout_s + _GRACE_S, began)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, Exception) and is_away(error.__cause__):
                self._fail(error.message)
            raise

    async def _run(
        self,
        threads: ThreadPoolExecutor,
        function: Callable[[], Any],
        timeout_s: float,
        began: Callable[["Future[Any]"], None] = lambda _: None,
    ) -> Any:
        running = threads.submit(function)
        began(running)
        waiting = asyncio.wrap_future(running)
        # The probe detects the server again, so `lose` does not stop it.
        if threads is self._threads:
            self._waiting.add(waiting)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if waiting.cancelled() and task is not None and not task.cancelling():
                raise StoreUnavailable(f"The vector store does not answer. {self._failure}") from None
            raise
        except TimeoutError as error:
            raise StoreUnavailable(f"The vector store did not answer within {timeout_s:g} s.") from error
        except (MilvusException, grpc.RpcError) as error:
            raise translated(error) from error
        finally:
            self._waiting.discard(waiting)

    async def _probe(self) -> None:
        await self._run(self._probe_thread, self._read_version, _PROBE_TIMEOUT_S + _CONNECT_TIMEOUT_S + _GRACE_S)
        if self._failure is not None:
            _log.info("milvus_reached", uri=self._uri)
        self._failure = None

    def _read_version(self) -> None:
        if self._client is None:
            self._client = MilvusClient(uri=self._uri, token=self._token, timeout=_CONNECT_TIMEOUT_S, dedicated=True)
        self._client.get_server_version(timeout=_PROBE_TIMEOUT_S)

    async def _keep_probing(self) -> None:
        missed = 0
        while True:
            await asyncio.sleep(_PROBE_EVERY_S)
            try:
                await self._probe()
                missed = 0
            except TandemError as error:
                missed += 1
                if missed == _PROBES_MISSED or (error.__cause__ is not None and is_away(error.__cause__)):
                    self._fail(error.message)

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            _log.warning("milvus_lost", uri=self._uri, reason=reason)
        self._failure = reason
