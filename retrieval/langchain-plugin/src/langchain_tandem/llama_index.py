"""A retriever for LlamaIndex."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_tandem.documents import Text, ids_of, to_wire
from langchain_tandem.hits import metadata_of, refuse_clash
from langchain_tandem.search_fields import SearchFields

try:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import (
        Document,
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
except ImportError as error:
    raise ImportError("LlamaIndex is not installed: pip install llama-index-core", name="llama_index") from error


class TandemLlamaIndexRetriever(BaseRetriever):
    """Finds chunks: recalled by vectors and words, and reranked on the node.

    Takes the fields of TandemRetriever. In a node, `text` is the chunk's text, `node_id` its id, and `ref_doc_id` its
    document. `metadata` holds the document's metadata and, under `metadata_key`, the node's description of the hit,
    which is excluded from prompts and embeddings. A hit that `budget_ms` left without a score has none here.
    """

    def __init__(
        self, *, metadata_key: str = "tandem", callback_manager: CallbackManager | None = None, **fields: Any
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self._fields = SearchFields(**fields)
        self._metadata_key = metadata_key

    def add_documents(self, documents: Sequence[Document], *, chunking: Mapping[str, int] | None = None) -> list[str]:
        """Adds documents. Returns their ids once all are searchable. Raises IngestFailed if some are not."""
        wire = self._wire(documents)
        fields = self._fields
        return ids_of(wire, fields.client.ingest_all(wire, collection=fields.collection, chunking=chunking))

    async def aadd_documents(
        self, documents: Sequence[Document], *, chunking: Mapping[str, int] | None = None
    ) -> list[str]:
        """The asynchronous form of `add_documents`."""
        wire = self._wire(documents)
        fields = self._fields
        return ids_of(wire, await fields.async_client.ingest_all(wire, collection=fields.collection, chunking=chunking))

    def close(self) -> None:
        """Closes the connections of blocking calls; later calls open new ones."""
        self._fields.close()

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        await self._fields.aclose()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        fields = self._fields
        return self._read(fields.client.search(query_bundle.query_str, **fields.options({})))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        fields = self._fields
        return self._read(await fields.async_client.search(query_bundle.query_str, **fields.options({})))

    def _read(self, answer: Mapping[str, Any]) -> list[NodeWithScore]:
        return [NodeWithScore(node=self._node(hit, answer["score_name"]), score=hit["score"]) for hit in answer["hits"]]

    def _node(self, hit: Mapping[str, Any], score_name: str) -> TextNode:
        return TextNode(
            id_=hit["chunk_id"],
            text=hit["text"],
            metadata=metadata_of(hit, score_name, self._metadata_key),
            excluded_llm_metadata_keys=[self._metadata_key],
            excluded_embed_metadata_keys=[self._metadata_key],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=hit["document_id"])},
            start_char_idx=hit["start"],
            end_char_idx=hit["end"],
        )

    def _wire(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        for document in documents:
            refuse_clash(document.metadata, self._metadata_key, f"document {document.id_!r}")
        texts = [Text(document.get_content(), document.metadata, document.id_) for document in documents]
        return to_wire(texts, self._fields.partition)
