"""The API's schema, and its documentation as a page, which needs nothing from any other host."""

from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from app.ui.assets import STATIC, named_file

router = APIRouter(include_in_schema=False)

PAGE: Final = {"docs.html": STATIC / "docs.html"}
ASSETS: Final = {
    path.name: path
    for path in (
        STATIC / "docs.js",
        *(STATIC / "swagger-ui" / name for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")),
    )
}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@router.get("/openapi.json")
async def schema(request: Request) -> JSONResponse:
    """The schema. Its one server is the path under which the caller reaches this node."""
    app: FastAPI = request.app
    found = app.openapi()
    (server,) = found["servers"]
    root = request.scope.get("root_path", "")
    return JSONResponse({**found, "servers": [{**server, "url": root or server["url"]}]})


@router.get("/docs")
async def page() -> Response:
    return named_file(PAGE, "docs.html", HEADERS)


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    return named_file(ASSETS, name, HEADERS)
