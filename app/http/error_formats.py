"""Formats errors: in the service's own format, and in those that clients of other products parse."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.errors import STATUS, error_body, error_headers
from app.http.compat.dify.schemas import DifyErrorOut
from app.http.compat.wire import CohereErrorOut, OpenAIErrorOut, RerankErrorOut
from app.http.schemas.wire import ErrorBody
from retrieval.errors import TandemError


@dataclass(frozen=True, slots=True)
class ErrorFormat:
    """The error format of a group of routes."""

    model: type[BaseModel]
    body: Callable[[TandemError, int], dict[str, object]]
    """Builds the body from the error and its status."""
    statuses: Mapping[int, int] = field(default_factory=dict)
    """Statuses that these products use instead of ours."""

    def status_of(self, code: str) -> int:
        status = STATUS.get(code, 500)
        return self.statuses.get(status, status)

    def response(self, error: TandemError) -> JSONResponse:
        status = self.status_of(error.code)
        return JSONResponse(self.body(error, status), status, error_headers(error, status))


def _native(error: TandemError, _: int) -> dict[str, object]:
    return error_body(error.code, error.message, error.detail)


def _openai(error: TandemError, status: int) -> dict[str, object]:
    types = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        409: "conflict_error",
        429: "rate_limit_error",
    }
    kind = types.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": error.message, "type": kind, "param": _param(error), "code": error.code}}


def _param(error: TandemError) -> str | None:
    """Returns the first wrong field."""
    problems = error.detail.get("problems")
    if isinstance(problems, list) and problems:
        return str(problems[0]["field"])
    named = error.detail.get("param")
    return str(named) if named else None


def _rerank(error: TandemError, status: int) -> dict[str, object]:
    """Formats an error for rerank clients: Jina's read `detail`, vLLM's `error`."""
    return {"detail": error.message, **_openai(error, status)}


def _cohere(error: TandemError, _: int) -> dict[str, object]:
    return {"message": error.message, "code": error.code}


def _dify(error: TandemError, status: int) -> dict[str, object]:
    code = {"unauthorized": 1002 if error.detail.get("key_given") else 1001, "collection_not_found": 2001}
    return {"error_code": code.get(error.code, status), "error_msg": f"{error.message} ({error.code})"}


BAD_REQUEST = {415: 400, 422: 400, 501: 400}
"""Clients that know no other status for a wrong request."""

NATIVE = ErrorFormat(ErrorBody, _native)
OPENAI = ErrorFormat(OpenAIErrorOut, _openai, BAD_REQUEST)
RERANK = ErrorFormat(RerankErrorOut, _rerank, BAD_REQUEST)
COHERE = ErrorFormat(CohereErrorOut, _cohere, BAD_REQUEST)
DIFY = ErrorFormat(DifyErrorOut, _dify, {401: 403})
"""Dify reports a wrong key when an endpoint is registered if the status is 403."""
