"""nginx before two nodes that share PostgreSQL and Milvus: a node that leaves, streams, a sub-path, limits."""

import asyncio
import json
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import pytest

from app.http.server.run import Server, connections_of, server_config
from app.main import create_app
from app.node.node import Components
from app.settings import Settings
from ingestion.blobs.folder import FolderBlobStore
from ingestion.catalog.catalog import SqlCatalog
from ingestion.parsers.process import ProcessParser
from retrieval.stores.milvus.store import MilvusStore
from retrieval.types import Embeddings, Lane, TextKind
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes import nginx
from tests.support.stores.stores import ServerProcess
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx, of Debian's package nginx-light")

DIMENSIONS = count(200)
"""One for each pair of nodes: the dimension is part of a collection's name in the Milvus that tests share."""
CLIENTS, SEARCHES = 6, 25
UNLIMITED = {"rate=50r/s": "rate=9999r/s", "rate=20r/s": "rate=9999r/s"}
TIGHT = {"client_max_body_size 100m;": "client_max_body_size 1m;", "rate=20r/s": "rate=1r/m", "burst=50": "burst=1"}


class HeldEmbedder(FakeEmbedder):
    """Documents are embedded once it is let go."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension=dimension)
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        if lane is Lane.BULK:
            await self.let_go.wait()
        return await super().embed(texts, kind=kind, lane=lane, instruction=instruction)


@dataclass(frozen=True, slots=True)
class ServedNode:
    port: int
    server: Server
    serving: asyncio.Task[None]
    embedder: HeldEmbedder

    async def stop(self) -> None:
        """As a signal would."""
        self.embedder.let_go.set()
        self.server.should_exit = True
        await self.serving


@asynccontextmanager
async def served(folder: Path, database: str, milvus: str, dimension: int) -> AsyncIterator[ServedNode]:
    """A node that `tandem serve` would make, but for its models, behind a proxy on this machine."""
    embedder = HeldEmbedder(dimension)
    components = Components(
        embedder=embedder,
        reranker=FakeReranker(),
        store=MilvusStore(milvus),
        catalog=SqlCatalog(database),
        blobs=FolderBlobStore(folder / "originals"),
        parser=ProcessParser(processes=1),
    )
    settings = Settings(
        data_dir=folder,
        models="minilm",
        selftest_margin=False,
        trusted_proxies=("127.0.0.1",),
        drain_seconds=5,
    )  # type: ignore[call-arg]
    app = create_app(settings, components)
    config = server_config(app, settings, connections_of(settings, app.state.metrics), stop_seconds=1)

    async def drain() -> None:
        await app.state.runner.drain()

    server = Server(config, app.state.in_flight, drain, drain_seconds=5)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port = listener.getsockname()[1]
        node = ServedNode(port, server, asyncio.create_task(server.serve(sockets=[listener])), embedder)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                await until(lambda: server.started, seconds=30)
                async with asyncio.timeout(90):
                    while (ready := await http.get("/health/ready")).status_code != 200:
                        assert "unable to start" not in ready.text
                        await asyncio.sleep(0.1)
            yield node
        finally:
            await node.stop()


@pytest.fixture
async def nodes(tmp_path: Path, postgres_url: str, milvus_server: ServerProcess) -> AsyncIterator[list[ServedNode]]:
    dimension = next(DIMENSIONS)
    async with AsyncExitStack() as stack:
        both = [served(tmp_path / "data", postgres_url, milvus_server.uri, dimension) for _ in range(2)]
        yield [await stack.enter_async_context(each) for each in both]


def ports(nodes: Sequence[ServedNode]) -> list[int]:
    return [node.port for node in nodes]


def client(proxy: nginx.Nginx) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=proxy.url, verify=proxy.trust, timeout=60)


async def ready_documents(http: httpx.AsyncClient) -> set[str]:
    answer = await http.get("/documents", params={"collection": "docs", "limit": 1000})
    return {each["id"] for each in answer.json()["documents"] if each["state"] == "ready"}


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "nginx"
    folder.mkdir()
    return folder


async def test_a_node_that_leaves_loses_no_request_that_one_retry_does_not_heal(
    tmp_path: Path, nodes: list[ServedNode]
) -> None:
    found: Counter[str] = Counter()
    half = asyncio.Event()

    async def ask(http: httpx.AsyncClient, number: int) -> None:
        for turn in range(SEARCHES):
            document = {"id": f"{number}-{turn}", "text": f"Kiln {number} is held at {turn} degrees."}
            for path, body in (
                ("/search", {"query": "how hot is the kiln?"}),
                ("/ingest", {"documents": [document]}),
            ):
                for attempt in ("first", "second", "lost"):
                    try:
                        status = (await http.post(path, json=body)).status_code
                    except httpx.TransportError:
                        status = 0
                    if status in (200, 202):
                        found[attempt] += 1
                        break
                    assert status in (0, 502, 503, 504), status
            if number == 0 and turn == SEARCHES // 3:
                half.set()

    async with (
        nginx.serving(
            folder_of(tmp_path), ports(nodes), **{"rate=50r/s": "rate=9999r/s", "rate=20r/s": "rate=9999r/s"}
        ) as proxy,
        client(proxy) as http,
    ):
        asking = [asyncio.create_task(ask(http, number)) for number in range(CLIENTS)]
        await half.wait()
        await nodes[0].stop()
        await asyncio.gather(*asking)
        assert found["lost"] == 0
        assert found["second"] == 0  # nginx has healed what there was
        assert found["first"] + found["second"] == 2 * CLIENTS * SEARCHES
        wanted = {f"{number}-{turn}" for number in range(CLIENTS) for turn in range(SEARCHES)}
        async with asyncio.timeout(60):
            while wanted != await ready_documents(http):
                await asyncio.sleep(0.2)


async def test_events_pass_as_they_come(tmp_path: Path, nodes: list[ServedNode]) -> None:
    async with nginx.serving(folder_of(tmp_path), ports(nodes)) as proxy, client(proxy) as http:
        for node in nodes:
            node.embedder.let_go.clear()
        job = (await http.post("/ingest", json={"documents": [{"id": "one", "text": "The kiln is hot."}]})).json()
        async with asyncio.timeout(30), http.stream("GET", f"/jobs/{job['job_id']}/events") as events:
            lines = events.aiter_lines()
            first = await until_data(lines)
            assert json.loads(first)["state"] in ("queued", "running")  # nobody has embedded it: this is no end
            for node in nodes:
                node.embedder.let_go.set()
            last = first
            while '"succeeded"' not in last:
                last = await until_data(lines)


async def until_data(lines: AsyncIterator[str]) -> str:
    """Of the next event."""
    async for line in lines:
        if line.startswith("data:"):
            return line.removeprefix("data:")
    raise AssertionError("the stream ended without an event")


async def test_a_sub_path_works_for_all_that_the_service_shows(tmp_path: Path, nodes: list[ServedNode]) -> None:
    async with nginx.serving(folder_of(tmp_path), ports(nodes), prefix="/tandem") as proxy, client(proxy) as http:
        document = {"id": "a/b c", "text": "The kiln is held at 1280 degrees."}
        (await http.post("/ingest", json={"documents": [document], "wait": True})).raise_for_status()
        [hit] = (await http.post("/search", json={"query": "kiln"})).raise_for_status().json()["hits"]
        assert hit["document_id"] == "a/b c"
        assert (await http.get("/documents/a%2Fb%20c")).status_code == 200
        docs = await http.get("/docs")
        assert 'src="docs/docs.js"' in docs.text  # relative: from /tandem/docs it leads to /tandem/docs/docs.js
        assert (await http.get("/docs/docs.js")).status_code == 200
        assert (await http.get("/openapi.json")).json()["servers"] == [{"url": "/tandem", "description": "This node"}]
        page = await http.get("/")
        assert page.status_code == 200
        assert 'href="/tandem/ui/documents"' in page.text
        assert 'href="/ui/' not in page.text
        assert (await http.get("/ui/static/tandem.css")).status_code == 200
        documents = await http.get("/ui/documents")
        assert 'href="/tandem/ui/documents" aria-current="page"' in documents.text
        changed = await http.post("/ui/language", data={"language": "zh", "next": "/tandem/ui/documents"})
        assert changed.headers["location"] == "/tandem/ui/documents"
        outside = await http.get(proxy.url.removesuffix("/tandem") + "/search")
        assert outside.status_code == 404


async def test_limits_and_tls(tmp_path: Path, nodes: list[ServedNode]) -> None:
    async with nginx.serving(folder_of(tmp_path), ports(nodes), **TIGHT) as proxy, client(proxy) as http:
        assert (await http.get(proxy.plain_url + "/health/live")).headers["location"].startswith("https://127.0.0.1")
        answer = await http.get("/health/ready")
        assert (answer.status_code, "Strict-Transport-Security" in answer.headers) == (200, True)
        assert (await http.post("/search", content=b"x" * (2 * 2**20))).status_code == 413
        assert "tandem_ready 1.0" in (await http.get("/metrics")).text
        statuses = [(await http.post("/ingest", json={"documents": []})).status_code for _ in range(5)]
        assert statuses.count(429) == 3
        other = await http.post("/ingest", json={"documents": []}, headers={"Authorization": "Bearer another"})
        assert other.status_code != 429
