"""The vector store on Milvus: Lite, standalone and cluster through one client."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from retrieval.errors import CollectionNotFound, StoreFailed
from retrieval.stores.milvus_connection import MilvusConnection, NotLoaded
from retrieval.stores.milvus_expressions import Value, condition
from retrieval.stores.milvus_lite_flush import QuietFlush
from retrieval.stores.milvus_lite_server import MilvusLiteServer
from retrieval.stores.milvus_rows import DENSE, PAYLOAD, batches, to_candidate
from retrieval.stores.milvus_schema import (
    ServerTraits,
    collection_schema,
    index_params,
    indexed_fields,
    server_traits,
)
from retrieval.types import (
    Candidate,
    ChunkId,
    CollectionSpec,
    DocumentId,
    EmbeddedChunk,
    StoreCapabilities,
    StoreName,
    Vector,
)

_READ_TIMEOUT_S = 15.0
_WRITE_TIMEOUT_S = 60.0
_MAX_IN_LIST = 1000
"""Values of one IN list. Lists are split: servers parse long ones slowly and limit what one query returns."""
_MAX_LIMIT = 16_384
"""The most hits that Milvus returns for one search."""
_MIN_EF = 64
"""HNSW looks at this many neighbours at least; at `limit` of them where that is more, as the index demands."""


class MilvusStore:
    """VectorStore. `endpoint` is the URI of a server, or a Milvus Lite server that this store then owns.

    A server that goes away and comes back needs no new store object: calls fail with StoreUnavailable meanwhile, and
    collections that it has not loaded again are loaded at their first use.
    """

    def __init__(self, endpoint: str | MilvusLiteServer, token: str = "") -> None:
        self._endpoint = endpoint
        self._token = token
        self._connection: MilvusConnection | None = None
        self._traits: ServerTraits | None = None
        self._one_writer = asyncio.Lock()
        self._flushing = QuietFlush(self._flush)

    async def start(self) -> None:
        """Raises ConfigurationError. A remote server that is away is no error: `failure` tells."""
        if isinstance(self._endpoint, MilvusLiteServer):
            await self._endpoint.start()
            uri = self._endpoint.uri
        else:
            uri = self._endpoint
        self._connection = MilvusConnection(uri, self._token)
        try:
            await self._connection.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._flushing.close()
        if self._connection is not None:
            await self._connection.close()
        if isinstance(self._endpoint, MilvusLiteServer):
            await self._endpoint.close()

    @property
    def failure(self) -> str | None:
        if isinstance(self._endpoint, MilvusLiteServer) and self._endpoint.failure is not None:
            return self._endpoint.failure
        return self._open.failure if self._connection is not None else "The vector store has not been started."

    async def capabilities(self) -> StoreCapabilities:
        return (await self._server()).capabilities

    async def create_collection(self, name: StoreName, spec: CollectionSpec) -> None:
        traits = await self._server()
        async with self._writing(traits):
            if not await self._write("has_collection", name):
                await self._write("create_collection", name, schema=collection_schema(spec, traits))
            dimension = _dimension(await self._write("describe_collection", name))
            if dimension != spec.dimension:
                raise StoreFailed(
                    f"Collection {name!r} holds vectors of {dimension} dimensions, not {spec.dimension}.",
                    collection=name,
                    dimension=dimension,
                )
            # Each step by itself, so that a creation that was cut off is completed by the next one.
            present = await self._write("list_indexes", name)
            for field in indexed_fields(traits):
                if field not in present:
                    await self._write("create_index", name, index_params(field))
            await self._write("load_collection", name)

    async def drop_collection(self, name: StoreName) -> None:
        async with self._writing(await self._server()):
            if await self._write("has_collection", name):
                # Newer servers refuse to drop a collection that an alias points to.
                for alias in (await self._write("list_aliases", name))["aliases"]:
                    await self._write("drop_alias", alias)
                await self._write("drop_collection", name)

    async def list_collections(self) -> Sequence[StoreName]:
        return [StoreName(name) for name in await self._open.call("list_collections", timeout_s=_READ_TIMEOUT_S)]

    async def point_alias(self, alias: str, name: StoreName) -> None:
        async with self._writing(await self._server()):
            try:
                await self._write("alter_alias", name, alias)
            except (CollectionNotFound, StoreFailed):
                # No such alias yet, in the words of one server or the other; any other reason stops this call too.
                await self._write("create_alias", name, alias)

    async def drop_alias(self, alias: str) -> None:
        async with self._writing(await self._server()):
            await self._write("drop_alias", alias)

    async def upsert(self, name: str, rows: Sequence[EmbeddedChunk]) -> None:
        traits = await self._server()
        for batch in batches(rows):
            async with self._writing(traits):
                await self._write("upsert", name, batch)
            if traits.slow_until_flushed:
                self._flushing.written(name)

    async def prune(self, name: str, keep: Mapping[DocumentId, Collection[ChunkId]]) -> None:
        traits = await self._server()
        for documents, ids in _prune_calls(keep):
            template = "document_id in {documents}" + (" and id not in {ids}" if ids else "")
            async with self._writing(traits):
                await self._loaded(
                    "delete",
                    name,
                    timeout_s=_WRITE_TIMEOUT_S,
                    **_filter(traits, template, documents=documents, ids=ids),
                )

    async def present(self, name: str, ids: Sequence[ChunkId]) -> set[ChunkId]:
        traits = await self._server()
        found: set[ChunkId] = set()
        for first in range(0, len(ids), _MAX_IN_LIST):
            part = ids[first : first + _MAX_IN_LIST]
            rows = await self._query(name, ["id"], **_filter(traits, "id in {ids}", ids=part))
            found.update(ChunkId(row["id"]) for row in rows)
        return found

    async def count(self, name: str, document_id: DocumentId | None = None) -> int:
        which: dict[str, Any] = {"filter": ""}
        if document_id is not None:
            which = _filter(await self._server(), "document_id == {document_id}", document_id=document_id)
        rows = await self._query(name, ["count(*)"], **which)
        return int(rows[0]["count(*)"])

    async def search(
        self, name: str, vector: Vector, *, limit: int, partition: str | None = None
    ) -> Sequence[Candidate]:
        if not 1 <= limit <= _MAX_LIMIT:
            raise StoreFailed(f"A search brings 1 to {_MAX_LIMIT} chunks, not {limit}.", limit=limit)
        which: dict[str, Any] = {}
        if partition is not None:
            which = _filter(await self._server(), "partition == {partition}", partition=partition)
        results = await self._loaded(
            "search",
            name,
            timeout_s=_READ_TIMEOUT_S,
            data=[vector],
            anns_field=DENSE,
            limit=limit,
            output_fields=list(PAYLOAD),
            search_params={"metric_type": "COSINE", "params": {"ef": max(limit, _MIN_EF)}},
            **which,
        )
        return [to_candidate(hit["entity"], hit["distance"]) for hit in results[0]]

    @property
    def _open(self) -> MilvusConnection:
        if self._connection is None:
            raise RuntimeError("MilvusStore is used before start().")
        return self._connection

    async def _server(self) -> ServerTraits:
        if self._traits is None:
            self._traits = server_traits(await self._open.call("get_server_version", timeout_s=_READ_TIMEOUT_S))
        return self._traits

    def _writing(self, traits: ServerTraits) -> AbstractAsyncContextManager[object]:
        """Milvus Lite does not guard a collection against two writers at a time."""
        return nullcontext() if traits.concurrent_writes else self._one_writer

    async def _write(self, method: str, /, *args: object, **kwargs: object) -> Any:
        return await self._open.call(method, *args, timeout_s=_WRITE_TIMEOUT_S, **kwargs)

    async def _flush(self, name: str) -> None:
        async with self._one_writer:
            await self._write("flush", name)

    async def _query(self, name: str, output_fields: list[str], **which: object) -> Any:
        return await self._loaded(
            "query",
            name,
            timeout_s=_READ_TIMEOUT_S,
            output_fields=output_fields,
            consistency_level="Strong",
            **which,
        )

    async def _loaded(self, method: str, name: str, /, *, timeout_s: float, **kwargs: object) -> Any:
        """Some servers forget at a restart which collections were loaded."""
        try:
            return await self._open.call(method, name, timeout_s=timeout_s, **kwargs)
        except NotLoaded:
            await self._write("load_collection", name)
            return await self._open.call(method, name, timeout_s=timeout_s, **kwargs)


def _filter(traits: ServerTraits, template: str, **values: Value) -> dict[str, Any]:
    return condition(template, values, templates=traits.templates)


def _dimension(description: Mapping[str, Any]) -> int:
    return next((int(field["params"]["dim"]) for field in description["fields"] if field["name"] == DENSE), 0)


def _prune_calls(keep: Mapping[DocumentId, Collection[ChunkId]]) -> Iterator[tuple[list[DocumentId], list[ChunkId]]]:
    """Documents and the ids to keep, together within the bound of one call. A document's own ids stay together, since
    what is not listed is deleted. Ids belong to one document, so the lists of several can be joined."""
    documents: list[DocumentId] = []
    ids: list[ChunkId] = []
    for document_id, kept in keep.items():
        if documents and len(documents) + len(ids) + len(kept) >= _MAX_IN_LIST:
            yield documents, ids
            documents, ids = [], []
        documents.append(document_id)
        ids.extend(kept)
    if documents:
        yield documents, ids
