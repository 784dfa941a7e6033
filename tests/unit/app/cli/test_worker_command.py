"""What `tandem worker` insists on before it starts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.cli.node import worker
from app.cli.node.worker import require_shared_parts, until_originals_are_visible
from app.settings import load_settings
from ingestion.blobs.folder import FolderBlobStore
from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import BlobStoreUnavailable
from ingestion.types import JobId
from retrieval.errors import ConfigurationError, Unavailable
from tests.support.models.fake_models import FakeEmbedder
from tests.support.stores.catalog import a_collection, a_document
from tests.support.waiting import until

SHARED = {
    "database_url": "postgresql://u:hunter2@h/d",
    "milvus_uri": "http://milvus:19530",
    "engine": "node",
    "node_url": "http://node:8080",
}


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[SqlCatalog]:
    catalog = SqlCatalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    await catalog.start()
    yield catalog
    await catalog.close()


def test_shared_parts_are_enough() -> None:
    require_shared_parts(load_settings(**SHARED))
    servers = {"engine": "http", "embed_url": "http://e", "rerank_url": "http://r"}
    require_shared_parts(load_settings(**SHARED | servers))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"database_url": None}, "TANDEM_DATABASE_URL: "),
        ({"database_url": "sqlite:///x"}, "TANDEM_DATABASE_URL: "),
        ({"milvus_uri": None}, "TANDEM_MILVUS_URI: "),
        ({"engine": "vllm"}, "TANDEM_ENGINE=vllm: "),
        ({"workers": 0}, "TANDEM_WORKERS=0: "),
    ],
)
def test_what_is_not_shared_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object], name: str
) -> None:
    for setting in change:
        monkeypatch.delenv(f"TANDEM_{setting.upper()}", raising=False)
    with pytest.raises(ConfigurationError) as refused:
        require_shared_parts(load_settings(**SHARED | change))
    assert refused.value.message.startswith(name)
    assert "\n" not in refused.value.message
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("url", [None, "node:8080"])
def test_a_node_needs_an_address(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match="TANDEM_NODE_URL"):
        load_settings(engine="node", node_url=url)


async def test_a_worker_sees_the_originals_or_says_that_it_does_not(catalog: SqlCatalog, tmp_path: Path) -> None:
    blobs, others = FolderBlobStore(tmp_path / "blobs"), FolderBlobStore(tmp_path / "others")
    document = a_document("d", "text")
    await blobs.start()
    await others.start()
    await blobs.put({document.sha256: b"text"})
    await catalog.add_collection(a_collection())
    await catalog.accept(JobId("j"), "docs", [document])
    await until_originals_are_visible(catalog, blobs)
    with pytest.raises(BlobStoreUnavailable, match="TANDEM_BLOBS"):
        await until_originals_are_visible(catalog, others)


async def test_vectors_are_compared_again_when_the_engine_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "WATCH_SECONDS", 0)
    embedder = FakeEmbedder()
    await embedder.start()
    compared: list[str | None] = []

    async def compare() -> None:
        compared.append(embedder.failure)
        if len(compared) == 1:
            raise Unavailable("gone again")

    watching = asyncio.create_task(worker.watch_engine(embedder, compare))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not compared  # it served all the time
    embedder.fail_with = Unavailable("gone")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not compared
    embedder.fail_with = None
    await until(lambda: len(compared) == 2, seconds=5)  # the first comparison failed
    for _ in range(5):
        await asyncio.sleep(0)
    watching.cancel()
    assert compared == [None, None]
