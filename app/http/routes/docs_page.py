"""The API's documentation as a page, which needs nothing from any other host."""

from functools import cache
from mimetypes import guess_type
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from app import ROOT

router = APIRouter(include_in_schema=False)

STATIC: Final = ROOT / "app" / "ui" / "static"
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
    return _answer(STATIC / "docs.html")


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    if name not in ASSETS:
        raise HTTPException(404)
    return _answer(ASSETS[name])


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


def _answer(path: Path) -> Response:
    return Response(_content(path), headers=HEADERS, media_type=guess_type(path.name)[0])
