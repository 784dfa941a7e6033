"""The one tree of errors. Adapters translate into it; a `code` is part of the wire and never changes its meaning."""

import errno
from typing import ClassVar

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of an OSError where the disk is full, or this user's share of it."""


class TandemError(Exception):
    """An expected failure, reported to the caller or operator who caused it or can correct it.

    `message` says what was wrong, which value, and what to do. `detail` holds the same as data (small, JSON-able).
    `retryable` says whether the same call may succeed later without any change by the caller.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class InvalidRequest(TandemError):
    """The request is invalid, and no retry will make it valid."""

    code = "invalid_request"


class InvalidText(InvalidRequest):
    """Text that cannot be stored or embedded: NUL characters, lone surrogates."""

    code = "invalid_text"


class EmptyText(InvalidRequest):
    """The text is empty or only white space."""

    code = "empty_text"


class CollectionNotFound(TandemError):
    """There is no collection of that name."""

    code = "collection_not_found"


class CollectionExists(TandemError):
    """The name is taken, or the store holds a collection of that name which the catalog does not know."""

    code = "collection_exists"


class FingerprintMismatch(TandemError):
    """Vectors of one model would be mixed with those of another."""

    code = "fingerprint_mismatch"


class ConfigurationError(TandemError):
    """A setting is wrong: the message is one line and names it."""

    code = "configuration"


class DeviceUnknown(TandemError):
    """The accelerators of this machine, or their memory, could not be detected."""

    code = "device_unknown"


class ModelUnavailable(TandemError):
    """The model's files are neither on this machine nor downloadable."""

    code = "model_unavailable"


class EngineFailed(TandemError):
    """The engine refused or failed one request (a non-finite vector, for instance); others are not affected."""

    code = "engine_failed"


class Unavailable(TandemError):
    """A dependency of the service is unavailable for the moment."""

    code = "unavailable"
    retryable = True


class NotReady(Unavailable):
    """The node is starting, or a self-test keeps it from serving."""

    code = "not_ready"


class EngineDead(Unavailable):
    """The engine's process ended or hung; it is being restarted."""

    code = "engine_dead"


class BudgetExceeded(Unavailable):
    """A required part of the answer was not ready within the caller's budget or the node's deadline."""

    code = "budget_exceeded"


class StoreUnavailable(Unavailable):
    """The vector store does not answer."""

    code = "store_unavailable"


class StoreFull(Unavailable):
    """The disk that holds the data is full, or its free space is below the reserve: writes are refused until space is
    free.
    """

    code = "store_full"


class StoreFailed(TandemError):
    """The vector store answered with an error that a retry will not resolve."""

    code = "store_failed"


class Unsupported(TandemError):
    """The configured server or model does not support the request; the message names what is missing."""

    code = "unsupported"
