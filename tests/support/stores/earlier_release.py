"""A data folder of an earlier version: the oldest schema of the catalog, and a collection in Milvus Lite without the
fields that came later. It is written with as little of today's code as can be."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from pymilvus import DataType, Function, FunctionType, MilvusClient
from sqlalchemy import create_engine, text

from ingestion.catalog import migrations
from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from retrieval.types import CollectionSpec, Lane, StoreName
from tests.support.models.fake_models import FakeEmbedder

COLLECTION = "docs"
STORE_NAME = StoreName("docs__0f1e2d3c4b5a")
ENGINE = "vllm-0.11"
"""What a fingerprint named besides the model."""
TEXTS = {
    topic: f"The {topic} stands in the yard and is used every day." for topic in ("kiln", "loom", "anvil", "lathe")
}
WHEN = datetime.now(UTC) - timedelta(days=2)
"""Recent enough for jobs to be kept."""


async def write_data_folder(folder: Path, embedder: FakeEmbedder) -> None:
    """Writes TEXTS, searchable, by id, and their job, into a folder that holds no data. `embedder` is started."""
    _write_originals(folder / "originals")
    _write_catalog(folder / "catalog.sqlite", embedder)
    await _write_vectors(folder / "milvus", embedder)


def _sha256(id_: str) -> str:
    return sha256(TEXTS[id_].encode()).hexdigest()


def _write_originals(root: Path) -> None:
    for id_, content in TEXTS.items():
        file = root / _sha256(id_)[:2] / _sha256(id_)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode())


def _write_catalog(file: Path, embedder: FakeEmbedder) -> None:
    fingerprint = {**asdict(embedder.fingerprint), "engine": ENGINE}
    when = WHEN.strftime("%Y-%m-%d %H:%M:%S.%f")
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        migrations.upgrade(connection, "0019")
        connection.execute(
            text(
                "INSERT INTO collections (name, store_name, fingerprint, language, max_tokens, overlap, created_at) "
                "VALUES (:name, :store_name, :fingerprint, 'mixed', 512, 64, :when)"
            ),
            {"name": COLLECTION, "store_name": STORE_NAME, "fingerprint": json.dumps(fingerprint), "when": when},
        )
        connection.execute(
            text("INSERT INTO jobs (id, collection, created_at) VALUES ('old', :name, :when)"),
            {"name": COLLECTION, "when": when},
        )
        for position, id_ in enumerate(TEXTS):
            metadata = {"year": 2020 + position}
            digest = sha256(json.dumps([_sha256(id_), "", "text/plain", "", metadata]).encode()).hexdigest()
            connection.execute(
                text(
                    "INSERT INTO documents (collection, id, sha256, size, media_type, title, partition, metadata, "
                    "max_tokens, overlap, digest, version, ingested_at, state, attempts, chunks, tokens, "
                    "truncated_tokens, searchable_at, available_at) VALUES (:name, :id, :sha256, :size, "
                    "'text/plain', '', '', :metadata, 512, 64, :digest, 1, :when, 'ready', 1, 1, 11, 0, :when, :when)"
                ),
                {
                    "name": COLLECTION,
                    "id": id_,
                    "sha256": _sha256(id_),
                    "size": len(TEXTS[id_]),
                    "metadata": json.dumps(metadata),
                    "digest": digest,
                    "when": when,
                },
            )
            connection.execute(
                text(
                    "INSERT INTO receipts (job_id, position, collection, document_id, version, status, chunks, tokens, "
                    "truncated_tokens, searchable_at) VALUES ('old', :position, :name, :id, 1, 'ready', 1, 11, 0, "
                    ":when)"
                ),
                {"position": position, "name": COLLECTION, "id": id_, "when": when},
            )
    engine.dispose()


async def _write_vectors(folder: Path, embedder: FakeEmbedder) -> None:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=512)
    schema.add_field("partition", DataType.VARCHAR, max_length=1024, is_partition_key=True)
    schema.add_field("document_id", DataType.VARCHAR, max_length=2048)
    words = {"enable_analyzer": True, "analyzer_params": {"tokenizer": "standard"}}
    schema.add_field("passage", DataType.VARCHAR, max_length=65_535, **words)
    schema.add_field("title", DataType.VARCHAR, max_length=4096)
    schema.add_field("media_type", DataType.VARCHAR, max_length=255)
    for name in ("ordinal", "start", "end", "page", "tokens", "ingested_at"):
        schema.add_field(name, DataType.INT64)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=embedder.fingerprint.dimension)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["passage"], ["sparse"]))
    made = await embedder.embed(list(TEXTS.values()), kind="document", lane=Lane.BULK)
    rows = [
        {
            "id": sha256(f"{id_} {ENGINE}".encode()).hexdigest()[:32],
            "partition": "",
            "document_id": id_,
            "passage": content,
            "title": "",
            "media_type": "text/plain",
            "ordinal": 0,
            "start": 0,
            "end": len(content),
            "page": 0,
            "tokens": 11,
            "ingested_at": int(WHEN.timestamp() * 1000),
            "metadata": {"year": 2020 + position},
            "dense": vector,
        }
        for position, ((id_, content), vector) in enumerate(zip(TEXTS.items(), made.vectors, strict=True))
    ]
    store = MilvusStore(MilvusLiteServer(folder))
    await store.start()
    session = store._session
    async with await session.turn():
        await session.write("create_collection", STORE_NAME, schema=schema)
    await store.create_collection(STORE_NAME, CollectionSpec(embedder.fingerprint.dimension))  # its indexes
    await session.upsert(STORE_NAME, rows)
    await store.point_alias(COLLECTION, STORE_NAME)
    await store.close()
