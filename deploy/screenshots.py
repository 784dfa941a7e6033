"""Takes pictures of the page of a running node that holds the documents of `make demo`, for the documentation.

`make screenshots URL=http://127.0.0.1:8080`. Needs Chromium of the system, and a font with Chinese characters.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent / "docs" / "images"
VIEWS = {
    "search": "/?q=How+long+does+a+lease+last%3F&candidates=40",
    "compare": "/ui/compare?q=What+happens+when+the+disk+is+full%3F&mode=sparse&rerank=off&b_mode=hybrid&b_rerank=on",
    "documents": "/ui/documents",
    "document": "/ui/document?id=en/search.md",
    "system": "/ui/system",
}
MOST_BYTES = 150_000


def main(url: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is missing: apt-get install chromium")
    fonts = shutil.which("fc-list")
    if fonts and not subprocess.run([fonts, ":lang=zh"], capture_output=True, check=True).stdout:  # noqa: S603  # fixed
        raise SystemExit("No font has Chinese characters: apt-get install fonts-noto-cjk")
    HERE.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1100, "height": 760}, locale="en-GB").new_page()
        page.set_default_timeout(120_000)  # a busy CPU reranks slowly
        for name, path in VIEWS.items():
            page.goto(url + path)
            if page.locator(".problem").count():
                raise SystemExit(f"{url}{path}: {page.locator('.problem').first.inner_text()}")
            page.wait_for_timeout(2500)  # the live figures come after two seconds
            target = HERE / f"{name}.png"
            page.screenshot(path=target)
            size = target.stat().st_size
            if size > MOST_BYTES:
                raise SystemExit(f"{target}: {size:,} bytes; at most {MOST_BYTES:,}.")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
