"""`tandem worker` as a process of its own, on PostgreSQL, Milvus 2.3.5 and a node that leaves ingestion to it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import httpx
import psycopg
import pytest
import pytest_asyncio

from app.cli.exit_codes import Exit
from app.main import create_app
from app.node.node import Components
from app.settings import Settings
from ingestion.blobs.folder import FolderBlobStore
from ingestion.catalog.catalog import SqlCatalog
from ingestion.parsers.process import ProcessParser
from retrieval.models.folder import read_tokenizer
from retrieval.stores.milvus.store import MilvusStore
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import Listening, listening
from tests.support.stores.stores import ServerProcess
from tests.support.waiting import free_port, until

ROOT = Path(__file__).parents[3]
KEY = "key-of-the-node"


class WorkerProcess:
    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self.started = monotonic()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli.main", "worker"],
                env={**os.environ, "TANDEM_LOG_JSON": "true", **environment},
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ended(self) -> bool:
        return self.process.poll() is not None

    async def says(self, words: str, *, seconds: float = 60) -> None:
        await until(lambda: words in self.log or self.ended(), seconds=seconds)
        assert words in self.log, self.log

    async def ends(self, *, seconds: float = 30) -> int:
        await until(self.ended, seconds=seconds)
        assert self.process.returncode is not None
        return self.process.returncode


@contextmanager
def working(log: Path, environment: Mapping[str, str]) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(log, environment)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()


@pytest.fixture
def environment(postgres_url: str, milvus_server: ServerProcess, tmp_path: Path) -> dict[str, str]:
    """What a worker and its node have in common; the node's own address comes later."""
    return {
        "TANDEM_MODELS": "minilm",
        "TANDEM_ENGINE": "node",
        "TANDEM_NODE_URL": f"http://127.0.0.1:{free_port()}",
        "TANDEM_ENGINE_API_KEY": KEY,
        "TANDEM_DATABASE_URL": postgres_url,
        "TANDEM_MILVUS_URI": milvus_server.uri,
        "TANDEM_DATA_DIR": str(tmp_path / "data"),
    }


@pytest_asyncio.fixture
async def node(environment: dict[str, str], minilm_folder: Path) -> AsyncIterator[Listening]:
    """Without workers of its own; its model is the double, which cuts as minilm does."""
    data = Path(environment["TANDEM_DATA_DIR"])
    tokenizer = read_tokenizer(minilm_folder)
    components = Components(
        embedder=FakeEmbedder(tokenizer=tokenizer, max_tokens=254),
        reranker=FakeReranker(),
        store=MilvusStore(environment["TANDEM_MILVUS_URI"]),
        catalog=SqlCatalog(environment["TANDEM_DATABASE_URL"]),
        blobs=FolderBlobStore(data / "originals"),
        parser=ProcessParser(processes=1),
    )
    settings = Settings(data_dir=data, selftest_margin=False, workers=0, api_keys=KEY)  # type: ignore[arg-type]
    async with listening(create_app(settings, components)) as node:
        environment["TANDEM_NODE_URL"] = node.url
        yield node


@pytest_asyncio.fixture
async def http(node: Listening) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=node.url, headers=headers, timeout=60) as http:
        yield http
        await http.delete("/collections/docs")  # other tests use the Milvus server, too


def leased(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM documents WHERE lease_token IS NOT NULL").fetchone()
    assert row is not None
    return int(row[0])


async def depth(http: httpx.AsyncClient) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith("tandem_ingest_queue_documents ")).split()[1])


def documents(count: int) -> list[dict[str, object]]:
    return [
        {"id": f"d{number}", "text": f"Kiln number {number} is held for {number} hours."} for number in range(count)
    ]


async def test_documents_of_a_node_are_ingested_by_a_worker_which_drains(
    http: httpx.AsyncClient, environment: dict[str, str], tmp_path: Path
) -> None:
    posted = await http.post("/ingest", json={"documents": documents(30)})
    assert posted.status_code == 202, posted.text
    assert await depth(http) == 30
    with working(tmp_path / "worker.log", environment) as worker:
        job: dict[str, object] = {}
        until_time = datetime.now(UTC) + timedelta(seconds=90)
        while job.get("state") not in ("succeeded", "partial", "failed"):
            assert datetime.now(UTC) < until_time, worker.log
            assert not worker.ended(), worker.log
            job = (await http.get(f"/jobs/{posted.json()['job_id']}")).json()
        assert job["state"] == "succeeded", job
        assert await depth(http) == 0
        found = await http.post("/search", json={"query": "kiln number 17", "top_k": 1, "candidates": 30})
        assert found.json()["hits"][0]["document_id"] == "d17"
        # It is told to stop in the middle of work: what it has not finished stays for others, nothing stays leased.
        more = [{"id": f"m{number}", "text": "The kiln cools. " * 400} for number in range(100)]
        assert (await http.post("/ingest", json={"documents": more})).status_code == 202
        await until(lambda: leased(environment["TANDEM_DATABASE_URL"]) > 0)
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ends() == 0, worker.log
        assert leased(environment["TANDEM_DATABASE_URL"]) == 0, worker.log
        assert "workers stopped" in worker.log
        assert KEY not in worker.log
        assert "cools" not in worker.log


async def test_a_drain_that_takes_too_long_gives_the_leases_back(
    http: httpx.AsyncClient, environment: dict[str, str], tmp_path: Path
) -> None:
    url = environment["TANDEM_DATABASE_URL"]
    with working(tmp_path / "worker.log", {**environment, "TANDEM_DRAIN_SECONDS": "0"}) as worker:
        long = [{"id": f"l{number}", "text": "The kiln cools. " * 3000} for number in range(60)]
        assert (await http.post("/ingest", json={"documents": long})).status_code == 202
        await until(lambda: leased(url) > 0)
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ends() == 0, worker.log
        assert leased(url) == 0
        assert '"released": 0' not in worker.log, worker.log
        assert await depth(http) > 0


async def test_a_worker_waits_for_its_node_and_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    with working(tmp_path / "worker.log", {**environment, "TANDEM_WORKER_METRICS_PORT": str(port)}) as worker:
        await worker.says("is the server running?")
        async with httpx.AsyncClient() as http:
            said = (await http.get(f"http://127.0.0.1:{port}/metrics")).raise_for_status().text
            (await http.get(f"http://127.0.0.1:{port}/health/live")).raise_for_status()
            waiting = await http.get(f"http://127.0.0.1:{port}/health/ready")
        assert waiting.status_code == 503
        assert environment["TANDEM_NODE_URL"] in waiting.json()["checks"]["worker"]["detail"]
        assert "tandem_ingest_document_seconds_count 0.0" in said
        assert "tandem_engine_" not in said  # its node counts them
        assert environment["TANDEM_NODE_URL"] in worker.log
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ends(seconds=10) == 0


async def test_a_worker_is_ready_while_it_reaches_its_node(
    node: Listening, environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    with working(tmp_path / "worker.log", {**environment, "TANDEM_WORKER_METRICS_PORT": str(port)}) as worker:
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as probe,
            httpx.AsyncClient(base_url=node.url, headers={"Authorization": f"Bearer {KEY}"}) as http,
        ):
            assert (await http.post("/ingest", json={"documents": documents(1)})).status_code == 202
            await worker.says('"event": "working"')
            assert (await probe.get("/health/ready")).json() == {
                "ready": True,
                "phase": "serving",
                "checks": {
                    name: {"ok": True, "detail": "ok"}
                    for name in ("worker", "catalog", "store", "embedder", "blobs", "parser", "disk")
                },
            }
            await http.delete("/collections/docs")
            await node.stop()
            checks: dict[str, dict[str, object]] = {}
            until_time = monotonic() + 60
            while checks.get("embedder", {"ok": True})["ok"]:
                assert monotonic() < until_time, worker.log
                checks = (await probe.get("/health/ready")).json()["checks"]
                await asyncio.sleep(0.5)
            assert [name for name, check in checks.items() if not check["ok"]] == ["embedder"]
            assert (await probe.get("/health/live")).json() == {"live": True}


async def test_a_worker_that_does_not_see_the_originals_touches_nothing(
    http: httpx.AsyncClient, environment: dict[str, str], tmp_path: Path
) -> None:
    assert (await http.post("/ingest", json={"documents": documents(3)})).status_code == 202
    elsewhere = {**environment, "TANDEM_DATA_DIR": str(tmp_path / "elsewhere")}
    with working(tmp_path / "worker.log", elsewhere) as worker:
        await worker.says("A worker must see those of the node")
        assert await depth(http) == 3
        worker.process.send_signal(signal.SIGINT)
        assert await worker.ends(seconds=10) == 0


async def test_what_no_waiting_mends_ends_it_with_one_line(
    node: Listening, environment: dict[str, str], tmp_path: Path
) -> None:
    del node
    with working(tmp_path / "worker.log", {**environment, "TANDEM_ENGINE_API_KEY": "wrong"}) as worker:
        assert await worker.ends(seconds=60) == Exit.MACHINE
        assert "tandem: TANDEM_ENGINE_API_KEY: " in worker.log.splitlines()[-1]
