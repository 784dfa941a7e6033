"""A node that leaves ingestion to `tandem worker` processes, on PostgreSQL and a Milvus server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import psycopg

from app.main import create_app
from app.node.node import Components
from app.settings import Settings
from ingestion.blobs.folder import FolderBlobStore
from ingestion.catalog.catalog import SqlCatalog
from ingestion.parsers.process import ProcessParser
from retrieval.models.folder import read_tokenizer
from retrieval.stores.milvus.store import MilvusStore
from tests.support.models.fake_models import FakeReranker
from tests.support.models.paced import PacedEmbedder
from tests.support.nodes.ingesting import Sender, a_text, client_of
from tests.support.nodes.killable_process import KillableProcess, killable_process
from tests.support.nodes.listening import listening
from tests.support.waiting import until

MINILM_WINDOW = 254
STARTS_S = 90


@dataclass
class Cluster:
    http: httpx.AsyncClient
    embedder: PacedEmbedder
    """The node's; all workers embed through it."""
    database: str
    workers: list[KillableProcess] = field(default_factory=list)

    async def until_working(self) -> None:
        """Leaves no document. Workers first make sure that they see the originals, for which there has to be one."""
        sender = Sender(self.http)
        await sender.send({"first": a_text("first", 1)})
        await self.until_started()
        await sender.until_ended(seconds=STARTS_S)
        (await self.http.delete("/documents/first")).raise_for_status()

    async def until_started(self) -> None:
        """Each says that it is working, also after its last start: one that is told to stop while Python still imports
        ends by the signal, not in good order."""
        for worker in self.workers:
            await until(lambda worker=worker: name_of(worker) is not None or not worker.running(), seconds=STARTS_S)
            assert worker.running(), worker.said()

    def leased(self) -> Mapping[str, str]:
        """Documents under a lease, and the name of the worker process that took it."""
        with psycopg.connect(self.database) as connection:
            rows = connection.execute("SELECT id, lease_worker FROM documents WHERE lease_token IS NOT NULL").fetchall()
        return {str(document): str(worker).rpartition("-")[0] for document, worker in rows}

    async def leased_by(self, worker: KillableProcess, *, seconds: float = 30) -> set[str]:
        """The documents that it has in work, as soon as there are any."""
        async with asyncio.timeout(seconds):
            while not (found := {document for document, name in self.leased().items() if name == name_of(worker)}):
                await asyncio.sleep(0.02)
        return found


def name_of(worker: KillableProcess) -> str | None:
    """What it calls itself since its last start; None while it is not working yet."""
    name = None
    for line in worker.log_since_start().splitlines():
        with suppress(orjson.JSONDecodeError):
            said = orjson.loads(line)
            name = said["worker"] if said.get("event") == "working" else name
    return name


@asynccontextmanager
async def cluster(
    folder: Path, *, database: str, milvus: str, minilm: Path, dimension: int, workers: int, **worker_settings: str
) -> AsyncIterator[Cluster]:
    """The dimension keeps its collection apart from those that other tests leave in the same Milvus."""
    data = folder / "data"
    embedder = PacedEmbedder(dimension=dimension, tokenizer=read_tokenizer(minilm), max_tokens=MINILM_WINDOW)
    components = Components(
        embedder=embedder,
        reranker=FakeReranker(),
        store=MilvusStore(milvus),
        catalog=SqlCatalog(database),
        blobs=FolderBlobStore(data / "originals"),
        parser=ProcessParser(processes=1),
    )
    settings = Settings(data_dir=data, selftest_margin=False, workers=0)  # type: ignore[arg-type]
    async with (
        listening(create_app(settings, components)) as node,
        client_of(node.url) as http,
        AsyncExitStack() as stack,
    ):
        environment = {
            "TANDEM_MODELS": "minilm",
            "TANDEM_ENGINE": "node",
            "TANDEM_NODE_URL": node.url,
            "TANDEM_DATABASE_URL": database,
            "TANDEM_MILVUS_URI": milvus,
            "TANDEM_DATA_DIR": str(data),
            "TANDEM_LOG_JSON": "true",
            **worker_settings,
        }
        found = Cluster(http, embedder, database)
        try:
            for number in range(workers):
                log = folder / f"worker-{number}.log"
                found.workers.append(stack.enter_context(killable_process(["worker"], log, environment)))
            yield found
        finally:
            await http.delete("/collections/docs")
