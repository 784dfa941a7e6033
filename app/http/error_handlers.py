"""Answers every error in the format of its route."""

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from app.errors import InvalidJson, error_body, validation_error
from app.http.tags import error_format_at
from retrieval.errors import NO_ROOM, InvalidRequest, StoreFull, TandemError

log = structlog.get_logger()


def install(app: FastAPI) -> None:
    @app.exception_handler(TandemError)
    async def tandem_error(request: Request, error: TandemError) -> JSONResponse:
        return error_format_at(request.scope).response(error)

    @app.exception_handler(RequestValidationError)
    async def request_error(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_format_at(request.scope).response(validation_error(error.errors()))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:
            is_form = request.headers.get("content-type", "").lower().startswith("multipart/")
            unreadable = InvalidRequest if is_form else InvalidJson
            return error_format_at(request.scope).response(unreadable(f"The body cannot be read: {error.detail}."))
        code, headers = "invalid_request", error.headers
        if error.status_code == 404:
            code = "route_not_found"
        elif error.status_code == 405:
            code = "method_not_allowed"
            # Starlette lists only the methods of the first route with this path.
            headers = {"Allow": ", ".join(sorted(_methods_at(app, request.scope)))}
        return JSONResponse(error_body(code, str(error.detail), {}), error.status_code, headers)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            log.error("the disk is full", path=request.url.path, reason=str(error.strerror))
            return error_format_at(request.scope).response(
                StoreFull("A disk is full (the data folder's, or /tmp): free space.")
            )
        log.error("defect while answering", path=request.url.path, exc_info=error)
        message = "A defect of the service; its log has the details under this request id."
        return error_format_at(request.scope).response(TandemError(message, request_id=request.state.request_id))


def _methods_at(app: FastAPI, scope: Scope) -> set[str]:
    routes = [route for route in app.routes if route.matches(scope)[0] is not Match.NONE]
    return {method for route in routes for method in getattr(route, "methods", None) or ()}
