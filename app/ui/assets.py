"""Files that pages load from this node: style sheets, scripts and icons, each named here."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
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


HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}


KEPT: Final = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/ui/static/{name}")
async def asset(name: str, v: str = "") -> Response:
    """A browser keeps a file that it asked for by its version, and loads it anew once a page names another version."""
    return named_file(ASSETS, name, KEPT if name in ASSETS and v == version(name) else HEADERS)


@cache
def version(name: str) -> str:
    """Returns a digest of the asset's content."""
    return sha256(_content(ASSETS[name])).hexdigest()[:16]


def address(name: str) -> str:
    """Returns the asset's path, without the prefix of a proxy, for as long as its content stays the same."""
    return f"/ui/static/{name}?v={version(name)}"


def named_file(files: Mapping[str, Path], name: str, headers: Mapping[str, str]) -> Response:
    """One of `files`, which are read once. Raises HTTPException 404 for another name."""
    if name not in files:
        raise HTTPException(404)
    return Response(_content(files[name]), headers=dict(headers), media_type=guess_type(name)[0])


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()
