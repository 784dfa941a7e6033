"""A node as its users meet it: a process on a small disk, reached over HTTP, with models that take as long as a test
wants. Tests share it, and it has to keep what all of them were promised."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx
import psutil

from tests.support.faults.small_disk import SmallDisk
from tests.support.models.model_server import ModelServer
from tests.support.nodes.ingesting import Sender, check_everything, until_ready
from tests.support.nodes.killable_process import KillableProcess, killable_process
from tests.support.waiting import free_port, wait_until

API_KEY = "key-of-chaos"
SEARCH_DEADLINE_S = 4
ENGINE_STALL_S = 5
DISK_RESERVE_MB = 3
REQUEST_S = 2
MAX_STREAMS = 40
DISK_BYTES = 64 * 2**20
SETTINGS = {
    "TANDEM_API_KEYS": API_KEY,
    "TANDEM_SEARCH_DEADLINE_SECONDS": str(SEARCH_DEADLINE_S),
    "TANDEM_ENGINE_STALL_SECONDS": str(ENGINE_STALL_S),
    "TANDEM_DISK_RESERVE_MB": str(DISK_RESERVE_MB),
    "TANDEM_REQUEST_SECONDS": str(REQUEST_S),
    "TANDEM_MAX_STREAMS": str(MAX_STREAMS),
    "TANDEM_LEASE_SECONDS": "5",
}
MINILM = {"TANDEM_MODELS": "minilm", "TANDEM_ENFORCE_EAGER": "true"}
"""Real models in engines of the node's own, that start within half a minute."""


@dataclass
class ServedNodeUnderLoad:
    process: KillableProcess
    url: str
    models: ModelServer
    """Both models; `seconds` is what each request to them takes."""
    disk: SmallDisk | None
    """What the data folder lies on; None where none could be mounted."""
    sent: dict[str, str] = field(default_factory=dict)
    """Text of every document that a client was told is stored, by id."""

    @asynccontextmanager
    async def client(self, *, seconds: float = 60) -> AsyncIterator[httpx.AsyncClient]:
        """One with a key, and with as many connections as it likes."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=seconds, limits=limits) as http:
            yield http

    async def ingest(self, http: httpx.AsyncClient, documents: Mapping[str, str]) -> None:
        """As a client that does not give up; returns when all are searchable."""
        sender = Sender(http)
        await sender.send(documents)
        await sender.until_ended(seconds=60)
        self.sent.update(documents)

    async def delete(self, http: httpx.AsyncClient, name: str) -> None:
        answer = await http.delete(f"/documents/{name}")
        assert answer.status_code == 204, answer.text
        self.sent.pop(name, None)

    async def delete_when_done(self, http: httpx.AsyncClient, job_id: str, name: str) -> None:
        """Waits for the job of a document that is not to stay."""
        sender = Sender(http)
        sender.jobs.append(job_id)
        await sender.until_ended(seconds=60)
        await self.delete(http, name)

    async def check(self, http: httpx.AsyncClient) -> int:
        """Everything promised is found, whole, and nothing else; catalog and store agree. Returns the chunks."""
        await until_ready(http)
        return await check_everything(http, self.sent)

    def ready(self) -> bool:
        assert self.process.running(), self.process.said()
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def megabytes(self) -> float:
        """Memory of the node's process."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6


@contextmanager
def served_node(folder: Path, models: Mapping[str, str], disk: SmallDisk | None) -> Iterator[ServedNodeUnderLoad]:
    """One that is ready, and holds nothing. Its data lies on `disk`, or in `folder` without one."""
    server = ModelServer(free_port())
    server.start()
    port = free_port()
    settings = {
        "TANDEM_EMBED_URL": server.url,
        "TANDEM_RERANK_URL": server.url,
        **SETTINGS,
        **models,
        "TANDEM_DATA_DIR": str((disk.folder if disk else folder) / "data"),
    }
    with killable_process(["serve", "--port", str(port)], folder / "node.log", settings) as process:
        node = ServedNodeUnderLoad(process, f"http://127.0.0.1:{port}", server, disk)
        wait_until(node.ready, seconds=150)
        yield node
    server.stop()


@dataclass
class Health:
    """What /health said while something was wrong with a node."""

    slowest_s: float = 0.0
    live: bool = True
    said: dict[str, str] = field(default_factory=dict)
    """Of each check that was not in order, its last detail."""
    not_ready_after_s: float | None = None
    """Until readiness was first denied."""

    async def watch(self, http: httpx.AsyncClient) -> None:
        """Asks until it is cancelled."""
        started = monotonic()
        while True:
            for path in ("/health/live", "/health/ready"):
                asked = monotonic()
                answer = await http.get(path, timeout=30)
                self.slowest_s = max(self.slowest_s, monotonic() - asked)
                if path == "/health/live":
                    self.live &= answer.status_code == 200
                elif answer.status_code == 503:
                    if self.not_ready_after_s is None:
                        self.not_ready_after_s = monotonic() - started
                    checks = answer.json()["checks"]
                    self.said |= {name: check["detail"] for name, check in checks.items() if not check["ok"]}
            await asyncio.sleep(0.1)


@asynccontextmanager
async def health_of(http: httpx.AsyncClient) -> AsyncIterator[Health]:
    """Watches /health within."""
    health = Health()
    watching = asyncio.create_task(health.watch(http))
    try:
        yield health
    finally:
        watching.cancel()
        found = (await asyncio.gather(watching, return_exceptions=True))[0]
        if not isinstance(found, asyncio.CancelledError) and isinstance(found, BaseException):
            raise found
