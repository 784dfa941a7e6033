"""The page in a real browser. Each test ends with a console free of errors and no request to another host."""

import json
import re
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect

from tests.support.nodes.browser import a_folder, a_page, sign_in

pytestmark = pytest.mark.timeout(120)
AXE = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
PAGES = [
    "/?q=ash+glaze+of+kiln+7",
    "/ui/compare?q=kiln+7&mode=sparse&b_mode=dense",
    "/ui/documents",
    "/ui/document?id=kilns/7.md",
    "/ui/collections",
    "/ui/collections/docs",
    "/ui/jobs",
    "/ui/evaluation",
    "/ui/system",
    "/ui/keys",
    "/ui/audit-log",
]


async def test_a_search_is_typed_and_its_movement_seen(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        page = here.page
        await page.fill("input[name=q]", "ash glaze of kiln 7")
        await page.press("input[name=q]", "Enter")
        await expect(page.locator(".hits > li")).to_have_count(10)
        # The answer came into the page, and its address is the state.
        assert "q=ash+glaze+of+kiln+7" in page.url
        await expect(page.locator(".hits > li").first.locator(".title")).to_have_text("Kiln 7")
        await expect(page.locator(".slopes a")).to_have_count(10)
        drawn = await page.locator(".slopes a line").first.bounding_box()
        assert drawn is not None
        assert drawn["width"] > 50
        bar = page.locator(".times svg rect")
        assert await bar.count() == 4
        await page.locator(".why summary").first.click()
        await expect(page.locator(".why .deciding").first).to_contain_text("orders the answer")
        await page.go_back()
        await expect(page.locator(".hits > li")).to_have_count(0)


async def test_a_folder_is_ingested_watched_and_found(chromium: Browser, browsed: str, tmp_path: Path) -> None:
    async with a_page(chromium, browsed) as here:
        page = here.page
        await page.goto(f"{browsed}/ui/documents")
        await page.set_input_files("input[webkitdirectory]", a_folder(tmp_path / "notes"))
        await page.click("form.drop button")
        await page.wait_for_url("**/ui/jobs/*")
        await expect(page.locator("#progress .state")).to_have_text("succeeded", timeout=30_000)
        await expect(page.locator("tbody tr")).to_have_count(3)
        await expect(page.locator("tbody th", has_text="notes/below/clay.md")).to_have_count(1)
        await page.get_by_role("link", name="Search in them").click()
        await page.fill("input[name=q]", "celadon iron glaze")
        await page.press("input[name=q]", "Enter")
        await expect(page.locator(".hits .title").first).to_have_text("notes/glaze.txt")
        await page.locator(".hits .title").first.click()
        await expect(page.locator(".chunk .text")).to_contain_text("Celadon is a glaze")


async def test_a_file_is_dropped_on_the_page(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        page = here.page
        await page.goto(f"{browsed}/ui/documents")
        data = await page.evaluate_handle(
            "() => { const data = new DataTransfer();"
            " data.items.add(new File(['Raku is taken out of the kiln while it glows.'], 'raku.txt')); return data; }"
        )
        await page.dispatch_event("form.drop", "drop", {"dataTransfer": data})
        await page.wait_for_url("**/ui/jobs/*")
        await expect(page.locator("tbody th")).to_have_text("raku.txt")


async def test_a_document_is_deleted_after_a_question(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        page = here.page
        asked: list[str] = []

        async def answer(dialog: object) -> None:
            asked.append(dialog.message)  # type: ignore[attr-defined]
            await (dialog.accept() if len(asked) > 1 else dialog.dismiss())  # type: ignore[attr-defined]

        page.on("dialog", answer)
        await page.goto(f"{browsed}/ui/document?id=kilns/39.md")
        await page.click("button.danger")
        await expect(page.locator("h1")).to_have_text("Kiln 39")
        await page.click("button.danger")
        await page.wait_for_url("**/ui/documents?*")
        assert asked == ["Delete this document from the collection?"] * 2
        assert await page.locator("tbody th", has_text="kilns/39.md").count() == 0


async def test_hits_are_judged_and_saved(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed, accept_downloads=True) as here:
        page = here.page
        await page.goto(f"{browsed}/?q=kiln+3")
        await page.locator(".judge button[data-relevant=true]").first.click()
        await page.locator(".judge button[data-relevant=false]").nth(1).click()
        await expect(page.locator(".judgements .count")).to_have_text("2")
        await page.reload()
        await expect(page.locator(".judge button[aria-pressed=true]")).to_have_count(2)
        async with page.expect_download() as download:
            await page.locator(".judgements button").first.click()
        assert (await download.value).suggested_filename == "docs-judged.zip"
        await page.click("[data-forget]")
        await expect(page.locator(".judgements")).to_be_hidden()


async def test_judgements_are_evaluated(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        page = here.page
        await page.goto(f"{browsed}/?q=kiln+5")
        await page.locator(".judge button[data-relevant=true]").first.click()
        await page.get_by_role("button", name="Evaluate with them").click()
        await page.wait_for_url("**/ui/evaluation/runs/*")
        await expect(page.locator("#run .state")).to_have_text("succeeded", timeout=30_000)
        await expect(page.locator(".bars rect")).to_have_count(6)


async def test_the_figures_of_the_system_move(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        page = here.page
        await page.goto(f"{browsed}/ui/system")
        line = page.locator("[data-sparkline='documents waiting'] polyline")
        await expect(line).to_have_attribute("points", re.compile(r"^\S+( \S+)+$"), timeout=15_000)


async def test_results_of_an_evaluation_are_opened(chromium: Browser, browsed: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(a_run()))
    async with a_page(chromium, browsed) as here:
        page = here.page
        await page.goto(f"{browsed}/ui/evaluation")
        await page.set_input_files("input[name=run]", file)
        await page.click("form.results button")
        await expect(page.locator("h2").first).to_have_text("kilns")
        await expect(page.locator(".bars rect")).to_have_count(1)


async def test_a_key_is_made_used_and_revoked(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        page = here.page
        await page.goto(f"{browsed}/ui/keys")
        await page.fill("input[name=name]", "reader")
        await page.get_by_role("button", name="Create").click()
        secret = await page.locator("pre code").inner_text()
        async with a_page(chromium, browsed, signed_in=False) as readers:
            await sign_in(readers, secret)
            await expect(readers.page.get_by_role("link", name="System")).to_have_count(0)
            await readers.page.goto(f"{browsed}/ui/document?id=kilns/7.md")
            await expect(readers.page.locator(".chunk")).to_have_count(1)
            await expect(readers.page.locator("button.danger")).to_have_count(0)
        page.on("dialog", lambda dialog: dialog.accept())
        await page.goto(f"{browsed}/ui/keys")
        await page.get_by_role("button", name="Revoke").click()
        await expect(page.locator("td .state")).to_have_text("ended")


async def test_signing_in_and_out(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed, signed_in=False) as here:
        page = here.page
        await page.goto(f"{browsed}/?q=kiln+3")
        await page.wait_for_url("**/ui/login?*")
        await sign_in(here)
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/ui/login")


async def test_chinese_by_the_browser_and_by_choice(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed, signed_in=False, locale="zh-CN") as here:
        await here.page.goto(f"{browsed}/ui/login")
        await expect(here.page.locator("h1")).to_have_text("登录")
        await here.page.get_by_role("button", name="English").click()
        await expect(here.page.locator("h1")).to_have_text("Sign in")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_it(chromium: Browser, browsed: str, scheme: str) -> None:
    async with a_page(chromium, browsed, color_scheme=scheme, bypass_csp=True) as here:
        problems = []
        for path in PAGES:
            await here.page.goto(f"{browsed}{path}")
            found = await Axe().run(here.page, options=AXE)
            problems += [
                (path, each["id"], node["html"][:120])
                for each in found.response["violations"]
                for node in each["nodes"]
            ]
        assert problems == []


async def test_it_fits_a_narrow_screen(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed, viewport={"width": 400, "height": 800}) as here:
        for path in PAGES:
            await here.page.goto(f"{browsed}{path}")
            assert await here.page.evaluate("document.documentElement.scrollWidth") <= 400, path


async def test_it_works_from_the_keyboard(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        page = here.page
        await page.keyboard.type("kiln 5")
        await page.keyboard.press("Enter")
        await expect(page.locator(".hits > li")).to_have_count(10)
        for _ in range(60):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.matches('.hits .title')"):
                break
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/ui/document?*")


async def test_what_a_first_visit_transfers_is_small(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        sizes: dict[str, int] = {}

        async def measure(response: object) -> None:
            sizes[response.url] = (await response.request.sizes())["responseBodySize"]  # type: ignore[attr-defined]

        here.page.on("response", measure)
        await here.page.goto(f"{browsed}/?q=kiln+3", wait_until="networkidle")
        assert len(sizes) >= 4
        assert 0 < sum(sizes.values()) < 150_000, sizes


async def test_the_documentation_of_the_api_loads_nothing_from_elsewhere(chromium: Browser, browsed: str) -> None:
    async with a_page(chromium, browsed) as here:
        await here.page.goto(f"{browsed}/docs")
        await expect(here.page.locator(".opblock").first).to_be_visible(timeout=30_000)


def a_run() -> dict[str, object]:
    """As `tandem eval --json` writes it."""
    from retrieval.evaluation.metrics import MEASURES

    measures = dict.fromkeys(MEASURES, 0.5)
    query = {"measures": measures, "ms": {"client": 10.0, "total": 9.0}}
    row = {
        "mode": "hybrid",
        "pool": 50,
        "measures": measures,
        "latency_ms": {"client": {"median": 10.0, "p95": 12.0}},
        "queries": {"q1": query},
    }
    collection = {
        "name": "kilns",
        "digest": "d",
        "language": "en",
        "documents": 40,
        "left_out": 0,
        "chunks": 40,
        "judgements": 1,
        "models": {"embed": "e", "rerank": "r"},
        "fingerprint": {},
        "chunking": {},
        "store": None,
        "no_bm25": None,
        "ingest_seconds": 1.0,
        "rows": [row],
    }
    return {"tandem": "0.1.0", "candidates": 50, "collections": [collection]}
