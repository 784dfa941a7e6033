"""LangChain components and a client for Tandem, retrieval and reranking in one service.

Names are imported lazily on first use, so that the client does not need LangChain.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_tandem.client import AsyncTandemClient, TandemClient
    from langchain_tandem.embeddings import TandemEmbeddings
    from langchain_tandem.llama_index import TandemLlamaIndexRetriever
    from langchain_tandem.reranker import TandemReranker
    from langchain_tandem.retriever import TandemRetriever
    from langchain_tandem.vectorstore import TandemVectorStore

__all__ = [
    "AsyncTandemClient",
    "TandemClient",
    "TandemEmbeddings",
    "TandemLlamaIndexRetriever",
    "TandemReranker",
    "TandemRetriever",
    "TandemVectorStore",
]
_MODULES = {
    "AsyncTandemClient": "client",
    "TandemClient": "client",
    "TandemEmbeddings": "embeddings",
    "TandemLlamaIndexRetriever": "llama_index",
    "TandemReranker": "reranker",
    "TandemRetriever": "retriever",
    "TandemVectorStore": "vectorstore",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
