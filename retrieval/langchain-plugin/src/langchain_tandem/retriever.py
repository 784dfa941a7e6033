"""A retriever for LangChain."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from langchain_tandem.connection import STRICT
from langchain_tandem.documents import Text, ids_of, to_wire
from langchain_tandem.hits import metadata_of, refuse_clash
from langchain_tandem.search_fields import SearchFields


class TandemRetriever(SearchFields, BaseRetriever):
    """Finds chunks: recalled by vectors and words, and reranked on the node.

    A call can override any field of the search: `retriever.invoke("…", k=3, rerank=False)`.

    In a Document, `page_content` is the chunk's text and `id` its id. `metadata` holds the document's metadata and,
    under `metadata_key`, the node's description of the hit: `document_id`, `start` and `end` in the document's text,
    `page`, `score`, all `scores` and `ranks`.
    """

    model_config = STRICT

    metadata_key: str = Field("tandem", description="Key of Document.metadata for the description of the hit.")

    def add_documents(
        self,
        documents: Sequence[Document],
        *,
        collection: str | None = None,
        chunking: Mapping[str, int] | None = None,
    ) -> list[str]:
        """Adds documents. Returns their ids once all are searchable. Raises IngestFailed if some are not.

        A Document's `id` becomes the document's; an existing document of that id is replaced.
        """
        wire = self._wire(documents)
        receipts = self.client.ingest_all(wire, collection=collection or self.collection, chunking=chunking)
        return ids_of(wire, receipts)

    async def aadd_documents(
        self,
        documents: Sequence[Document],
        *,
        collection: str | None = None,
        chunking: Mapping[str, int] | None = None,
    ) -> list[str]:
        """The asynchronous form of `add_documents`."""
        wire = self._wire(documents)
        receipts = await self.async_client.ingest_all(wire, collection=collection or self.collection, chunking=chunking)
        return ids_of(wire, receipts)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        del run_manager  # nothing happens on the way that it could be told
        return self._read(self.client.search(query, **self.options(overrides)))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        del run_manager  # nothing happens on the way that it could be told
        return self._read(await self.async_client.search(query, **self.options(overrides)))

    def _read(self, answer: Mapping[str, Any]) -> list[Document]:
        return [
            Document(
                hit["text"], id=hit["chunk_id"], metadata=metadata_of(hit, answer["score_name"], self.metadata_key)
            )
            for hit in answer["hits"]
        ]

    def _wire(self, documents: Iterable[Document]) -> list[dict[str, Any]]:
        texts = []
        for document in documents:
            refuse_clash(document.metadata, self.metadata_key, f"the document {document.page_content[:60]!r}")
            texts.append(Text(document.page_content, document.metadata, document.id))
        return to_wire(texts, self.partition)
