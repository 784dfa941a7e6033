"""The table from error codes to HTTP statuses, and the parts of an error's answer."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import ingestion.errors  # noqa: F401  # its classes belong to the tree
from retrieval.errors import EmptyText, InvalidRequest, InvalidText, TandemError


class Unauthorized(TandemError):
    """The API key is missing or unknown."""

    code = "unauthorized"


class Forbidden(TandemError):
    """The API key lacks a scope, or may not use a collection of that name."""

    code = "forbidden"


class LimitReached(TandemError):
    """The API key has used what it may: requests, texts or candidates a minute, documents, bytes or waiting jobs."""

    code = "limit_reached"
    retryable = True


class KeyNeeded(TandemError):
    """Stored keys have no effect on a node that accepts callers without a key."""

    code = "key_needed"


class HostNotAllowed(TandemError):
    """The request names a host that is not one of this node's names."""

    code = "host_not_allowed"


class OriginNotAllowed(TandemError):
    """A page of another origin sent a request that a node without keys accepts only from its own machine."""

    code = "origin_not_allowed"


class HeadTooLarge(TandemError):
    """The request line or the header fields are larger, or more, than the node accepts."""

    code = "head_too_large"


class MalformedRequest(TandemError):
    """The request is not HTTP/1.1, or is ambiguous."""

    code = "malformed_request"


class RequestTimeout(TandemError):
    """The request did not arrive in time."""

    code = "request_timeout"


class TooManyConnections(TandemError):
    """The node, or the caller's address, has reached its maximum number of connections."""

    code = "too_many_connections"
    retryable = True


class CallerDisconnected(TandemError):
    """The caller disconnected before the answer was ready."""

    code = "caller_gone"


class InvalidJson(InvalidRequest):
    """The body is not valid JSON."""

    code = "invalid_json"


class ModelNotFound(TandemError):
    """A request names a model that this node does not serve."""

    code = "model_not_found"


STATUS: Mapping[str, int] = {
    "invalid_json": 400,
    "malformed_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "origin_not_allowed": 403,
    "collection_not_found": 404,
    "document_not_found": 404,
    "job_not_found": 404,
    "key_not_found": 404,
    "blob_missing": 404,
    "model_not_found": 404,
    "reembedding_not_found": 404,
    "request_timeout": 408,
    "collection_exists": 409,
    "key_needed": 409,
    "fingerprint_mismatch": 409,
    "document_busy": 409,
    "audit_running": 409,
    "idempotency_conflict": 409,
    "too_large": 413,
    "media_type_mismatch": 415,
    "unsupported_media_type": 415,
    "host_not_allowed": 421,
    "empty_text": 422,
    "invalid_text": 422,
    "invalid_request": 422,
    "overloaded": 429,
    "limit_reached": 429,
    "head_too_large": 431,
    "caller_gone": 499,
    "internal": 500,
    "engine_failed": 502,
    "store_failed": 502,
    "unsupported": 501,
    "not_ready": 503,
    "too_many_connections": 503,
    "engine_dead": 503,
    "budget_exceeded": 503,
    "store_unavailable": 503,
    "store_full": 503,
    "catalog_unavailable": 503,
    "blob_store_unavailable": 503,
    "unavailable": 503,
}
"""Other codes never answer a request: they appear in receipts, or stop the start."""

EMPTY_TEXT, INVALID_TEXT = "empty_text", "invalid_text"
"""Types of the validation errors that the checks of texts raise."""
TEXT_ERRORS: Mapping[object, type[InvalidRequest]] = {
    EMPTY_TEXT: EmptyText,
    INVALID_TEXT: InvalidText,
    "string_unicode": InvalidText,  # pydantic's own, for lone surrogates
}

MAX_PROBLEMS = 20
"""Maximum number of problems in one answer."""
MAX_NAME_CHARACTERS = 80
"""Maximum length of a name from the request in a message."""
RETRY_AFTER_SECONDS = 5
"""Default for retryable errors without a time of their own."""


def meaning_of(code: str) -> str:
    """Returns the meaning of an error code, for the documentation. Raises KeyError if no class has the code."""
    text = inspect.getdoc(_class_of(code)) or ""
    return " ".join(text.partition("\n\n")[0].split())


def example_of(code: str) -> TandemError:
    """Returns an error with this code and its meaning as message, for the documentation."""
    return _class_of(code)(meaning_of(code))


def has_retry_after(code: str) -> bool:
    """Returns whether the answer has a Retry-After header."""
    return STATUS[code] in (429, 503) or _class_of(code).retryable


@cache  # the schema asks for each code on each of its routes
def _class_of(code: str) -> type[TandemError]:
    return {vars(each)["code"]: each for each in _tree(TandemError) if "code" in vars(each)}[code]


def _tree(root: type[TandemError]) -> Iterator[type[TandemError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def error_body(code: str, message: str, detail: Mapping[str, object]) -> dict[str, object]:
    return {"error": {"code": code, "message": message, "detail": dict(detail)}}


def error_headers(error: TandemError, status: int) -> dict[str, str]:
    headers = {}
    if status in (429, 503) or error.retryable:
        headers["Retry-After"] = str(error.detail.get("retry_after_s", RETRY_AFTER_SECONDS))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def validation_error(errors: Sequence[Mapping[str, object]]) -> TandemError:
    """Names the wrong fields and the reasons, without repeating the input, which may be huge, secret or not text.
    Unknown field names are input too: they are shortened."""
    problems = []
    for error in errors[:MAX_PROBLEMS]:
        place = error["loc"]
        assert isinstance(place, tuple)
        field = ".".join(str(part)[:MAX_NAME_CHARACTERS] for part in place if part != "body") or "body"
        message = str(error["msg"])
        if error["type"] == "json_invalid":
            return InvalidJson(f"The body is not valid JSON: {message}.")
        if error["type"] == "extra_forbidden":
            message = "there is no such field"
        problems.append({"field": field, "problem": message})
    text = "; ".join(f"{problem['field']}: {problem['problem']}" for problem in problems)
    kind = next((TEXT_ERRORS[error["type"]] for error in errors if error["type"] in TEXT_ERRORS), InvalidRequest)
    return kind(text, problems=problems)
