"""The API's documentation as a page, which needs nothing from any other host."""

from typing import Final

from fastapi import APIRouter, Response

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


@router.get("/docs")
async def page() -> Response:
    return named_file(PAGE, "docs.html", HEADERS)


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    return named_file(ASSETS, name, HEADERS)
