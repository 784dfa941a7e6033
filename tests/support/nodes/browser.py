"""Chromium of the system in front of a node with documents: each test has a page in a profile of its own."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

if TYPE_CHECKING:  # most test runs need no Playwright
    from playwright.async_api import Browser, BrowserContext, Page, Request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KEY = "a-key-for-the-browser"
PARAGRAPHS = [
    f"Kiln {number} is fired to cone {number % 9 + 2}. Ash glaze of the river clay melts there, and stoneware holds."
    for number in range(40)
]


@dataclass
class Watched:
    """A page, and what it did besides what was asked of it."""

    page: "Page"
    url: str
    errors: list[str] = field(default_factory=list)
    """Of the console, and of scripts."""
    foreign: list[str] = field(default_factory=list)
    """Requests to other hosts."""


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator["Browser"]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        # Without a sandbox, which root has not; it sees this node's pages only.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def browsed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Address of a node with documents and a key."""
    folder = tmp_path_factory.mktemp("browsed")
    app = create_app(
        Settings(data_dir=folder, selftest_margin=False, api_keys=KEY, max_documents=50),  # type: ignore[arg-type]
        real_but_for(FakeEmbedder(), FakeReranker(), folder),
    )
    async with listening(app) as found:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=found.url, headers=headers, timeout=60) as http:
            documents = [
                {"id": f"kilns/{number}.md", "title": f"Kiln {number}", "text": text}
                for number, text in enumerate(PARAGRAPHS)
            ]
            answer = await http.post("/ingest", json={"documents": documents, "wait": True})
            assert answer.status_code == 200, answer.text
        yield found.url


@asynccontextmanager
async def a_page(browser: "Browser", url: str, *, signed_in: bool = True, **options: object) -> AsyncIterator[Watched]:
    """In a profile of its own; `options` as for a browser context."""
    context: BrowserContext = await browser.new_context(**{"locale": "en-GB", **options})  # type: ignore[arg-type]
    watched = Watched(await context.new_page(), url)
    host = urlsplit(url).netloc

    def see(request: "Request") -> None:
        if urlsplit(request.url).netloc != host and not request.url.startswith(("data:", "blob:")):
            watched.foreign.append(request.url)

    watched.page.on("request", see)
    watched.page.on("console", lambda said: watched.errors.append(said.text) if said.type == "error" else None)
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    try:
        if signed_in:
            await sign_in(watched)
        yield watched
    finally:
        await context.close()
    assert watched.errors == []
    assert watched.foreign == []


async def sign_in(watched: Watched, key: str = KEY) -> None:
    await watched.page.goto(f"{watched.url}/")
    await watched.page.fill("input[name=key]", key)
    await watched.page.press("input[name=key]", "Enter")
    await watched.page.wait_for_selector("form[role=search]")


def a_folder(folder: Path) -> Path:
    """With three files, one of them below."""
    (folder / "below").mkdir(parents=True)
    (folder / "glaze.txt").write_text("Celadon is a glaze with a little iron.")
    (folder / "below" / "clay.md").write_text("# Clay\n\nStoneware clay vitrifies at cone ten.")
    (folder / "below" / "empty.txt").write_text("Porcelain is translucent.")
    return folder
