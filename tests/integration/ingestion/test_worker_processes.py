"""A node whose worker processes ingest for it, on SQLite and Milvus 2.3.5."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio

from app.cli.node.worker import listen_for_work
from app.main import create_app
from app.node import worker_processes
from app.node.node import Components
from app.node.worker_processes import WorkerProcesses
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.wiring.components import build_worker_processes
from ingestion.blobs.folder import FolderBlobStore
from ingestion.catalog.catalog import SqlCatalog
from ingestion.notifications import Notifications
from ingestion.parsers.process import ProcessParser
from ingestion.types import Collection
from retrieval.errors import ConfigurationError
from retrieval.models.folder import read_tokenizer
from retrieval.stores.milvus.store import MilvusStore
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.patching import replace_in
from tests.support.stores.stores import ServerProcess
from tests.support.waiting import free_port, until

ROOT = Path(__file__).parents[3]
DIMENSION = 24
"""Keeps its collections apart from those that other tests leave in the same Milvus."""


@dataclass
class Parallel:
    http: httpx.AsyncClient
    processes: WorkerProcesses
    catalog: SqlCatalog

    async def ingest(self, collection: str, count: int) -> Counter[str]:
        """Documents of the job by status, once it has ended."""
        documents = [{"id": f"{collection}{n}", "text": f"Kiln {n} cools for {n} hours."} for n in range(count)]
        answer = await self.http.post("/ingest", json={"collection": collection, "documents": documents})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = {"state": "queued"}
        async with asyncio.timeout(90):
            while job["state"] not in ("succeeded", "partial", "failed"):
                await asyncio.sleep(0.1)
                job = (await self.http.get(f"/jobs/{answer.json()['job_id']}")).json()
        return Counter(receipt["status"] for receipt in job["documents"])

    async def metric(self, name: str) -> float:
        """Value of a sample in the node's metrics; 0 if there is none."""
        lines = (await self.http.get("/metrics")).text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    async def until_working(self) -> None:
        assert await self.ingest("docs", 1) == {"ready": 1}


@pytest_asyncio.fixture
async def parallel(milvus_server: ServerProcess, minilm_folder: Path, tmp_path: Path) -> AsyncIterator[Parallel]:
    settings = Settings(
        data_dir=tmp_path,
        port=free_port(),
        models="minilm",
        milvus_uri=milvus_server.uri,
        worker_processes=2,
        selftest_margin=False,
    )
    processes = build_worker_processes(settings, "a key")
    assert processes is not None
    catalog = SqlCatalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    components = Components(
        embedder=FakeEmbedder(dimension=DIMENSION, tokenizer=read_tokenizer(minilm_folder), max_tokens=254),
        reranker=FakeReranker(),
        store=MilvusStore(milvus_server.uri),
        catalog=catalog,
        blobs=FolderBlobStore(tmp_path / "originals"),
        parser=ProcessParser(processes=1),
        worker_processes=processes,
    )
    with pytest.MonkeyPatch.context() as patch:
        # As the settings of a node come from there, so do those of its processes.
        patch.setenv("TANDEM_MODELS", "minilm")
        patch.setenv("TANDEM_MILVUS_URI", milvus_server.uri)
        async with (
            listening(create_app(settings, components), settings.port) as node,
            httpx.AsyncClient(base_url=node.url, timeout=60) as http,
        ):
            yield Parallel(http, processes, catalog)
            await http.delete("/collections/docs")


async def test_they_ingest_come_back_when_killed_and_end_with_the_node(parallel: Parallel) -> None:
    await parallel.until_working()
    first = list(parallel.processes.pids)
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    assert await parallel.ingest("docs", 200) == {"ready": 199, "unchanged": 1}
    # Of 200 documents the node itself has ingested none. What the killed one counted last is lost.
    counted = 'tandem_ingest_outcomes_total{code="",outcome="ready"}'
    async with asyncio.timeout(10):
        while await parallel.metric(counted) < 100:
            await asyncio.sleep(0.1)
    assert await parallel.metric("tandem_ingest_document_seconds_count") == await parallel.metric(counted)
    assert await parallel.metric('tandem_store_calls_total{operation="upsert",outcome="ok"}') > 0
    await until(lambda: len(parallel.processes.pids) == 2)
    assert first[1] in parallel.processes.pids
    assert first[0] not in parallel.processes.pids
    pids = list(parallel.processes.pids)
    await parallel.processes.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_the_node_keeps_what_goes_into_collections_of_other_models(parallel: Parallel) -> None:
    """They know one model, and there is none to embed with here: it is the node that says so."""
    await parallel.until_working()
    docs: Collection = await parallel.catalog.collection("docs")
    other = replace(docs, name="moved", store_name=docs.store_name, fingerprint=replace(docs.fingerprint, model="m2"))
    await parallel.catalog.add_collection(other)
    stopped = [psutil.Process(pid) for pid in parallel.processes.pids]
    for process in stopped:
        process.suspend()
    try:
        assert await parallel.ingest("moved", 1) == {"failed": 1}
    finally:
        for process in stopped:
            process.resume()


async def test_none_that_lives_is_told(tmp_path: Path) -> None:
    processes = WorkerProcesses(2, {}, drain_seconds=0, command=[sys.executable, "-c", "raise SystemExit(6)"])
    await processes.start(Notifications())
    try:
        await until(lambda: processes.failure is not None)
        assert "None of the 2 worker processes runs" in str(processes.failure)
    finally:
        await processes.stop()
    assert processes.failure is None


async def test_one_that_the_system_gives_no_process_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first start, and after its death."""
    refused = 0
    monkeypatch.setattr("app.node.worker_processes.FIRST_PAUSE_SECONDS", 0.01)

    async def refuse(*args: Any, **kwargs: Any) -> Any:
        nonlocal refused
        if refused % 4 == 3:
            return await asyncio.create_subprocess_exec(*args, **kwargs)
        refused += 1
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    replace_in(monkeypatch, worker_processes, "asyncio", create_subprocess_exec=refuse)
    processes = WorkerProcesses(1, {}, drain_seconds=0, command=[sys.executable, "-c", "input()"])
    await processes.start(Notifications())
    try:
        assert "None of the 1 worker processes runs" in str(processes.failure)
        await until(lambda: processes.failure is None)
        refused += 1
        os.kill(processes.pids[0], signal.SIGKILL)
        await until(lambda: processes.failure is not None)
        await until(lambda: processes.failure is None)
        assert refused == 7
    finally:
        await processes.stop()


async def test_one_that_hangs_is_killed_with_what_it_began_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beats are those of the real one; only the work is missing."""
    monkeypatch.setattr("app.node.worker_processes.TICK_SECONDS", 0.2)
    monkeypatch.setattr("app.node.worker_processes._SILENT_TICKS", 20)
    child = tmp_path / "child"
    beating = (
        "import asyncio, pathlib, subprocess\n"
        "import app.cli.node.worker as worker\n"
        "parser = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(parser.pid))\n"
        "worker.TICK_SECONDS = 0.2\n"
        "asyncio.run(worker.send_heartbeats(0, lambda: b'\\n'))\n"
    )
    processes = WorkerProcesses(1, {}, drain_seconds=0, command=[sys.executable, "-c", beating])
    await processes.start(Notifications())
    try:
        await until(lambda: child.exists() and child.read_text() != "", seconds=60)
        [first], parser = processes.pids, psutil.Process(int(child.read_text()))
        await asyncio.sleep(6)  # longer than it may be silent
        assert processes.pids == [first]
        os.kill(first, signal.SIGSTOP)
        await until(lambda: processes.pids not in ([], [first]))
        assert not psutil.pid_exists(first)
        assert not parser.is_running() or parser.status() == psutil.STATUS_ZOMBIE
    finally:
        await processes.stop()
    psutil.Process(int(child.read_text())).kill()


async def test_what_they_count_is_reported() -> None:
    """The reports are those of the real one; only the work is missing."""
    counting = (
        "import asyncio\n"
        "import app.cli.node.worker as worker\n"
        "from app.telemetry.metrics import Metrics\n"
        "from app.telemetry.reported import Increments\n"
        "metrics = Metrics()\n"
        "metrics.chunks.labels('computed').inc(3)\n"
        "metrics.parser.observe((), 'ok', 0.5)\n"
        "asyncio.run(worker.send_heartbeats(0, Increments(metrics.registry).line))\n"
    )
    node = Metrics()
    processes = WorkerProcesses(2, {}, drain_seconds=0, command=[sys.executable, "-c", counting])
    processes.report_to(node.registry.add)

    def chunks() -> float | None:
        return node.registry.get_sample_value("tandem_ingest_chunks_total", {"vectors": "computed"})

    await processes.start(Notifications())
    try:
        await until(lambda: chunks() == 6, seconds=60)
        # A process that is started again counts from zero, and what the first one counted stays.
        os.kill(processes.pids[0], signal.SIGKILL)
        await until(lambda: chunks() == 9, seconds=60)
    finally:
        await processes.stop()
    assert node.registry.get_sample_value("tandem_parser_call_seconds_sum") == 1.5


async def test_they_get_the_settings_and_not_the_keys_of_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"TANDEM_API_KEYS", "TANDEM_API_KEYS_FILE", "HF_TOKEN", "GITHUB_TOKEN"}
    wanted = {"TANDEM_DATABASE_URL", "TANDEM_MILVUS_TOKEN", "TANDEM_S3_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "HF_HOME"}
    wanted.add("OTEL_EXPORTER_OTLP_HEADERS")  # workers send traces of their own
    for name in secrets | wanted:
        monkeypatch.setenv(name, "alpha-key")
    own = {"TANDEM_ENGINE": "node"}
    processes = WorkerProcesses(1, own, drain_seconds=0, command=[sys.executable, "-c", "input()"])
    await processes.start(Notifications())
    try:
        process = psutil.Process(processes.pids[0])
        await until(lambda: "PATH" in process.environ())  # it is empty while the program is loaded
        environment = process.environ()
    finally:
        await processes.stop()
    assert {name for name, value in environment.items() if value == "alpha-key"} == wanted
    assert environment.items() >= own.items()


async def test_they_hear_of_what_was_queued(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    heard.touch()
    listen = f"import sys; [open({str(heard)!r}, 'a').write('news ') for _ in sys.stdin]"
    processes, work_arrived = (
        WorkerProcesses(2, {}, drain_seconds=0, command=[sys.executable, "-c", listen]),
        Notifications(),
    )
    await processes.start(work_arrived)
    try:
        for count in (2, 4):
            await asyncio.sleep(0)
            work_arrived.announce()
            await until(lambda count=count: heard.read_text() == count * "news ")
    finally:
        await processes.stop()


async def test_what_they_hear_wakes_their_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb", buffering=0) as node:
        monkeypatch.setattr(sys, "stdin", stdin)
        work_arrived = Notifications()
        hearing = asyncio.create_task(listen_for_work(work_arrived))
        for _ in range(2):
            arrival = work_arrived.upcoming
            node.write(b"\n")
            await asyncio.wait_for(arrival.wait(), 10)
        node.close()
        await asyncio.wait_for(hearing, 10)


def test_a_worker_ends_when_the_node_that_started_it_is_killed(
    milvus_server: ServerProcess, tmp_path: Path, minilm_folder: Path
) -> None:
    del minilm_folder
    program = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'app.cli.main', 'worker', '--of-node']\n"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {
        "TANDEM_MODELS": "minilm",
        "TANDEM_ENGINE": "node",
        "TANDEM_NODE_URL": f"http://127.0.0.1:{free_port()}",
        "TANDEM_MILVUS_URI": milvus_server.uri,
        "TANDEM_DATA_DIR": str(tmp_path),
    }
    parent = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, **environment}, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    child.wait(timeout=40)


def test_milvus_lite_takes_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TANDEM_MILVUS_URI"):
        build_worker_processes(Settings(data_dir=tmp_path, worker_processes=2), "a key")
    no_slots = Settings(data_dir=tmp_path, worker_processes=2, workers=0, milvus_uri="http://milvus")
    with pytest.raises(ConfigurationError, match="TANDEM_WORKERS=0"):
        build_worker_processes(no_slots, "a key")
    assert build_worker_processes(Settings(data_dir=tmp_path), "a key") is None
