"""The node's reranker for LangChain."""

from collections.abc import Iterable, Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import Field

from langchain_tandem.connection import STRICT, Connection


class TandemReranker(Connection, BaseDocumentCompressor):
    """Orders documents of any source by how well they answer the query. Results of TandemRetriever are already
    reranked.
    """

    model_config = STRICT

    top_n: int | None = Field(None, ge=1, description="How many to keep; None: all.")
    score_key: str = Field("relevance_score", description="Key of Document.metadata for the score, from 0 to 1.")

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        del callbacks  # nothing happens on the way that they could be told
        if not documents:
            return []
        return self._ordered(documents, self.client.rerank(query, _texts(documents), top_n=self.top_n))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        del callbacks  # nothing happens on the way that they could be told
        if not documents:
            return []
        return self._ordered(documents, await self.async_client.rerank(query, _texts(documents), top_n=self.top_n))

    def _ordered(self, documents: Sequence[Document], scores: Iterable[tuple[int, float]]) -> list[Document]:
        return [
            document.model_copy(update={"metadata": {**document.metadata, self.score_key: score}})
            for document, score in ((documents[place], score) for place, score in scores)
        ]


def _texts(documents: Iterable[Document]) -> list[str]:
    return [document.page_content for document in documents]
