"""The parts of a node, their calls counted, timed and traced. Each class is its port, and does as the part within."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

from tokenizers import Tokenizer

from app.node.node import Components
from app.node.workers import WorkerParts
from app.telemetry.metrics import OK, CallMetrics, Metrics
from app.telemetry.tracing import Tracing
from ingestion.pipeline.document_chunks import ChunkingPlan
from ingestion.ports import BlobStore, Parser
from ingestion.types import Claim, Outcome, ParsedDocument, ReadingOptions
from retrieval.delegating import DelegatingReranker
from retrieval.embedders import Embedders
from retrieval.errors import TandemError
from retrieval.filters.tree import Filter
from retrieval.ports import Embedder, Lifecycle, Reranker, VectorStore
from retrieval.text.tokenizer import token_lookups
from retrieval.types import (
    Candidate,
    Chunk,
    ChunkId,
    CollectionSpec,
    DocumentId,
    EmbeddedChunk,
    Embeddings,
    Fingerprint,
    Lane,
    RerankScores,
    StoreCapabilities,
    StoredText,
    StoreName,
    TextKind,
    Vector,
)


@dataclass(frozen=True, slots=True)
class Telemetry:
    metrics: Metrics
    tracing: Tracing

    @contextmanager
    def call(self, part: CallMetrics, *labels: str) -> Iterator[None]:
        """Around one call of a part: its span, its time, and how it ended."""
        started, outcome = perf_counter(), OK
        attributes = dict(zip((f"tandem.{name}" for name in part.labels), labels, strict=True))
        try:
            with self.tracing.span(" ".join((part.name, *labels[:1])), attributes=attributes):
                yield
        except TandemError as error:
            outcome = error.code
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except BaseException:
            outcome = "internal"
            raise
        finally:
            part.observe(labels, outcome, perf_counter() - started)

    @contextmanager
    def lookups(self, model: str) -> Iterator[None]:
        """Around what may look up the tokens of texts."""
        with token_lookups() as found:
            try:
                yield
            finally:
                self.metrics.token_lookups.labels(model, "hit").inc(found.known)
                self.metrics.token_lookups.labels(model, "miss").inc(found.new)

    def count(self, model: str, lane: Lane, texts: int, tokens: int, truncated: int) -> None:
        """Counts what an engine computed."""
        labels = model, lane.name.lower()
        self.metrics.engine_texts.labels(*labels).inc(texts)
        self.metrics.engine_tokens.labels(*labels).inc(tokens)
        self.metrics.truncated_tokens.labels(*labels).inc(truncated)


@dataclass(frozen=True, slots=True)
class ObservedWork:
    """What workers report; see ingestion.worker.WorkObserver."""

    telemetry: Telemetry

    def batch(self, claims: Sequence[Claim]) -> AbstractContextManager[None]:
        return self.telemetry.tracing.batch(claims)

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        self.telemetry.metrics.observe_outcomes(outcomes)


def observed(components: Components, telemetry: Telemetry) -> Components:
    """The same parts, whose calls are counted and traced."""
    opened = components.open_embedder

    async def open_observed(models: str) -> Embedder:
        assert opened is not None
        return ObservedEmbedder(await opened(models), telemetry)

    return replace(
        components,
        embedder=ObservedEmbedder(components.embedder, telemetry),
        reranker=ObservedReranker(components.reranker, telemetry),
        store=ObservedStore(components.store, telemetry),
        blobs=ObservedBlobs(components.blobs, telemetry),
        parser=ObservedParser(components.parser, telemetry),
        open_embedder=open_observed if opened else None,
        observer=ObservedWork(telemetry),
    )


def observed_worker(parts: WorkerParts, telemetry: Telemetry) -> WorkerParts:
    """The same for a process that ingests alone."""
    return replace(
        parts,
        embedders=Embedders(ObservedEmbedder(parts.embedders.main, telemetry)),
        store=ObservedStore(parts.store, telemetry),
        blobs=ObservedBlobs(parts.blobs, telemetry),
        parser=ObservedParser(parts.parser, telemetry),
        observer=ObservedWork(telemetry),
    )


class _Part:
    """Starts, closes and fails as the part within."""

    def __init__(self, part: Lifecycle, telemetry: Telemetry) -> None:
        self._part = part
        self._telemetry = telemetry

    async def start(self) -> None:
        await self._part.start()

    async def close(self) -> None:
        await self._part.close()

    @property
    def failure(self) -> str | None:
        return self._part.failure


class ObservedEmbedder(_Part):
    def __init__(self, embedder: Embedder, telemetry: Telemetry) -> None:
        super().__init__(embedder, telemetry)
        self._embedder = embedder

    @property
    def fingerprint(self) -> Fingerprint:
        return self._embedder.fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._embedder.tokenizer

    @property
    def max_tokens(self) -> int:
        return self._embedder.max_tokens

    @property
    def reducible(self) -> bool:
        return self._embedder.reducible

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        with self._telemetry.lookups("embed"):
            return self._embedder.count(texts)

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        metrics = self._telemetry.metrics
        with self._telemetry.call(metrics.engine, "embed", lane.name.lower()), self._telemetry.lookups("embed"):
            embedded = await self._embedder.embed(texts, kind=kind, lane=lane, instruction=instruction)
        self._telemetry.count("embed", lane, len(texts), sum(embedded.tokens), sum(embedded.truncated_tokens))
        return embedded


class ObservedReranker(DelegatingReranker):
    def __init__(self, reranker: Reranker, telemetry: Telemetry) -> None:
        super().__init__(reranker)
        self._telemetry = telemetry

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        metrics = self._telemetry.metrics
        with self._telemetry.call(metrics.engine, "rerank", lane.name.lower()), self._telemetry.lookups("rerank"):
            ranked = await self._reranker.rerank(query, passages, lane=lane, instruction=instruction)
        truncated = sum(ranked.truncated_tokens) + ranked.truncated_query_tokens
        self._telemetry.count("rerank", lane, len(passages), ranked.tokens, truncated)
        return ranked


class ObservedStore(_Part):
    """But for `texts` and `every`, which go on for as long as their reader wants."""

    def __init__(self, store: VectorStore, telemetry: Telemetry) -> None:
        super().__init__(store, telemetry)
        self._store = store

    async def capabilities(self) -> StoreCapabilities:
        with self._telemetry.call(self._telemetry.metrics.store, "capabilities"):
            return await self._store.capabilities()

    async def create_collection(self, name: StoreName, spec: CollectionSpec) -> None:
        with self._telemetry.call(self._telemetry.metrics.store, "create_collection"):
            await self._store.create_collection(name, spec)

    async def has_sections(self, name: str) -> bool:
        with self._telemetry.call(self._telemetry.metrics.store, "has_sections"):
            return await self._store.has_sections(name)

    async def drop_collection(self, name: StoreName) -> None:
        with self._telemetry.call(self._telemetry.metrics.store, "drop_collection"):
            await self._store.drop_collection(name)

    async def list_collections(self) -> Sequence[StoreName]:
        with self._telemetry.call(self._telemetry.metrics.store, "list_collections"):
            return await self._store.list_collections()

    async def point_alias(self, alias: str, name: StoreName) -> None:
        with self._telemetry.call(self._telemetry.metrics.store, "point_alias"):
            await self._store.point_alias(alias, name)

    async def drop_alias(self, alias: str) -> None:
        with self._telemetry.call(self._telemetry.metrics.store, "drop_alias"):
            await self._store.drop_alias(alias)

    async def upsert(self, name: str, rows: Sequence[EmbeddedChunk]) -> None:
        with self._telemetry.call(self._telemetry.metrics.store, "upsert"):
            await self._store.upsert(name, rows)

    async def prune(self, name: str, keep: Mapping[DocumentId, Collection[ChunkId]]) -> None:
        with self._telemetry.call(self._telemetry.metrics.store, "prune"):
            await self._store.prune(name, keep)

    async def delete(self, name: str, ids: Sequence[ChunkId]) -> None:
        with self._telemetry.call(self._telemetry.metrics.store, "delete"):
            await self._store.delete(name, ids)

    def texts(self, name: str, document_id: DocumentId) -> AsyncIterator[Sequence[StoredText]]:
        return self._store.texts(name, document_id)

    async def chunks(
        self, name: str, wanted: Mapping[DocumentId, Collection[int]], *, filter: Filter | None = None
    ) -> Mapping[tuple[DocumentId, int], Chunk]:
        with self._telemetry.call(self._telemetry.metrics.store, "chunks"):
            return await self._store.chunks(name, wanted, filter=filter)

    async def vectors(self, name: str, ids: Sequence[ChunkId]) -> Mapping[ChunkId, Vector]:
        with self._telemetry.call(self._telemetry.metrics.store, "vectors"):
            return await self._store.vectors(name, ids)

    def every(self, name: str) -> AsyncIterator[Sequence[tuple[ChunkId, DocumentId]]]:
        return self._store.every(name)

    async def present(self, name: str, ids: Sequence[ChunkId]) -> set[ChunkId]:
        with self._telemetry.call(self._telemetry.metrics.store, "present"):
            return await self._store.present(name, ids)

    async def count(self, name: str, document_id: DocumentId | None = None) -> int:
        with self._telemetry.call(self._telemetry.metrics.store, "count"):
            return await self._store.count(name, document_id)

    async def search(
        self, name: str, vector: Vector, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        with self._telemetry.call(self._telemetry.metrics.store, "search"):
            return await self._store.search(name, vector, limit=limit, partition=partition, filter=filter)

    async def search_text(
        self, name: str, text: str, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        with self._telemetry.call(self._telemetry.metrics.store, "search_text"):
            return await self._store.search_text(name, text, limit=limit, partition=partition, filter=filter)


class ObservedBlobs(_Part):
    """But for `every`, as ObservedStore."""

    def __init__(self, blobs: BlobStore, telemetry: Telemetry) -> None:
        super().__init__(blobs, telemetry)
        self._blobs = blobs

    async def put(self, blobs: Mapping[str, bytes]) -> None:
        with self._telemetry.call(self._telemetry.metrics.blobs, "put"):
            await self._blobs.put(blobs)

    async def get(self, hashes: Collection[str]) -> Mapping[str, bytes]:
        with self._telemetry.call(self._telemetry.metrics.blobs, "get"):
            return await self._blobs.get(hashes)

    async def absent(self, hashes: Collection[str]) -> Collection[str]:
        with self._telemetry.call(self._telemetry.metrics.blobs, "absent"):
            return await self._blobs.absent(hashes)

    async def delete(self, sha256: str) -> None:
        with self._telemetry.call(self._telemetry.metrics.blobs, "delete"):
            await self._blobs.delete(sha256)

    def every(self) -> AsyncIterator[Mapping[str, datetime]]:
        return self._blobs.every()


class ObservedParser(_Part):
    def __init__(self, parser: Parser, telemetry: Telemetry) -> None:
        super().__init__(parser, telemetry)
        self._parser = parser

    @property
    def processes(self) -> int:
        return self._parser.processes

    async def parse(
        self,
        data: bytes,
        media_type: str,
        plan: ChunkingPlan | None = None,
        options: ReadingOptions | None = None,
    ) -> ParsedDocument:
        with self._telemetry.call(self._telemetry.metrics.parser):
            return await self._parser.parse(data, media_type, plan, options)
