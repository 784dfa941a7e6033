"""The page over HTTP: what it shows, what it refuses, and that it goes no way around the services."""

import asyncio
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import pytest

from app.cli.evaluate.run import parse
from app.main import create_app
from app.settings import Settings
from app.ui.assets import ASSETS
from retrieval.device.devices import Device, Devices
from retrieval.device.engine_memory import EngineDemand
from retrieval.device.gate import Gate, GateOptions
from retrieval.device.planner import DeviceMemory, plan
from retrieval.evaluation.datasets import load_dataset
from retrieval.models.shapes import KNOWN_SHAPES
from tests.support.nodes.node import NodeUnderTest, running

NASTY = '<script>alert("x")</script><img src=x onerror=alert(1)>\'"&'


@pytest.fixture(scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    async with running(tmp_path_factory.mktemp("page"), max_documents=50) as node:
        await node.ingest(
            *(
                {"id": f"harbour/{number}.txt", "title": f"Harbour {number}", "text": f"Lantern and harbour {number}."}
                for number in range(8)
            ),
            {"id": f"nasty{NASTY}", "title": NASTY, "text": f"Harbour {NASTY}", "metadata": {"note": NASTY}},
        )
        yield node


class _Handlers(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}" for name, _ in attrs if name.startswith("on") or name == "style"]


def handlers(text: str) -> list[str]:
    """Attributes of the page that would run a script or set a style."""
    parser = _Handlers()
    parser.feed(text)
    return parser.found


def token(text: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', text)
    assert found
    return found[1]


async def sign_in(http: httpx.AsyncClient, key: str) -> None:
    answer = await http.post("/ui/login", data={"key": key, "next": "/"})
    assert answer.status_code == 303, answer.text


async def test_browsers_keep_files_until_their_content_changes(page: NodeUnderTest) -> None:
    text = (await page.http.get("/")).text
    addresses = set(re.findall(r'(?:href|src)="(/ui/static/[^"]+)"', text))
    assert {address.partition("?")[0].rpartition("/")[2] for address in addresses} == set(ASSETS)
    for address in addresses:
        answer = await page.http.get(address)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        for other in (address.partition("?")[0], address.replace("?v=", "?v=0")):
            assert (await page.http.get(other)).headers["Cache-Control"] == "no-cache"
    assert (await page.http.get("/ui/static/other.css?v=1")).status_code == 404


async def test_a_search_shows_what_both_stages_did(page: NodeUnderTest) -> None:
    answer = await page.http.get("/", params={"q": "harbour 3", "top_k": "4"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    hits = re.findall(r'<li id="hit-(\d+)">', answer.text)
    assert hits == ["1", "2", "3", "4"]
    assert "harbour/3.txt" in answer.text
    assert answer.text.count("<line ") >= 4
    for stage in ("embed", "recall", "rerank", "other"):
        assert f'class="key {stage}"' in answer.text
    assert "orders the answer" in answer.text
    assert "TandemRetriever(url=&#39;http://127.0.0.1&#39;" in answer.text


async def test_what_was_degraded_is_said_in_words(page: NodeUnderTest) -> None:
    answer = await page.http.get("/", params={"q": "harbour", "rerank": "off"})
    assert "it was not requested" in answer.text


async def test_filters_are_built_from_fields(page: NodeUnderTest) -> None:
    query = {"q": "harbour", "filter_key": "document_id", "filter_op": "eq", "filter_value": "harbour/5.txt"}
    answer = await page.http.get("/", params=query)
    assert re.findall(r'<li id="hit-(\d+)">', answer.text) == ["1"]
    wrong = await page.http.get("/", params={"q": "harbour", "candidates": "many"})
    assert "candidates: &#39;many&#39; is not a number." in wrong.text


async def test_two_settings_side_by_side(page: NodeUnderTest) -> None:
    answer = await page.http.get("/ui/compare", params={"q": "harbour 3", "mode": "sparse", "b_mode": "dense"})
    assert answer.text.count('<ol class="hits brief">') == 2
    assert "hits have another place in B than in A." in answer.text
    # What the second column leaves out, the first one says.
    same = await page.http.get("/ui/compare", params={"q": "harbour 3", "mode": "sparse"})
    assert re.search(r"<p>0 / \d+ hits have another place", same.text)


async def test_a_comparison_keeps_what_both_settings_share(page: NodeUnderTest) -> None:
    shared = {"top_k": "3", "filter_key": "document_id", "filter_op": "ne", "filter_value": "harbour/3.txt"}
    answer = await page.http.get("/ui/compare", params={"q": "harbour", "mode": "sparse", **shared})
    assert answer.text.count('<span class="place">') == 6
    assert "id=harbour/3.txt" not in unquote(answer.text)
    assert "id=harbour/2.txt" in unquote(answer.text)
    # The form sends them again.
    assert 'name="top_k" value="3"' in answer.text
    assert 'name="filter_value" value="harbour/3.txt"' in answer.text
    assert "<details open>" in answer.text


@pytest.mark.parametrize("path", ["/", "/ui/documents", "/ui/document", "/ui/jobs", "/ui/compare"])
async def test_text_of_documents_is_never_markup(page: NodeUnderTest, path: str) -> None:
    answer = await page.http.get(path, params={"q": f"harbour {NASTY}", "id": f"nasty{NASTY}", "top_k": "50"})
    assert answer.status_code == 200
    assert NASTY not in answer.text
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    if path in ("/", "/ui/documents", "/ui/document"):
        assert NASTY in unescape(answer.text)
    assert handlers(answer.text) == []


async def test_a_document_shows_its_chunks_and_its_original(page: NodeUnderTest) -> None:
    text = "\n\n".join(f"Paragraph {number} of the long text tells of its own subject." for number in range(200))
    await page.ingest({"id": "long", "text": text}, chunking={"max_tokens": 64, "overlap": 16})
    answer = await page.http.get("/ui/document", params={"id": "long"})
    chunks = re.findall(r'<section class="chunk"', answer.text)
    record = (await page.http.get("/documents/long")).json()
    assert len(chunks) == record["chunks"] > 5
    assert '<span class="repeated">' in answer.text
    # Overlaps left out, the blocks are the text again.
    shown = re.sub(r'<span class="repeated">.*?</span>', "", answer.text, flags=re.DOTALL)
    blocks = re.findall(r'<p class="text">(.*?)</p>', shown, flags=re.DOTALL)
    assert "".join(unescape("".join(blocks)).split()) == "".join(text.split())
    original = await page.http.get("/ui/original", params={"id": "long"})
    assert original.content.decode() == text
    assert original.headers["content-disposition"].startswith("attachment")


async def test_files_are_ingested_watched_and_deleted(page: NodeUnderTest) -> None:
    form = token((await page.http.get("/ui/documents")).text)
    files = [
        (
            "files",
            ("a/one.txt", b"The first lighthouse."),
        ),
        ("files", ("a/two.txt", b"The second lighthouse.")),
    ]
    sent = await page.http.post("/ui/upload", data={"csrf": form, "collection": "docs"}, files=files)
    assert sent.status_code == 303
    job = sent.headers["location"]

    await page.http.get(f"{job}/events")  # which end with the job
    events = await page.http.get(f"{job}/events")
    assert events.text.startswith("event: ended")
    told = (await page.http.get(job)).text
    assert "one.txt" in told
    assert job.rpartition("/")[2][:12] in (await page.http.get("/ui/jobs")).text
    gone = await page.http.post("/ui/document/delete", data={"csrf": form, "collection": "docs", "id": "a/one.txt"})
    assert gone.status_code == 303
    assert (await page.http.get("/documents/a/one.txt")).status_code == 404


async def test_a_title_that_was_read_from_the_document_is_shown(page: NodeUnderTest) -> None:
    await page.ingest({"id": "sea.md", "text": "# The open sea\n\nNo harbour is near.", "media_type": "text/markdown"})
    assert "<h1>The open sea</h1>" in (await page.http.get("/ui/document", params={"id": "sea.md"})).text
    assert ">The open sea</a><br><small>sea.md</small>" in (await page.http.get("/ui/documents")).text
    assert (await page.http.get("/documents/sea.md")).json()["title"] == "The open sea"
    assert (await page.http.get("/documents/sea.md/text")).json()["title"] == "The open sea"


async def test_a_failed_document_is_tried_again(page: NodeUnderTest) -> None:
    form = token((await page.http.get("/ui/documents")).text)
    sent = await page.http.post(
        "/ui/upload", data={"csrf": form, "collection": "docs"}, files={"files": ("broken.pdf", b"%PDF-1.7 broken")}
    )
    job = sent.headers["location"]

    await page.http.get(f"{job}/events")  # which end with the job
    assert "Retry the failed documents" in (await page.http.get(job)).text
    again = await page.http.post(f"{job}/retry", data={"csrf": form})
    assert again.status_code == 303
    assert again.headers["location"] != job
    await page.http.get(f"{again.headers['location']}/events")


async def test_the_list_of_jobs_is_live_while_one_is_unfinished(
    page: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "hx-trigger" not in (await page.http.get("/ui/jobs")).text
    computing, released = asyncio.Event(), asyncio.Event()
    embed = page.embedder.embed

    async def held(*args: Any, **options: Any) -> Any:
        computing.set()
        await released.wait()
        return await embed(*args, **options)

    monkeypatch.setattr(page.embedder, "embed", held)
    sent = await page.http.post("/ingest", json={"documents": [{"id": "slow", "text": "A slow lighthouse."}]})
    await computing.wait()
    assert 'hx-trigger="every 2s"' in (await page.http.get("/ui/jobs")).text
    released.set()
    await page.http.get(f"/ui/jobs/{sent.json()['job_id']}/events")  # which end with the job
    assert "hx-trigger" not in (await page.http.get("/ui/jobs")).text


async def test_collections_are_created_and_deleted(page: NodeUnderTest) -> None:
    form = token((await page.http.get("/ui/collections")).text)
    fields = {"csrf": form, "name": "manuals", "language": "zh", "max_tokens": "128", "metadata_keys": "year: int"}
    made = await page.http.post("/ui/collections", data={**fields, "section_prefix": "on"})
    assert made.headers["location"] == "/ui/collections/manuals"
    shown = (await page.http.get("/ui/collections/manuals")).text
    assert "year: int" in shown
    assert "put before the text of chunks" in shown
    assert (await page.http.get("/collections/manuals")).json()["section_prefix"] is True
    refused = await page.http.post("/ui/collections/manuals/delete", data={"csrf": form, "confirm": "docs"})
    assert refused.status_code == 422
    assert (await page.http.get("/collections/manuals")).status_code == 200
    gone = await page.http.post("/ui/collections/manuals/delete", data={"csrf": form, "confirm": "manuals"})
    assert gone.status_code == 303
    assert (await page.http.get("/collections/manuals")).status_code == 404


async def test_the_system_is_shown_and_audited(page: NodeUnderTest) -> None:
    text = (await page.http.get("/ui/system")).text
    assert text.count(">works<") >= 6
    assert "documents waiting" in (await page.http.get("/ui/system/live")).text
    audited = await page.http.post("/ui/system/audit", data={"csrf": token(text)})
    assert "Catalog, store and originals agree." in audited.text


async def test_judgements_become_a_judged_collection(page: NodeUnderTest, tmp_path: Path) -> None:
    form = token((await page.http.get("/", params={"q": "harbour"})).text)
    judged = [
        {"query": "harbour 3", "document_id": "harbour/3.txt", "relevant": True},
        {"query": "harbour 3", "document_id": "harbour/4.txt", "relevant": False},
    ]
    body = json.dumps({"collection": "docs", "judgements": judged})
    answer = await page.http.post("/ui/judgements", data={"csrf": form, "judgements": body})
    assert answer.status_code == 200, answer.text
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path)
    collection = load_dataset(tmp_path)
    assert list(collection.queries.values()) == ["harbour 3"]
    assert [(qrel.doc_id, qrel.relevance) for qrel in collection.qrels] == [("harbour/3.txt", 1), ("harbour/4.txt", 0)]
    assert "Lantern and harbour 3." in [passage.text for passage in collection.passages]


JUDGED = [
    {"query": "harbour 3", "document_id": "harbour/3.txt", "relevant": True},
    {"query": "harbour 5", "document_id": "harbour/5.txt", "relevant": True},
    {"query": "harbour 5", "document_id": "harbour/4.txt", "relevant": False},
    {"query": "nothing", "document_id": "harbour/4.txt", "relevant": False},
]


async def evaluated(
    http: httpx.AsyncClient, files: dict[str, object] | None = None, **fields: object
) -> tuple[str, str]:
    """Starts an evaluation and waits for its end; returns the address and the text of its page."""
    form = token((await http.get("/ui/evaluation")).text)
    body = {"judgements": json.dumps({"collection": "docs", "judgements": JUDGED})} if files is None else {}
    parts = files or {"judged": ("", b"")}
    started = await http.post("/ui/evaluation/runs", data={"csrf": form, **body, **fields}, files=parts)
    assert started.status_code == 303, started.text
    address = started.headers["location"]
    async with asyncio.timeout(60):
        while "hx-trigger" in (text := (await http.get(address)).text):
            await asyncio.sleep(0.05)
    return address, text


async def test_judgements_are_evaluated_on_the_page(page: NodeUnderTest) -> None:
    address, text = await evaluated(page.http, candidates="10")
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th><td class="figure">([^<]+)</td>', text)
    assert [name for name, _ in rows] == [
        each for mode in ("BM25", "dense", "hybrid") for each in (mode, f"{mode} + rerank")
    ]
    # The query without a relevant document does not count.
    assert "2 / 2 queries" in text
    saved = await page.http.get(f"{address}/results")
    run = parse(saved.content, "saved")
    assert run.candidates == 10
    [collection] = run.collections
    assert dict(collection.texts) == {"q1": "harbour 3", "q2": "harbour 5"}
    # The figures are those of the same searches through the API.
    for row in collection.rows:
        for query_id, query in collection.texts.items():
            top = {"top_k": row.pool or 100, "candidates": row.pool or 100}
            answer = await page.search(query, mode=row.mode, rerank=bool(row.pool), **top)
            ids = list(dict.fromkeys(hit["document_id"] for hit in answer["hits"]))  # type: ignore[attr-defined]
            wanted = query.replace(" ", "/") + ".txt"
            assert row.queries[query_id].measures["MRR@10"] == pytest.approx(1 / (ids.index(wanted) + 1))
    assert [f"{row.measures['nDCG@10']:.3f}" for row in collection.rows] == [figure for _, figure in rows]


async def test_two_runs_are_compared_with_a_way_to_the_search(page: NodeUnderTest) -> None:
    first, _ = await evaluated(page.http, candidates="10")
    results = json.loads((await page.http.get(f"{first}/results")).text)
    better = results["collections"][0]["rows"][-1]
    better["queries"]["q2"]["measures"]["nDCG@10"] = 0.125
    form = token((await page.http.get("/ui/evaluation")).text)
    saved, changed = (await page.http.get(f"{first}/results")).content, json.dumps(results).encode()
    opened = await page.http.post(
        "/ui/evaluation", data={"csrf": form}, files={"run": ("a.json", saved), "earlier": ("b.json", changed)}
    )
    link = re.search(r'<a href="/\?([^"]+)">harbour 5</a></th><td class="figure">0.125</td>', opened.text)
    assert link
    state = dict(parse_qsl(unescape(link[1])))
    assert state == {
        "q": "harbour 5",
        "collection": "docs",
        "mode": "hybrid",
        "rerank": "on",
        "candidates": "10",
    }
    assert 'id="hit-1"' in (await page.http.get(f"/?{unescape(link[1])}")).text
    second, _ = await evaluated(page.http, candidates="12")
    compared = await page.http.get(second, params={"earlier": first.rpartition("/")[2]})
    assert compared.text.count("(2 queries)") == 6


async def test_an_archive_is_evaluated_on_a_collection_that_holds_it(page: NodeUnderTest) -> None:
    form = token((await page.http.get("/ui/evaluation")).text)
    body = json.dumps({"collection": "docs", "judgements": JUDGED})
    archive = (await page.http.post("/ui/judgements", data={"csrf": form, "judgements": body})).content
    _, text = await evaluated(
        page.http, {"judged": ("mine.zip", archive)}, collection="docs", queries="1", candidates="10"
    )
    assert "<h2>mine</h2>" in text
    assert "1 / 1 queries" in text
    await page.http.post("/collections", json={"name": "empty"})
    for name, data, fields, reason in (
        ("mine.zip", archive, {"collection": "empty"}, "holds none of the documents that are judged relevant"),
        ("mine.zip", archive, {"queries": "501"}, "queries"),
        ("mine.zip", b"not an archive", {}, "mine.zip: not a ZIP archive"),
        ("mine.zip", zipped({"queries.jsonl": "{}"}), {}, "mine.zip: corpus.jsonl: cannot be read"),
        ("", b"", {}, "No file was chosen"),
    ):
        refused = await page.http.post(
            "/ui/evaluation/runs", data={"csrf": form, **fields}, files={"judged": (name, data)}
        )
        assert (refused.status_code, reason in unescape(refused.text)) == (422, True), refused.text


async def test_a_run_is_stopped_and_one_runs_at_a_time(page: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    form = token((await page.http.get("/ui/evaluation")).text)
    body = {"csrf": form, "judgements": json.dumps({"collection": "docs", "judgements": JUDGED})}
    parts = {"judged": ("", b"")}
    stuck = asyncio.Event()

    async def embed(*_: object, **__: object) -> None:
        await stuck.wait()

    monkeypatch.setattr(page.embedder, "embed", embed)
    started = await page.http.post("/ui/evaluation/runs", data=body, files=parts)
    address = started.headers["location"]
    second = await page.http.post("/ui/evaluation/runs", data=body, files=parts)
    assert (second.status_code, "An evaluation is running on this node" in second.text) == (429, True)
    assert (await page.http.post(f"{address}/cancel", data={"csrf": form})).status_code == 303
    assert "cancelled" in (await page.http.get(address)).text
    assert (await page.http.get(f"{address}/results")).status_code == 303


def zipped(members: dict[str, str]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return written.getvalue()


TAKE_FILES = ("/ui/upload", "/ui/evaluation", "/ui/evaluation/runs")
CHANGES = [
    "/ui/upload",
    "/ui/document/delete",
    "/ui/document/reingest",
    "/ui/judgements",
    "/ui/collections",
    "/ui/collections/docs/delete",
    "/ui/collections/docs/reembed",
    "/ui/collections/docs/rollback",
    "/ui/jobs/x/cancel",
    "/ui/jobs/x/retry",
    "/ui/system/audit",
    "/ui/evaluation",
    "/ui/evaluation/runs",
    "/ui/evaluation/runs/z/cancel",
    "/ui/keys",
    "/ui/keys/y/rotate",
    "/ui/keys/y/revoke",
]


@pytest.mark.parametrize("path", CHANGES)
async def test_a_change_needs_the_session_s_token(page: NodeUnderTest, path: str) -> None:
    for fields in ({}, {"csrf": "0" * 64}):
        data = {**fields, "collection": "docs", "id": "harbour/1.txt"}
        files = {"files": ("a.txt", b"a")} if path in TAKE_FILES else None
        answer = await page.http.post(path, data=data, files=files)
        assert answer.status_code == 403, path
        assert "The page has expired" in answer.text
    assert (await page.http.get("/documents/harbour/1.txt")).status_code == 200


async def test_every_change_of_the_page_is_in_this_list(page: NodeUnderTest) -> None:
    app = create_app(Settings(), page.components)
    posted = {
        route.path
        for route in app.routes
        if getattr(route, "path", "").startswith("/ui/") and "POST" in getattr(route, "methods", ())
    }
    public = {"/ui/login", "/ui/logout", "/ui/language"}
    names = {"docs": "{name}", "x": "{job_id}", "y": "{key_id}", "z": "{run_id}"}
    listed = {"/".join(names.get(part, part) for part in path.split("/")) for path in CHANGES}
    assert posted - public == listed


async def test_a_page_of_another_origin_changes_nothing(page: NodeUnderTest) -> None:
    form = token((await page.http.get("/ui/documents")).text)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await page.http.post("/ui/system/audit", data={"csrf": form}, headers=headers)
        assert answer.status_code == 403


@pytest.fixture(scope="module")
async def keyed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with running(tmp_path_factory.mktemp("keyed"), api_keys="a-key-of-this-node") as node:
        yield node.http


async def test_a_key_is_asked_for_and_kept_in_a_cookie(keyed: httpx.AsyncClient) -> None:
    asked = await keyed.get("/?q=harbour")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/ui/login?next=%2F%3Fq%3Dharbour"
    wrong = await keyed.post("/ui/login", data={"key": "guess", "next": "/"})
    assert (wrong.status_code, "not a key of this node" in wrong.text) == (401, True)
    right = await keyed.post("/ui/login", data={"key": "a-key-of-this-node", "next": "/?q=harbour"})
    assert (right.status_code, right.headers["location"]) == (303, "/?q=harbour")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert (await keyed.get("/?q=harbour")).status_code == 200
    # The cookie opens the page and nothing else: no other site's form can use it on the API.
    assert (await keyed.get("/collections")).status_code == 401
    await keyed.post("/ui/logout")
    assert (await keyed.get("/?q=harbour")).status_code == 303


async def test_keys_are_made_listed_rotated_and_revoked(keyed: httpx.AsyncClient) -> None:
    await sign_in(keyed, "a-key-of-this-node")
    form = token((await keyed.get("/ui/keys")).text)
    fields = {"csrf": form, "name": "a <b>reader</b>", "scopes": ["search"], "collections": "docs, manuals-*"}
    made = await keyed.post("/ui/keys", data={**fields, "days": "7", "requests_per_minute": "100"})
    assert made.status_code == 201, made.text
    assert "<b>reader</b>" not in made.text
    secret = re.search(r"<code>(tandem_[^<]+)</code>", made.text)
    id_ = re.search(r"key_[0-9a-f]+", made.text)
    assert secret
    assert id_
    listed = (await keyed.get("/ui/keys")).text
    assert secret[1] not in listed
    assert "docs, manuals-*" in listed
    stored = (await keyed.get(f"/keys/{id_[0]}", headers={"Authorization": "Bearer a-key-of-this-node"})).json()
    assert stored["limits"]["requests_per_minute"] == 100
    assert stored["expires_at"]
    rotated = await keyed.post(f"/ui/keys/{id_[0]}/rotate", data={"csrf": form})
    assert secret[1] not in rotated.text
    assert "tandem_" in rotated.text
    await keyed.post(f"/ui/keys/{id_[0]}/revoke", data={"csrf": form})
    assert ">ended<" in (await keyed.get("/ui/keys")).text
    log = (await keyed.get("/ui/audit-log", params={"action": "key.revoke"})).text
    assert log.count(id_[0]) == 1
    assert "key.create" not in log
    tree = '{"type": "eq", "key": "metadata.audience", "value": "<b>"}'
    filtered = await keyed.post("/ui/keys", data={"csrf": form, "name": "f", "scopes": ["search"], "filter": tree})
    assert filtered.status_code == 201, filtered.text
    assert "&#34;metadata.audience&#34;, &#34;value&#34;: &#34;&lt;b&gt;&#34;" in (await keyed.get("/ui/keys")).text
    grouped = {"csrf": form, "name": "g", "scopes": ["search"], "groups": "staff,  board"}
    assert (await keyed.post("/ui/keys", data=grouped)).status_code == 201
    assert "<td>board, staff</td>" in (await keyed.get("/ui/keys")).text
    assert (await keyed.post("/ui/keys", data={**grouped, "scopes": ["ingest"]})).status_code == 422
    for wrong in ("{type: eq}", "[" * 5000, "5"):
        refused = await keyed.post("/ui/keys", data={"csrf": form, "name": "f", "scopes": ["search"], "filter": wrong})
        assert refused.status_code == 422, wrong
        assert "filter: " in refused.text
    refused = await keyed.post("/ui/keys", data={"csrf": form, "name": "x", "days": "soon"})
    assert refused.status_code == 422
    assert "days: &#39;soon&#39; is not a whole number." in refused.text
    keyed.cookies.clear()


@pytest.mark.parametrize(
    ("scope", "views", "refused"),
    [
        ("search", ["/", "/ui/compare", "/ui/documents", "/ui/collections", "/ui/evaluation"], "/ui/jobs"),
        ("ingest", ["/ui/documents", "/ui/collections", "/ui/jobs"], "/ui/system"),
        ("manage", ["/ui/documents", "/ui/collections", "/ui/jobs"], "/ui/keys"),
    ],
)
async def test_a_key_sees_only_what_it_may(
    keyed: httpx.AsyncClient, scope: str, views: list[str], refused: str
) -> None:
    admin = {"Authorization": "Bearer a-key-of-this-node"}
    await keyed.post("/ingest", json={"documents": [{"id": "a", "text": "A harbour."}], "wait": True}, headers=admin)
    await keyed.post("/collections", json={"name": "hidden"}, headers=admin)
    body = {"name": scope, "scopes": [scope], "collections": ["docs"]}
    await sign_in(keyed, (await keyed.post("/keys", json=body, headers=admin)).json()["key"])
    shown = await keyed.get("/ui/documents")
    navigation = re.search("<nav.*?</nav>", shown.text, re.DOTALL)
    assert navigation
    assert re.findall('href="(/(?:ui/[a-z]+)?)"', navigation[0]) == views
    for view in views:
        answer = await keyed.get(view)
        assert answer.status_code == 200, (view, answer.text)
        assert "hidden" not in re.sub("<[^>]*>", "", answer.text)
    assert (await keyed.get(refused)).status_code == 403
    pages = "".join(
        [(await keyed.get(path)).text for path in ("/ui/documents", "/ui/document?id=a", "/ui/collections/docs")]
    )
    assert ("/ui/upload" in pages) == ("/ui/document/delete" in pages) == (scope == "ingest")
    assert ("/ui/collections/docs/delete" in pages) == (scope == "manage")
    assert ("A harbour." in pages) == ("/ui/original" in pages) == (scope == "search")
    first = await keyed.get("/")
    assert (first.status_code, first.headers.get("location")) == (
        (200, None) if scope == "search" else (303, "/ui/documents")
    )
    keyed.cookies.clear()


async def test_a_run_is_its_key_s_alone(keyed: httpx.AsyncClient) -> None:
    admin = {"Authorization": "Bearer a-key-of-this-node"}
    documents = [{"id": f"harbour/{number}.txt", "text": f"Lantern and harbour {number}."} for number in range(8)]
    await keyed.post("/ingest", json={"documents": documents, "wait": True}, headers=admin)
    await sign_in(keyed, "a-key-of-this-node")
    address, _ = await evaluated(keyed, candidates="10")
    keyed.cookies.clear()
    key = (await keyed.post("/keys", json={"name": "other", "scopes": ["search"]}, headers=admin)).json()
    await sign_in(keyed, key["key"])
    assert (await keyed.get(address)).headers["location"] == "/ui/evaluation"
    assert (await keyed.get(f"{address}/results")).status_code == 303
    assert address not in (await keyed.get("/ui/evaluation")).text
    keyed.cookies.clear()


async def test_the_devices_and_the_plan_of_their_memory_are_shown(tmp_path: Path) -> None:
    gigabyte = 10**9
    demand = EngineDemand("embedder", "Qwen3-Embedding-0.6B", KNOWN_SHAPES["Qwen/Qwen3-Embedding-0.6B"], 8192)
    devices = Devices([Device("0", Gate(GateOptions())), Device("1", Gate(GateOptions()))])
    async with running(tmp_path, devices=devices) as node:
        assert "There is none: no device reports its memory" in (await node.http.get("/ui/system")).text
        devices.plan = plan([demand], DeviceMemory(24 * gigabyte, name="A card"), step_tokens=8192)
        text = (await node.http.get("/ui/system")).text
    rows = dict(re.findall(r'<tr><th scope="row">(.*?)</th>.*?<td class="figure">(.*?)</td></tr>', text))
    assert rows["together"] == f"{devices.plan.engines[0].total_bytes / gigabyte:.2f}"
    assert "A card" in text
    assert {"0", "1"} <= rows.keys()


@pytest.mark.parametrize(
    "wanted", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
async def test_signing_in_leads_nowhere_else(keyed: httpx.AsyncClient, wanted: str) -> None:
    answer = await keyed.post("/ui/login", data={"key": "a-key-of-this-node", "next": wanted})
    assert answer.headers["location"] == "/"
    keyed.cookies.clear()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("en-GB,zh;q=0.5", "en"),
        ("fr", "en"),
        ("", "en"),
        ("en;q=x,zh;q=0.1", "zh-CN"),
    ],
)
async def test_the_language_is_the_browser_s(page: NodeUnderTest, accepted: str, language: str) -> None:
    answer = await page.http.get("/", headers={"Accept-Language": accepted})
    assert f'<html lang="{language}">' in answer.text


async def test_the_language_can_be_chosen(page: NodeUnderTest) -> None:
    await page.http.post("/ui/language", data={"language": "zh", "next": "/ui/jobs"})
    assert "任务" in (await page.http.get("/ui/jobs", headers={"Accept-Language": "en"})).text
    page.http.cookies.clear()


async def test_nothing_is_loaded_from_elsewhere_and_no_script_is_inline(page: NodeUnderTest) -> None:
    for path in ("/?q=harbour", "/ui/documents", "/ui/collections", "/ui/jobs", "/ui/system", "/ui/evaluation"):
        answer = await page.http.get(path)
        directives = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
        assert directives["default-src"] == "'none'"
        assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
        for link in re.findall(r'(?:src|href|action|hx-get)="([^"]*)"', answer.text):
            assert link.startswith(("/", "#")), link
            assert not link.startswith("//"), link
        assert re.findall(r"<script(?![^>]*\ssrc=)", answer.text) == []
        assert handlers(answer.text) == []
