"""What the page loads besides itself: its style sheet, its script and htmx, all from this node."""

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
        STATIC / "page" / "tandem.css",
        STATIC / "page" / "tandem.js",
        STATIC / "page" / "icon.svg",
        STATIC / "htmx" / "htmx.min.js",
    )
}


@router.get("/ui/static/{name}")
async def asset(name: str) -> Response:
    if name not in ASSETS:
        raise HTTPException(404)
    path = ASSETS[name]
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Response(_content(path), headers=headers, media_type=guess_type(path.name)[0])


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()
