"""Constructs components from settings. The models' adapters are in models.py."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

from app.node.node import Components, NodeOptions, OnStep
from app.node.worker_processes import WorkerProcesses
from app.node.workers import WorkerParts
from app.settings import PREFIX, Settings
from app.wiring.models import (
    build_models,
    build_profile,
    download_reporter,
    engine_key,
    http_embedder,
    model_hub,
    open_embedder,
)
from ingestion.blobs.folder import FolderBlobStore
from ingestion.blobs.s3 import S3BlobStore, S3Options
from ingestion.catalog.catalog import SqlCatalog
from ingestion.disk_reserve import DiskReserve
from ingestion.parsers.child_process import ParserLimits
from ingestion.parsers.process import ProcessParser
from ingestion.ports import BlobStore, Parser
from ingestion.service import Limits
from ingestion.worker import WorkerOptions
from retrieval.embedders import Embedders
from retrieval.engines.remote_node.embedder import NodeEmbedder, NodeServerOptions, OnChanged
from retrieval.errors import ConfigurationError
from retrieval.models.folder import read_tokenizer
from retrieval.ports import Embedder, VectorStore
from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite.server import MilvusLiteServer


async def build_components(settings: Settings, on_step: OnStep, internal_key: str) -> Components:
    """Resolves the models, which may download them, and constructs every adapter; starts none. `internal_key`
    identifies the node's worker processes.

    Raises ModelUnavailable, ConfigurationError, Unsupported.
    """
    models = await build_models(settings, on_step)
    return Components(
        embedder=models.embedder,
        reranker=models.reranker,
        store=build_store(settings),
        catalog=build_catalog(settings),
        blobs=build_blobs(settings),
        parser=build_parser(settings),
        devices=models.devices,
        open_embedder=partial(open_embedder, models.settings, models.devices) if settings.engine == "vllm" else None,
        worker_processes=build_worker_processes(settings, internal_key),
        reserve=build_reserve(settings),
    )


async def build_worker_parts(settings: Settings, on_step: OnStep, on_changed: OnChanged) -> WorkerParts:
    """Constructs the parts of a process without an accelerator. `on_changed` has the meaning of NodeEmbedder's."""
    chosen = build_profile(settings).embed
    on_step(f"looking for the model {chosen.name}")
    folder = await model_hub(settings).resolve(chosen.id, download_reporter(on_step))
    embedder: Embedder
    if settings.engine == "node":
        assert settings.node_url is not None
        node = NodeServerOptions(settings.node_url, engine_key(settings))
        embedder = NodeEmbedder(read_tokenizer(folder), node, on_changed=on_changed)
    else:
        embedder = http_embedder(settings, chosen, folder, None)
    return WorkerParts(
        embedders=Embedders(embedder),
        store=build_store(settings),
        catalog=build_catalog(settings),
        blobs=build_blobs(settings),
        parser=build_parser(settings),
    )


def build_worker_processes(settings: Settings, internal_key: str) -> WorkerProcesses | None:
    """Returns the worker processes, which reach the node over HTTP and share its other parts. Raises
    ConfigurationError.
    """
    if not settings.worker_processes:
        return None
    if not settings.milvus_uri:
        raise ConfigurationError(
            "TANDEM_WORKER_PROCESSES needs a Milvus server, TANDEM_MILVUS_URI: one process alone can open Milvus Lite."
        )
    if not settings.workers:
        raise ConfigurationError("TANDEM_WORKERS=0: worker processes without slots would do nothing.")
    return WorkerProcesses(
        settings.worker_processes, worker_environment(settings, internal_key), drain_seconds=settings.drain_seconds
    )


def worker_environment(settings: Settings, internal_key: str) -> Mapping[str, str]:
    """Returns the variables to change for a node's worker processes. Settings that only the node's own engines use are
    unset, and so are the callers' keys: workers use `internal_key`.
    """
    own = {
        "engine": "node",
        "node_url": _own_url(settings),
        "engine_api_key": internal_key if settings.requires_keys else "",
        "api_keys": "",
        "api_keys_file": "",
        "data_dir": str(settings.data_dir),
        "load_format": "auto",
        "query_engine": "false",
        "devices": "",
    }
    return {PREFIX + name.upper(): value for name, value in own.items()}


def _own_url(settings: Settings) -> str:
    """Returns the node's address for processes on the same machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # not listened on here
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def build_store(settings: Settings) -> VectorStore:
    endpoint = settings.milvus_uri or MilvusLiteServer(
        settings.data_dir / "milvus", require_room=build_reserve(settings).require
    )
    token = settings.milvus_token if settings.milvus_uri else None
    return MilvusStore(
        endpoint,
        token.get_secret_value() if token else "",
        read_seconds=settings.store_read_seconds,
        write_seconds=settings.store_write_seconds,
    )


def build_blobs(settings: Settings) -> BlobStore:
    if not settings.blobs:
        return FolderBlobStore(settings.data_dir / "originals")
    if not settings.blobs.startswith("s3://"):
        return FolderBlobStore(Path(settings.blobs).expanduser().absolute())
    bucket, _, prefix = settings.blobs.removeprefix("s3://").partition("/")
    key, secret = settings.s3_access_key, settings.s3_secret_key
    return S3BlobStore(
        S3Options(
            bucket=bucket,
            prefix=prefix.rstrip("/"),
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            style=settings.s3_style,
            access_key=key.get_secret_value() if key else None,
            secret_key=secret.get_secret_value() if secret else None,
        )
    )


def build_parser(settings: Settings) -> Parser:
    # Long documents hold a slot of ingestion each, so one slot is left to the others.
    long = max(min(settings.parser_processes, settings.workers - 1), 1)
    limits = ParserLimits(
        seconds=settings.document_seconds, ocr_pages=settings.ocr_pages, ocr_seconds=settings.ocr_seconds
    )
    return ProcessParser(limits, processes=settings.parser_processes, long_processes=long, ocr=settings.ocr != "never")


def build_reserve(settings: Settings) -> DiskReserve:
    """Returns the reserve of the disks that this process writes to; servers monitor their own."""
    paths = [] if settings.milvus_uri and settings.database_url else [settings.data_dir]
    if settings.blobs and not settings.blobs.startswith("s3://"):
        paths.append(Path(settings.blobs).expanduser().absolute())
    elif not settings.blobs:
        paths.append(settings.data_dir)
    return DiskReserve(list(dict.fromkeys(paths)), settings.disk_reserve_mb * 2**20)


def build_catalog(settings: Settings) -> SqlCatalog:
    url = settings.database_url
    return SqlCatalog(url.get_secret_value() if url else f"sqlite:///{settings.data_dir / 'catalog.sqlite'}")


def worker_options(settings: Settings) -> WorkerOptions:
    return WorkerOptions(
        batch=settings.worker_batch,
        lease=timedelta(seconds=settings.lease_seconds),
        max_attempts=settings.max_attempts,
    )


def node_options(settings: Settings) -> NodeOptions:
    return NodeOptions(
        limits=Limits(
            document_bytes=settings.max_document_mb * 2**20,
            documents=settings.max_documents,
            queued=settings.max_queued,
            unpacked_bytes=settings.max_unpacked_mb * 2**20,
            ocr=settings.ocr,
        ),
        worker=worker_options(settings),
        workers=settings.workers,
        retention=timedelta(days=settings.retention_days),
        drain=timedelta(seconds=settings.drain_seconds),
        selftest_margin=settings.selftest_margin,
        dummy_weights=settings.load_format == "dummy",
        languages=build_profile(settings).languages,
        search_deadline_seconds=settings.search_deadline_seconds,
        rerank_seconds=settings.rerank_seconds,
    )
