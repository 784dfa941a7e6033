"""Translates errors of Milvus and its client into errors of this service."""

from collections.abc import Iterator
from typing import Final

import grpc
from pymilvus import MilvusException
from pymilvus.exceptions import ConnectionConfigException

from retrieval.errors import (
    CollectionNotFound,
    ConfigurationError,
    StoreFailed,
    StoreFull,
    StoreUnavailable,
    TandemError,
)

COLLECTION_NOT_LOADED: Final = 101
DISK_FULL: Final = 7
"""Text of Milvus when its disk quota is used up, and of our Milvus Lite process when its disk is full."""
_COLLECTION_NOT_FOUND = 100
_CONNECT_FAILED = 2
"""Text of pymilvus when it cannot connect again, and of Milvus when a part of it is away."""
_BUSY = frozenset({4, 8, 9})
"""Too many requests, rate limit, quota: Milvus takes the same request later."""
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


class NotLoaded(StoreFailed):
    """The collection exists but must be loaded into memory first."""


def translated(error: MilvusException | grpc.RpcError) -> TandemError:
    if isinstance(error, ConnectionConfigException):
        return ConfigurationError(f"TANDEM_MILVUS_URI: {error.message}", setting="TANDEM_MILVUS_URI")
    status = _grpc_status(error)
    if is_away(error) or status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return StoreUnavailable("Milvus does not answer.", grpc=status.name if status else None)
    if not isinstance(error, MilvusException):
        return StoreFailed(f"Milvus refused the request ({status}).", grpc=status.name if status else None)
    if error.code == DISK_FULL:
        return StoreFull(f"The vector store's disk is full; free space or enlarge it. Milvus: {error.message}")
    if error.code == _COLLECTION_NOT_FOUND:
        return CollectionNotFound(f"Milvus: {error.message}")
    if error.code == COLLECTION_NOT_LOADED:
        return NotLoaded(f"Milvus: {error.message}")
    if error.retriable or error.code in _BUSY:
        return StoreUnavailable(f"Milvus: {error.message}", milvus_code=error.code)
    return StoreFailed(f"Milvus: {error.message}", milvus_code=error.code)


def is_away(error: BaseException) -> bool:
    return any(_says_away(cause) for cause in _causes(error))


def _says_away(error: BaseException) -> bool:
    # The client replaces its channel when it reconnects; calls that were using the old one end with a ValueError.
    return (
        _grpc_status(error) in _AWAY
        or (isinstance(error, MilvusException) and error.code == _CONNECT_FAILED)
        or (isinstance(error, ValueError) and ("closed channel" in str(error) or "Channel closed" in str(error)))
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields `error` and its causes. pymilvus raises errors "from" themselves, so the chain may be a cycle."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _grpc_status(error: BaseException) -> grpc.StatusCode | None:
    code = error.code() if isinstance(error, grpc.RpcError) else getattr(error, "code", None)
    return code if isinstance(code, grpc.StatusCode) else None
