"""A client that does not give up, what it sends, and a look whether everything arrived as it was sent."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx

CHUNKING = {"max_tokens": 64, "overlap": 0}
MOST_CHUNKS = 90
"""Of a document, so that one search can bring all of them."""
_WORDS = (
    "kiln",
    "glaze",
    "copper",
    "ash",
    "river",
    "stone",
    "wheel",
    "clay",
    "flame",
    "cobalt",
    "salt",
    "cone",
    "slip",
)


def a_text(name: str, paragraphs: int) -> str:
    """About one chunk a paragraph, none like another, of this document or the next."""
    lines = []
    for number in range(paragraphs):
        words = " ".join(_WORDS[(number * 7 + place * place + len(name)) % len(_WORDS)] for place in range(36))
        lines.append(f"Paragraph {number} of {name}: {words}.")
    return "\n\n".join(lines)


class Sender:
    """Sends documents to a node that may be away, and sends again what got no answer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.jobs: list[str] = []
        self.unanswered = 0
        self.superseded = 0
        """Receipts of versions that a newer one overtook before they were processed."""

    async def send(self, documents: Mapping[str, str]) -> str:
        """Returns the job. Every document is alone in its partition, so that searches can look at it alone."""
        body = {
            "documents": [{"id": name, "text": text, "partition": name} for name, text in documents.items()],
            "chunking": CHUNKING,
        }
        headers = {"Idempotency-Key": uuid4().hex}
        while True:
            try:
                answer = await self._http.post("/ingest", json=body, headers=headers)
            except httpx.TransportError:
                self.unanswered += 1
            else:
                if answer.is_success:
                    self.jobs.append(answer.json()["job_id"])
                    return self.jobs[-1]
                assert answer.status_code in (429, 503), answer.text
            await asyncio.sleep(0.2)

    async def until_ended(self, *, seconds: float) -> None:
        """Every job that was answered for has ended, and failed at most in what a newer version had overtaken."""
        async with asyncio.timeout(seconds):
            for job_id in self.jobs:
                while (job := await self.job(job_id))["state"] in ("queued", "running"):
                    await asyncio.sleep(0.2)
                errors = [receipt["error"]["code"] for receipt in job["documents"] if receipt["error"]]
                assert set(errors) <= {"superseded"}, job
                self.superseded += len(errors)

    async def job(self, job_id: str) -> dict[str, Any]:
        return dict(await asked(self._http, "GET", f"/jobs/{job_id}", params={"limit": 1000}))


async def asked(http: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> Any:
    answer = await http.request(method, path, **arguments)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


async def documents_of(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await asked(http, "GET", "/documents", params={"limit": 200, **cursor})
        found += page["documents"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def check_everything(http: httpx.AsyncClient, sent: Mapping[str, str]) -> int:
    """Catalog, store and search agree on exactly what was sent: every document is found by a search, whole, in its
    last version and with no chunk twice, and an audit finds nothing. Returns the number of chunks."""
    documents = await documents_of(http)
    assert sorted(document["id"] for document in documents) == sorted(sent)
    assert [document for document in documents if document["state"] != "ready" or document["error"]] == []
    chunks = {document["id"]: document["chunks"] for document in documents}
    assert (await asked(http, "GET", "/collections/docs"))["chunks"] == sum(chunks.values())
    slots = asyncio.Semaphore(4)

    async def found_whole(name: str) -> None:
        async with slots:
            hits = await _hits_of(http, name)
        assert {hit["document_id"] for hit in hits} == {name}
        assert (
            len({hit["chunk_id"] for hit in hits}) == len({hit["start"] for hit in hits}) == len(hits) == chunks[name]
        )
        for hit in hits:
            assert hit["text"] == sent[name][hit["start"] : hit["end"]]
        covered = "".join(hit["text"] for hit in sorted(hits, key=lambda hit: int(hit["start"])))
        assert "".join(covered.split()) == "".join(sent[name].split())

    await asyncio.gather(*(found_whole(name) for name in sent))
    report = await asked(http, "POST", "/audit", json={})
    assert report["clean"], report["findings"]
    return sum(chunks.values())


async def _hits_of(http: httpx.AsyncClient, name: str) -> Sequence[Mapping[str, Any]]:
    question = {"query": "Which paragraph?", "mode": "dense", "partition": name, "top_k": 100, "rerank": False}
    return list((await asked(http, "POST", "/search", json=question))["hits"])


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        yield http


async def ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/health/ready", timeout=5)).status_code == 200
    except httpx.TransportError:
        return False


async def until_ready(http: httpx.AsyncClient, *, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await ready(http):
            await asyncio.sleep(0.05)
