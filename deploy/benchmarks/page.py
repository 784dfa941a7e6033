"""Measures what the web page adds to a search, in Chromium, on a running node that holds deploy/docs: `python
deploy/benchmarks/page.py URL`.

Added time is what passes beyond the `total` of the answer: until Chromium has painted the answer, and until a client
has received the JSON of POST /search. Each query is sent once to each, alternating, after a warm-up with other queries.
"""

import shutil
import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter

import httpx
from playwright.sync_api import CDPSession, Page, sync_playwright

WARM_UP = ("What is an alias?",)
QUERIES = (
    "How long does a lease last?",
    "What happens when the disk is full?",
    "Which formats can be ingested?",
    "How do I rotate a key?",
    "What is a fingerprint?",
    "How is a collection moved to another model?",
    "When is reranking skipped?",
    "How do filters on metadata work?",
)
CANDIDATES = 10
PAINTED = """() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"""
IN_PLACE = """query => new Promise(resolve => {
  const begin = performance.now();
  addEventListener('htmx:after:swap', () => requestAnimationFrame(() => setTimeout(() =>
    resolve(performance.now() - begin))), {once: true});
  document.querySelector('input[name=q]').value = query;
  document.querySelector('form[role=search]').requestSubmit();
})"""
"""From the submission until the frame with the answer is painted, in ms."""


def total_on(page: Page) -> float:
    return float(page.locator("#answer .times strong").inner_text().split()[-2])


def opened(page: Page, url: str, query: str) -> float:
    """Opens the address of a search. Returns the added ms until the first paint, which shows the answer."""
    page.goto(f"{url}/?{httpx.QueryParams(q=query, candidates=CANDIDATES)}")
    painted = page.wait_for_function(PAINTED).json_value()
    return float(painted) - total_on(page)


def typed(page: Page, url: str, query: str) -> float:
    """Submits the form of an open page. Returns the added ms until the answer is painted."""
    page.goto(f"{url}/?{httpx.QueryParams(candidates=CANDIDATES)}")
    return float(page.evaluate(IN_PLACE, query)) - total_on(page)


def requested(client: httpx.Client, query: str) -> float:
    begin = perf_counter()
    answer = client.post("/search", json={"query": query, "candidates": CANDIDATES, "highlights": 2})
    ms = (perf_counter() - begin) * 1000
    return ms - float(answer.raise_for_status().json()["timings_ms"]["total"])


def transferred(cdp: CDPSession, page: Page, url: str) -> tuple[int, int]:
    """Returns the bytes (compressed, with headers) and the number of requests of a first visit with an answer."""
    sizes: list[float] = []
    cdp.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    cdp.send("Network.enable")
    cdp.send("Network.clearBrowserCache")
    page.goto(f"{url}/?{httpx.QueryParams(q=QUERIES[0], candidates=CANDIDATES)}", wait_until="networkidle")
    return int(sum(sizes)), len(sizes)


def line(name: str, added: Sequence[float]) -> str:
    return f"| {name} | {median(added):.0f} ms | {max(added):.0f} ms |"


def main(url: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright, httpx.Client(base_url=url, timeout=120) as client:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1100, "height": 760}, locale="en-GB").new_page()
        page.set_default_timeout(120_000)
        for query in WARM_UP:
            opened(page, url, query)
            typed(page, url, query)
            requested(client, query)
        times = []
        for each in QUERIES:
            times.append((requested(client, each), opened(page, url, each), typed(page, url, each)))
            print(each, *(f"{ms:.0f}" for ms in times[-1]), flush=True)  # noqa: T201
        api, address, form = zip(*times, strict=True)
        print("| Added to `total` | median | longest |\n| --- | --- | --- |")  # noqa: T201
        print(line("`POST /search`, received", api))  # noqa: T201
        print(line("address of a search, painted", address))  # noqa: T201
        print(line("form of an open page, painted", form))  # noqa: T201
        size, requests = transferred(page.context.new_cdp_session(page), page, url)
        print(f"A first visit with an answer transfers {size:,} bytes in {requests} requests.")  # noqa: T201
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
