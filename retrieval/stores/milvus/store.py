"""The vector store on Milvus: Lite, standalone and cluster through one client."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from cachetools import LRUCache

from retrieval.errors import CollectionNotFound, StoreFailed, Unsupported
from retrieval.filters.tree import BUILT_IN, Filter, fields_of
from retrieval.stores.milvus.cosine import cosine
from retrieval.stores.milvus.expressions import Value
from retrieval.stores.milvus.filters import filter_template
from retrieval.stores.milvus.keys import declared_in
from retrieval.stores.milvus.rows import (
    CHUNK,
    DENSE,
    GROUPS,
    LANGUAGE,
    PAYLOAD,
    SECTION,
    SPARSE,
    batches,
    to_candidate,
    to_chunk,
)
from retrieval.stores.milvus.schema import ANY_WORDS, WORDS, collection_schema, indexes
from retrieval.stores.milvus.session import MilvusSession
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from retrieval.text.words import joined, of_query
from retrieval.types import (
    Candidate,
    Chunk,
    ChunkId,
    CollectionSpec,
    DocumentId,
    EmbeddedChunk,
    StoreCapabilities,
    StoredText,
    StoreName,
    Vector,
)

_MAX_IN_LIST = 1000
"""Values of one IN list. Lists are split: servers parse long ones slowly and limit what one query returns."""
_MAX_LIMIT = 16_384
"""The most hits that Milvus returns for one search."""
_MAX_QUERY_BYTES = 65_535
"""Limit of the words of a query."""
_MIN_EF = 256
"""HNSW looks at this many neighbours at least; at `limit` of them where that is more, as the index demands.

Share of the nearest 50 of 3,204 abstracts (CACM, multilingual-e5-small) that are found with 64: 0.962, with 100: 0.986,
with 200: 0.997; nDCG@10 of hybrid recall 0.495, 0.494 and 0.504. A step is some microseconds.
"""
_MIN_FILTERED = 100
"""Chunks that a search with a filter asks a server for at least: if fewer come, some that match may be missing."""
_MAX_COMPARED = 2048
"""Chunks that are compared here, where a server may have missed some that match: at most a quarter of a second."""
_LAYOUTS_KEPT = 10_000
"""Collections whose fields are remembered."""
_PAGE_OF_IDS = 8192
"""Rows of one answer that holds ids only: 21 MB where each is as long as can be. Servers send 64 MB."""
_PAGE_OF_VALUES = 256
"""Rows of one answer with texts or vectors: 34 MB where each is as long as can be (a title and a text of 64 KB each, or
32,768 dimensions)."""


ItemT = TypeVar("ItemT")


class MilvusStore:
    """Implements VectorStore. `endpoint` is the URI of a server, or a Milvus Lite server that this store then owns.

    A server that goes away and comes back needs no new store object.
    """

    def __init__(
        self,
        endpoint: str | MilvusLiteServer,
        token: str = "",
        *,
        read_seconds: float = 15.0,
        write_seconds: float = 60.0,
    ) -> None:
        """`read_seconds` and `write_seconds` are timeouts, after which a call fails with StoreUnavailable."""
        self._session = MilvusSession(endpoint, token, read_seconds=read_seconds, write_seconds=write_seconds)
        self._with_words: set[str] = set()
        """Collections that were found to have the field of words: no collection loses it."""
        self._fields: LRUCache[str, frozenset[str]] = LRUCache(_LAYOUTS_KEPT)
        """Names of each collection's fields."""

    async def start(self) -> None:
        """Connects. Raises ConfigurationError. A remote server that is away is not an error: `failure` reports it."""
        await self._session.start()

    async def close(self) -> None:
        await self._session.close()

    @property
    def failure(self) -> str | None:
        return self._session.failure

    async def capabilities(self) -> StoreCapabilities:
        return (await self._session.traits()).capabilities

    async def has_sections(self, name: str) -> bool:
        return SECTION[0] in await self._fields_of(name)

    async def create_collection(self, name: StoreName, spec: CollectionSpec) -> None:
        session, traits = self._session, await self._session.traits()
        session.require_room()
        async with await session.turn():
            if not await session.write("has_collection", name):
                await session.write("create_collection", name, schema=collection_schema(spec, traits))
            description = await session.write("describe_collection", name)
            dimension, keys = _dimension(description), declared_in(description)
            self._fields[name] = _field_names(description)
            if dimension != spec.dimension:
                raise StoreFailed(
                    f"Collection {name!r} holds vectors of {dimension} dimensions, not {spec.dimension}.",
                    collection=name,
                    dimension=dimension,
                )
            if keys != spec.metadata_keys:
                raise StoreFailed(
                    f"Collection {name!r} has fields for the metadata keys {dict(keys)}, not for "
                    f"{dict(spec.metadata_keys)}.",
                    collection=name,
                )
            if (GROUPS in self._fields[name]) != spec.principals:
                raise StoreFailed(
                    f"Collection {name!r} was made {'without' if spec.principals else 'with'} a field for groups.",
                    collection=name,
                )
            # Each step is separate, so that an interrupted creation is completed by the next one.
            present = await session.write("list_indexes", name)
            for index, params in indexes(spec, traits).items():
                if index not in present:
                    await session.write("create_index", name, params)
            await session.write("load_collection", name)

    async def drop_collection(self, name: StoreName) -> None:
        session = self._session
        self._fields.pop(name, None)
        async with await session.turn():
            self._with_words.discard(name)
            if await session.write("has_collection", name):
                # Newer servers refuse to drop a collection that an alias points to.
                for alias in (await session.write("list_aliases", name))["aliases"]:
                    await session.write("drop_alias", alias)
                await session.write("drop_collection", name)

    async def list_collections(self) -> Sequence[StoreName]:
        return [StoreName(name) for name in await self._session.read("list_collections")]

    async def point_alias(self, alias: str, name: StoreName) -> None:
        self._fields.pop(alias, None)
        async with await self._session.turn():
            try:
                await self._session.write("alter_alias", name, alias)
            except (CollectionNotFound, StoreFailed):
                # There is no such alias yet, as the two servers report it; any other reason also fails this call.
                await self._session.write("create_alias", name, alias)

    async def drop_alias(self, alias: str) -> None:
        async with await self._session.turn():
            await self._session.write("drop_alias", alias)

    async def upsert(self, name: str, rows: Sequence[EmbeddedChunk]) -> None:
        words_field = await self._words_field(name)
        fields = await self._fields_of(name)
        in_batches = iter(
            batches(rows, words_field, sections=SECTION[0] in fields, language=LANGUAGE in fields),
        )
        # In a thread, where each text's words are to be found.
        while batch := await asyncio.to_thread(next, in_batches, None) if words_field else next(in_batches, None):
            await self._session.upsert(name, batch)

    async def prune(self, name: str, keep: Mapping[DocumentId, Collection[ChunkId]]) -> None:
        for documents, ids in _prune_calls(keep):
            template = "document_id in {documents}" + (" and id not in {ids}" if ids else "")
            await self._session.delete(name, await self._session.filter(template, documents=documents, ids=ids))

    async def delete(self, name: str, ids: Sequence[ChunkId]) -> None:
        for part in _parts(ids, _MAX_IN_LIST):
            await self._session.delete(name, await self._session.filter("id in {ids}", ids=part))

    async def texts(self, name: str, document_id: DocumentId) -> AsyncIterator[Sequence[StoredText]]:
        async for page in self._pages(name, ("id",), "document_id == {document_id}", document_id=document_id):
            ids = [ChunkId(row["id"]) for row in page]
            async for rows in self._rows(name, ("id", "passage"), ids, _PAGE_OF_VALUES):
                yield [StoredText(ChunkId(row["id"]), row["passage"]) for row in rows]

    async def chunks(
        self, name: str, wanted: Mapping[DocumentId, Collection[int]], *, filter: Filter | None = None
    ) -> Mapping[tuple[DocumentId, int], Chunk]:
        found: dict[tuple[DocumentId, int], Chunk] = {}
        fields = await self._chunk_fields(name)
        for part in _parts(
            [(document, ordinal) for document in wanted for ordinal in wanted[document]], _PAGE_OF_VALUES
        ):
            ordinals: dict[DocumentId, list[int]] = {}
            for document, ordinal in part:
                ordinals.setdefault(document, []).append(ordinal)
            values: dict[str, Value] = {}
            for number, document in enumerate(ordinals):
                values |= {f"document{number}": document, f"ordinals{number}": ordinals[document]}
            template = " or ".join(
                f"(document_id == {{document{number}}} and ordinal in {{ordinals{number}}})"
                for number in range(len(ordinals))
            )
            if filter is not None:
                forced, values_of_filter = filter_template(filter, await self._session.traits())
                template, values = f"({template}) and {forced}", values | values_of_filter
            for row in await self._session.query(name, fields, await self._session.filter(template, **values)):
                chunk = to_chunk(row)
                found[chunk.document_id, chunk.ordinal] = chunk
        return found

    async def vectors(self, name: str, ids: Sequence[ChunkId]) -> Mapping[ChunkId, Vector]:
        found: dict[ChunkId, Vector] = {}
        async for rows in self._rows(name, ("id", DENSE), ids, _PAGE_OF_VALUES):
            found.update((ChunkId(row["id"]), np.array(row[DENSE], dtype=np.float32)) for row in rows)
        return found

    async def every(self, name: str) -> AsyncIterator[Sequence[tuple[ChunkId, DocumentId]]]:
        async for page in self._pages(name, ("id", "document_id")):
            yield [(ChunkId(row["id"]), DocumentId(row["document_id"])) for row in page]

    async def present(self, name: str, ids: Sequence[ChunkId]) -> set[ChunkId]:
        found: set[ChunkId] = set()
        async for rows in self._rows(name, ("id",), ids, _MAX_IN_LIST):
            found.update(ChunkId(row["id"]) for row in rows)
        return found

    async def count(self, name: str, document_id: DocumentId | None = None) -> int:
        which: Mapping[str, Any] = {}
        if document_id is not None:
            which = await self._session.filter("document_id == {document_id}", document_id=document_id)
        rows = await self._session.query(name, ("count(*)",), which)
        return int(rows[0]["count(*)"])

    async def search(
        self, name: str, vector: Vector, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        template, values = await self._conditions(name, partition, filter)
        may_miss = bool(template) and (await self._session.traits()).misses_few
        asked = max(limit, _MIN_FILTERED) if may_miss else limit
        params = {"metric_type": "COSINE", "params": {"ef": max(asked, _MIN_EF)}}
        which = await self._where(template, values)
        hits = await self._search(name, DENSE, vector, params, asked, which)
        # Rounding in float32 can make the cosine of equal vectors slightly larger than 1.
        found = [to_candidate(hit["entity"], max(-1.0, min(1.0, float(hit["distance"])))) for hit in hits]
        if may_miss and len(found) < asked:
            found += await self._missed(name, vector, found, which, template, values)
            found.sort(key=lambda candidate: -candidate.score)
        return found[:limit]

    async def _missed(
        self,
        name: str,
        vector: Vector,
        found: Sequence[Candidate],
        which: Mapping[str, Any],
        template: str,
        values: Mapping[str, Value],
    ) -> Sequence[Candidate]:
        """Returns the other chunks that the condition is true of, of the first _MAX_COMPARED by id. `which` are the
        arguments that `template` and `values` stand for.
        """
        rows = await self._session.query(name, ("id",), which, rows=_MAX_COMPARED, strong=False)
        missing = sorted({row["id"] for row in rows} - {candidate.chunk.id for candidate in found})
        fields = [*await self._hit_fields(name), DENSE]
        return [
            to_candidate(row, cosine(vector, row[DENSE]))
            for part in _parts(missing, _PAGE_OF_VALUES)
            for row in await self._session.query(
                name,
                fields,
                # Once more: a chunk may have changed meanwhile.
                await self._session.filter(f"id in {{missing}} and {template}", missing=part, **values),
                strong=False,
            )
        ]

    async def search_text(
        self, name: str, text: str, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        traits = await self._session.traits()
        if not traits.capabilities.sparse:
            raise Unsupported(traits.capabilities.sparse_missing)
        if await self._words_field(name):
            text = joined(await asyncio.to_thread(of_query, text), _MAX_QUERY_BYTES)
            if not text:
                return []
        sign = -1 if traits.negates_bm25 else 1
        params = {"metric_type": "BM25", "params": {}}
        template, values = await self._conditions(name, partition, filter)
        which = await self._where(template, values)
        hits = await self._search(name, SPARSE, text, params, limit, which)
        return [to_candidate(hit["entity"], sign * float(hit["distance"])) for hit in hits]

    async def _words_field(self, name: str) -> str | None:
        """Of what searches are told and rows hold in place of their texts; None where the server finds the words. It
        does so by its own rules in collections of earlier releases. Raises StoreFailed for a later release's."""
        traits = await self._session.traits()
        if not traits.capabilities.sparse or traits.tokenizer == WORDS or name in self._with_words:
            return WORDS if name in self._with_words else None
        description = await self._session.read("describe_collection", name)
        found = {field["name"] for field in description["fields"] if field["name"].startswith(ANY_WORDS)}
        if not found:
            return None
        if WORDS not in found:
            raise StoreFailed(
                f"Collection {name!r} counts words as another release of Tandem does ({', '.join(sorted(found))}, not "
                f"{WORDS}); use that release, or fill the collection anew.",
                collection=name,
            )
        self._with_words.add(name)
        return WORDS

    async def _search(
        self, name: str, field: str, data: object, params: Mapping[str, Any], limit: int, which: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        if not 1 <= limit <= _MAX_LIMIT:
            raise StoreFailed(f"A search brings 1 to {_MAX_LIMIT} chunks, not {limit}.", limit=limit)
        results = await self._session.search(
            name,
            data=[data],
            anns_field=field,
            limit=limit,
            output_fields=await self._hit_fields(name),
            search_params=params,
            **which,
        )
        hits: Sequence[Mapping[str, Any]] = results[0]
        return hits

    async def _hit_fields(self, name: str) -> Sequence[str]:
        return [*await self._chunk_fields(name), *PAYLOAD, *({LANGUAGE} & await self._fields_of(name))]

    async def _chunk_fields(self, name: str) -> Sequence[str]:
        return (*CHUNK, *SECTION) if await self.has_sections(name) else CHUNK

    async def _fields_of(self, name: str) -> frozenset[str]:
        known = self._fields.get(name)
        if known is None:
            description = await self._session.read("describe_collection", name)
            known = self._fields[name] = _field_names(description)
        return known

    async def _conditions(
        self, name: str, partition: str | None, filter: Filter | None
    ) -> tuple[str, Mapping[str, Value]]:
        """Returns the template and the values of a search in the partition, with the filter; an empty template without
        either. Raises Unsupported for a filter on the language in a collection that does not keep it.
        """
        conditions: list[str] = []
        values: dict[str, Value] = {}
        if partition is not None:
            conditions.append("partition == {partition}")
            values["partition"] = partition
        if filter is not None:
            if BUILT_IN[LANGUAGE] in fields_of(filter) and LANGUAGE not in await self._fields_of(name):
                raise Unsupported(
                    "language: this collection was made by a release that did not keep the languages of documents; "
                    "re-embed it (`tandem reembed`) to filter by them.",
                    collection=name,
                )
            template, values_of_filter = filter_template(filter, await self._session.traits())
            conditions.append(template)
            values |= values_of_filter
        return " and ".join(conditions), values

    async def _where(self, template: str, values: Mapping[str, Value]) -> Mapping[str, Any]:
        """Returns the arguments of a search with what `_conditions` returned."""
        return await self._session.filter(template, **values) if template else {}

    async def _rows(
        self, name: str, fields: Sequence[str], ids: Sequence[ChunkId], size: int
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Yields the rows of `ids` that exist, `size` ids at a time."""
        for part in _parts(ids, size):
            yield await self._session.query(name, fields, await self._session.filter("id in {ids}", ids=part))

    async def _pages(
        self, name: str, fields: Sequence[str], template: str = "", **values: str
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Yields every row once, in the order of the ids. Pages by ranges of ids, since servers limit offsets."""
        which = await self._session.filter(template, **values)
        while page := await self._session.query(name, fields, which, rows=_PAGE_OF_IDS):
            ids = [row["id"] for row in page]
            # Python and Milvus order text alike: by code points, by bytes of UTF-8.
            if ids != sorted(ids):
                raise StoreFailed(
                    f"Milvus brings the rows of {name!r} in no order of their ids; they cannot be listed."
                )
            yield page
            which = await self._session.filter(
                "id > {last}" + (template and f" and {template}"), last=ids[-1], **values
            )


def _parts(items: Sequence[ItemT], size: int) -> Iterator[Sequence[ItemT]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _dimension(description: Mapping[str, Any]) -> int:
    return next((int(field["params"]["dim"]) for field in description["fields"] if field["name"] == DENSE), 0)


def _field_names(description: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(field["name"] for field in description["fields"])


def _prune_calls(keep: Mapping[DocumentId, Collection[ChunkId]]) -> Iterator[tuple[list[DocumentId], list[ChunkId]]]:
    """Yields documents and the ids to keep, together within the limit of one call. A document's ids stay in one call,
    since ids that are not listed are deleted. Ids belong to one document, so the lists of several can be joined.
    """
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
