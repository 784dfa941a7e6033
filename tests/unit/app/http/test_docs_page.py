"""The documentation page works without any other host."""

import re
from hashlib import sha256
from html.parser import HTMLParser

import httpx
import pytest

from app.http.routes.docs_page import STATIC
from tests.support.nodes.api import api

VENDORED = STATIC / "swagger-ui"
SUMS = VENDORED / "SHA256SUMS"


class Parts(HTMLParser):
    """What a page loads, and what it holds of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action"):
                self.links.append(value or "")
            elif name.startswith("on") or name == "style":
                self.inline.append(name)

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style") and data.strip():
            self.inline.append(data)


APP = api(api_keys="a-key")


async def answer(path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://127.0.0.1") as http:
        return await http.get(path)


async def test_the_page_loads_what_this_node_serves_and_nothing_else() -> None:
    page = await answer("/docs")
    assert page.status_code == 200
    parts = Parts()
    parts.feed(page.text)
    assert len(parts.links) == 4
    assert parts.inline == []
    for link in parts.links:
        assert re.fullmatch(r"docs/[\w.-]+", link)
        found = await answer(f"/{link}")
        assert (found.status_code, len(found.content) > 100) == (200, True)
        kind = {"js": "javascript", "css": "css", "png": "png"}[link.rpartition(".")[2]]
        assert kind in found.headers["content-type"]
    assert "//" not in page.text.replace("<!DOCTYPE", "")


async def test_the_browser_is_told_to_load_nothing_from_elsewhere() -> None:
    for path in ("/docs", "/docs/docs.js", "/docs/swagger-ui-bundle.js"):
        policy = (await answer(path)).headers["content-security-policy"]
        directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
        assert directives["default-src"] == "'none'"
        assert directives["script-src"] == directives["connect-src"] == "'self'"
        sources = {source for each in directives.values() for source in each.split()}
        assert sources <= {"'none'", "'self'", "'unsafe-inline'", "data:"}


def test_what_is_vendored_is_what_was_published() -> None:
    listed = dict(reversed(line.split("  ")) for line in SUMS.read_text().splitlines() if not line.startswith("#"))  # type: ignore[arg-type]
    here = {path.name: sha256(path.read_bytes()).hexdigest() for path in VENDORED.iterdir() if path != SUMS}
    assert listed == here
    assert {"LICENSE", "NOTICE", "swagger-ui-bundle.js", "swagger-ui.css"} <= here.keys()
    assert re.search(r"swagger-ui-dist \d+\.\d+\.\d+ ", SUMS.read_text())


def test_the_style_sheet_loads_nothing_by_itself() -> None:
    css = (VENDORED / "swagger-ui.css").read_text()
    assert all(url.startswith("data:") for url in re.findall(r"url\([\"']?([^)\"']*)", css))
    assert "@import" not in css


@pytest.mark.parametrize(
    "path", ["/redoc", "/docs/oauth2-redirect", "/docs/../main.py", "/docs/%2e%2e%2fmain.py", "/docs/LICENSE"]
)
async def test_nothing_else_is_served_there(path: str) -> None:
    assert (await answer(path)).status_code in (401, 404)
