"""Routes that speak another product's wire: their errors, in the shape that its clients parse."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.errors import STATUS, error_headers, validation_error
from retrieval.errors import InvalidRequest, TandemError

BAD_REQUEST = {415: 400, 422: 400, 501: 400}
"""What those products call 400: their clients know no other status for a wrong request."""


class FaceRoute(APIRoute):
    """A route whose errors have a shape of their own."""

    def shaped(self, error: TandemError, status: int) -> dict[str, object]:
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except TandemError as error:
                return self._response(error)
            except RequestValidationError as error:
                return self._response(validation_error(error.errors()))
            except HTTPException as error:  # a body that cannot be read
                return self._response(InvalidRequest(str(error.detail)))

        return answer

    def _response(self, error: TandemError) -> JSONResponse:
        told = STATUS.get(error.code, 500)
        status = BAD_REQUEST.get(told, told)
        return JSONResponse(self.shaped(error, status), status, error_headers(error))


class OpenAIRoute(FaceRoute):
    def shaped(self, error: TandemError, status: int) -> dict[str, object]:
        return {"error": _openai(error, status)}


class RerankRoute(FaceRoute):
    """Jina's clients read `detail`, vLLM's `error`."""

    def shaped(self, error: TandemError, status: int) -> dict[str, object]:
        return {"detail": error.message, "error": _openai(error, status)}


class CohereRoute(FaceRoute):
    def shaped(self, error: TandemError, status: int) -> dict[str, object]:
        del status  # is not part of the body
        return {"message": error.message, "code": error.code}


TYPES = {401: "authentication_error", 404: "not_found_error", 409: "conflict_error", 429: "rate_limit_error"}


def _openai(error: TandemError, status: int) -> dict[str, object]:
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"message": error.message, "type": kind, "param": _param(error), "code": error.code}


def _param(error: TandemError) -> str | None:
    """The first field that is wrong."""
    problems = error.detail.get("problems")
    if isinstance(problems, list) and problems:
        return str(problems[0]["field"])
    named = error.detail.get("param")
    return str(named) if named else None
