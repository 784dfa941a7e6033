"""A collection as a LangChain vector store."""

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from langchain_tandem.client import NotFound, TandemClientError
from langchain_tandem.documents import Text, ids_of, to_wire
from langchain_tandem.embeddings import TandemEmbeddings
from langchain_tandem.search_fields import SearchFields


class NoText(TandemClientError):
    """The document was ingested as a file: only its chunks are text."""


class TandemVectorStore(VectorStore):
    """Stores and finds documents. A Document has the document's `id` and exactly the `metadata` that it was added with.

    The node embeds, and splits documents that are longer than a chunk. A search then returns the best chunk of each
    document as `page_content`, and `get_by_ids` returns the whole text. Scores are the node's own, from recall and
    reranking; higher is better.
    """

    def __init__(self, collection: str = "docs", **fields: Any) -> None:
        """The collection must exist. `fields` are those of TandemRetriever and apply to every search."""
        self._fields = SearchFields(collection=collection, **{"group_by": "document", **fields})

    def close(self) -> None:
        """Closes the connections of blocking calls; later calls open new ones."""
        self._fields.close()

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        await self._fields.aclose()

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **fields: Any,
    ) -> Self:
        """`fields` are those of the constructor. Raises an error if `embedding` is another model's: the node embeds."""
        store = cls._for(embedding, fields)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **fields: Any,
    ) -> Self:
        store = cls._for(embedding, fields)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    def _for(cls, embedding: Embeddings | None, fields: Mapping[str, Any]) -> Self:
        if embedding is not None and not isinstance(embedding, TandemEmbeddings):
            raise ValueError(f"The node embeds by itself: {type(embedding).__name__} would not be used. Give None.")
        return cls(**fields)

    # What goes in and out

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """Adds texts. Returns their ids once all are searchable. Raises IngestFailed if some are not. `options` are
        further fields of `POST /ingest`, such as `chunking`.
        """
        wire = self._wire(texts, metadatas, ids)
        fields = self._fields
        return ids_of(wire, fields.client.ingest_all(wire, collection=fields.collection, **options))

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        wire = self._wire(texts, metadatas, ids)
        fields = self._fields
        return ids_of(wire, await fields.async_client.ingest_all(wire, collection=fields.collection, **options))

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns the searchable documents among `ids`, with their whole text. Raises NoText for one that was ingested
        as a file.
        """
        found = []
        fields = self._fields
        for id_ in ids:
            try:
                record = fields.client.document(id_, collection=fields.collection)
                if record["state"] == "ready":
                    found.append(_document(record, fields.client.original(id_, collection=fields.collection)))
            except NotFound as error:
                _raise_unless_document_missing(error)
        return found

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        found = []
        fields = self._fields
        for id_ in ids:
            try:
                record = await fields.async_client.document(id_, collection=fields.collection)
                if record["state"] == "ready":
                    found.append(
                        _document(record, await fields.async_client.original(id_, collection=fields.collection))
                    )
            except NotFound as error:
                _raise_unless_document_missing(error)
        return found

    def delete(self, ids: list[str] | None = None, **_: Any) -> bool:
        """Deletes documents. Returns when no search can find them any more. Does nothing for documents that do not
        exist.
        """
        for id_ in _require_ids(ids):
            try:
                self._fields.client.delete_document(id_, collection=self._fields.collection)
            except NotFound as error:
                _raise_unless_document_missing(error)
        return True

    async def adelete(self, ids: list[str] | None = None, **_: Any) -> bool:
        for id_ in _require_ids(ids):
            try:
                await self._fields.async_client.delete_document(id_, collection=self._fields.collection)
            except NotFound as error:
                _raise_unless_document_missing(error)
        return True

    # Searches: `options` are fields of TandemRetriever.

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        return [document for document, _ in self.similarity_search_with_score(query, k, **options)]

    async def asimilarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **options)]

    def similarity_search_with_score(self, query: str, k: int = 4, **options: Any) -> list[tuple[Document, float]]:
        """Returns documents with scores, best first. The score is NaN for hits that `budget_ms` left without one."""
        return _read(self._fields.client.search(query, **self._options(k, options)))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        return _read(await self._fields.async_client.search(query, **self._options(k, options)))

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """Uses the node's own `diversity`, among `fetch_k` candidates."""
        mmr_options = {"candidates": fetch_k, "diversity": 1 - lambda_mult, **options}
        return self.similarity_search(query, k, **mmr_options)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        mmr_options = {"candidates": fetch_k, "diversity": 1 - lambda_mult, **options}
        return await self.asimilarity_search(query, k, **mmr_options)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        return _read_relevance(self._fields.client.search(query, **self._options(k, options)))

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        options = self._options(k, options)
        return _read_relevance(await self._fields.async_client.search(query, **options))

    def _options(self, k: int, options: Mapping[str, Any]) -> dict[str, Any]:
        return self._fields.options({"k": k, **options}, needed=("text", "metadata", "scores"))

    def _wire(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None, ids: Sequence[str | None] | None
    ) -> list[dict[str, Any]]:
        every = list(texts)
        rows = zip(every, metadatas or [{} for _ in every], ids or [None for _ in every], strict=True)
        return to_wire((Text(text, metadata or {}, id_) for text, metadata, id_ in rows), self._fields.partition)


def _read(answer: Mapping[str, Any]) -> list[tuple[Document, float]]:
    return [
        (
            Document(hit["text"], id=hit["document_id"], metadata=hit["metadata"]),
            nan if hit["score"] is None else hit["score"],
        )
        for hit in answer["hits"]
    ]


def _read_relevance(answer: Mapping[str, Any]) -> list[tuple[Document, float]]:
    """Returns the scores that mean relevance, from 0 to 1; if nothing was reranked, the scores of the order."""
    name = answer["relevance_name"]
    if name is None:
        return _read(answer)
    return [
        (document, hit["scores"].get(name, 0.0))
        for (document, _), hit in zip(_read(answer), answer["hits"], strict=True)
    ]


def _document(record: Mapping[str, Any], original: bytes) -> Document:
    try:
        return Document(original.decode(), id=record["id"], metadata=record["metadata"])
    except UnicodeDecodeError:
        raise NoText(f"Document {record['id']!r} is a file ({record['media_type']}): search brings its text.") from None


def _require_ids(ids: list[str] | None) -> list[str]:
    if ids is None:
        raise ValueError("Name the ids to delete. To delete everything, delete the collection.")
    return ids


def _raise_unless_document_missing(error: NotFound) -> None:
    """Ignores a missing document; raises the error if the collection is missing."""
    if error.code != "document_not_found":
        raise error
