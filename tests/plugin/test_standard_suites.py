"""LangChain's own suites of what a component must do, against a node."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_tandem import TandemClient, TandemEmbeddings, TandemRetriever, TandemVectorStore

LANTERNS = "lanterns"


@pytest.fixture(scope="module", autouse=True)
def filled(node: TandemClient) -> Iterator[None]:
    node.create_collection(LANTERNS)
    node.ingest_all([{"text": f"Lantern number {number}."} for number in range(5)], collection=LANTERNS)
    yield
    node.delete_collection(LANTERNS)


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return TandemRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"collection": LANTERNS}

    @property
    def retriever_query_example(self) -> str:
        return "Which lantern?"


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return TandemEmbeddings


class TestEmbeddingsByThemselves(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return TandemEmbeddings

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"TANDEM_URL": "http://somewhere:1", "TANDEM_API_KEY": "secret"}
        return environment, {}, {"url": "http://somewhere:1", "api_key": "secret"}


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, collection: str) -> Iterator[VectorStore]:  # type: ignore[override]
        store = TandemVectorStore(collection)
        yield store
        store.close()
