"""One bounded connection to a Milvus server: calls off the event loop, errors translated, health watched."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import grpc
import structlog
from pymilvus import MilvusClient, MilvusException
from pymilvus.exceptions import ConnectionConfigException

from retrieval.errors import CollectionNotFound, ConfigurationError, StoreFailed, StoreUnavailable, TandemError

_log = structlog.get_logger()

COLLECTION_NOT_LOADED: Final = 101
_COLLECTION_NOT_FOUND = 100
_CONNECT_FAILED = 2
"""What pymilvus says when it cannot connect again, and Milvus when a part of it is away."""
_BUSY = frozenset({4, 8, 9})
"""Too many requests, rate limit, quota: Milvus takes the same request later."""
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
_CONNECT_TIMEOUT_S = 2.0
_PROBE_TIMEOUT_S = 5.0
_PROBE_EVERY_S = 2.0
_PROBES_MISSED = 3
"""A server that is busy may miss a probe; one that misses this many in a row counts as away."""
_THREADS = 8
_GRACE_S = 5.0
"""What a call may take beyond its own timeout: a thread, a connection that is made again."""


class NotLoaded(StoreFailed):
    """The collection exists and has to be loaded into memory first."""


class MilvusConnection:
    """While `failure` is set, calls fail at once and only the probe asks the server; it ends the failure too."""

    def __init__(self, uri: str, token: str = "") -> None:
        self._uri = uri
        self._token = token
        self._client: MilvusClient | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="milvus")
        # Its own thread, so that a probe never waits behind the calls whose fate it decides.
        self._probe_thread = ThreadPoolExecutor(1, thread_name_prefix="milvus-probe")
        self._probing: asyncio.Task[None] | None = None
        self._failure: str | None = "The connection to Milvus has not been opened."

    @property
    def failure(self) -> str | None:
        return self._failure

    async def open(self) -> None:
        """A server that is away is not an error here: `failure` says so until the probe finds it. Raises
        ConfigurationError for a URI that can't be one, StoreFailed where the server turns the client away."""
        # It logs each refusal with a traceback and with what the server said of the request; errors are told here.
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

    async def call(self, method: str, /, *args: object, timeout_s: float, **kwargs: object) -> Any:
        """Runs a method of MilvusClient in a thread and returns what it returns.

        Raises StoreUnavailable (away, busy, or no answer in time), CollectionNotFound, NotLoaded, StoreFailed.
        """
        if self._failure is not None or self._client is None:
            raise StoreUnavailable(f"The vector store does not answer. {self._failure}")
        function = partial(getattr(self._client, method), *args, timeout=timeout_s, **kwargs)
        try:
            return await self._run(self._threads, function, timeout_s + _GRACE_S)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, Exception) and _is_away(error.__cause__):
                self._fail(error.message)
            raise

    async def _run(self, threads: ThreadPoolExecutor, function: Callable[[], Any], timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.get_running_loop().run_in_executor(threads, function)
        except TimeoutError as error:
            raise StoreUnavailable(f"The vector store did not answer within {timeout_s:g} s.") from error
        except (MilvusException, grpc.RpcError) as error:
            raise _translated(error) from error

    async def _probe(self) -> None:
        await self._run(self._probe_thread, self._ask_version, _PROBE_TIMEOUT_S + _CONNECT_TIMEOUT_S + _GRACE_S)
        if self._failure is not None:
            _log.info("milvus_reached", uri=self._uri)
        self._failure = None

    def _ask_version(self) -> None:
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
                if missed == _PROBES_MISSED or (error.__cause__ is not None and _is_away(error.__cause__)):
                    self._fail(error.message)

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            _log.warning("milvus_lost", uri=self._uri, reason=reason)
        self._failure = reason


def _translated(error: MilvusException | grpc.RpcError) -> TandemError:
    if isinstance(error, ConnectionConfigException):
        return ConfigurationError(f"TANDEM_MILVUS_URI: {error.message}", setting="TANDEM_MILVUS_URI")
    status = _grpc_status(error)
    if _is_away(error) or status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return StoreUnavailable("Milvus does not answer.", grpc=status.name if status else None)
    if not isinstance(error, MilvusException):
        return StoreFailed(f"Milvus refused the request ({status}).", grpc=status.name if status else None)
    if error.code == _COLLECTION_NOT_FOUND:
        return CollectionNotFound(f"Milvus: {error.message}")
    if error.code == COLLECTION_NOT_LOADED:
        return NotLoaded(f"Milvus: {error.message}")
    if error.retriable or error.code in _BUSY:
        return StoreUnavailable(f"Milvus: {error.message}", milvus_code=error.code)
    return StoreFailed(f"Milvus: {error.message}", milvus_code=error.code)


def _is_away(error: BaseException) -> bool:
    return any(_says_away(cause) for cause in _causes(error))


def _says_away(error: BaseException) -> bool:
    # The client replaces its channel when it reconnects; calls that were using the old one end with a ValueError.
    return (
        _grpc_status(error) in _AWAY
        or (isinstance(error, MilvusException) and error.code == _CONNECT_FAILED)
        or (isinstance(error, ValueError) and ("closed channel" in str(error) or "Channel closed" in str(error)))
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what caused it. pymilvus raises errors "from" themselves, so the chain may be a circle."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _grpc_status(error: BaseException) -> grpc.StatusCode | None:
    code = error.code() if isinstance(error, grpc.RpcError) else getattr(error, "code", None)
    return code if isinstance(code, grpc.StatusCode) else None
