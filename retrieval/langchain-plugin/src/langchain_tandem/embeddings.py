"""The node's embedding model for LangChain."""

from langchain_core.embeddings import Embeddings
from pydantic import Field

from langchain_tandem.connection import Connection


class TandemEmbeddings(Connection, Embeddings):
    """Vectors of unit length. Queries are embedded with the model's instruction or `instruction`, and take precedence
    over ingestion; documents are embedded as documents.
    """

    instruction: str | None = Field(None, description="What queries are looking for; default: the model's own.")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.client.embed(texts, kind="document")

    def embed_query(self, text: str) -> list[float]:
        (vector,) = self.client.embed([text], kind="query", lane="interactive", instruction=self.instruction)
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return await self.async_client.embed(texts, kind="document")

    async def aembed_query(self, text: str) -> list[float]:
        client = self.async_client
        (vector,) = await client.embed([text], kind="query", lane="interactive", instruction=self.instruction)
        return vector
