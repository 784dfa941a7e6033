"""Both retrievers against a node: what goes in, what comes out, and what is said where that cannot be."""

import asyncio
import copy
import pickle
from collections.abc import Iterator, Sequence

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import Document as LlamaDocument
from pydantic import ValidationError

from langchain_tandem import TandemClient, TandemLlamaIndexRetriever, TandemRetriever, TandemVectorStore
from langchain_tandem.client import IngestFailed, NotFound, Refused, Unauthorized
from langchain_tandem.hits import MetadataClash

KILN = "The kiln is held at its highest temperature for an hour."
GLAZE = "The glaze is mixed with ash from the river."


@pytest.fixture(scope="module")
def workshop(node: TandemClient) -> Iterator[str]:
    node.create_collection("workshop")
    documents = [
        {"id": "notes/kiln.txt", "text": KILN, "title": "Kiln", "metadata": {"year": 2020, "score": "mine"}},
        {"id": "glaze", "text": GLAZE, "metadata": {"year": 2024}, "partition": "glazes"},
        {"id": "long", "text": " ".join(f"Sentence {number} tells of clay." for number in range(60))},
    ]
    node.ingest_all(documents, collection="workshop", chunking={"max_tokens": 64, "overlap": 0})
    yield "workshop"
    node.delete_collection("workshop")


def ids(documents: Sequence[Document]) -> list[str]:
    return [document.metadata["tandem"]["document_id"] for document in documents]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_document_says_what_it_is_and_how_it_was_found(workshop: str, asynchronous: bool) -> None:
    retriever = TandemRetriever(collection=workshop, k=1)
    question = "How hot is the kiln?"
    [found] = await retriever.ainvoke(question) if asynchronous else retriever.invoke(question)
    told = found.metadata["tandem"]
    assert found.page_content == KILN
    assert found.id == told["chunk_id"] != told["document_id"]
    assert {key: value for key, value in found.metadata.items() if key != "tandem"} == {"year": 2020, "score": "mine"}
    assert (told["document_id"], told["title"], told["page"]) == ("notes/kiln.txt", "Kiln", None)
    assert (told["start"], told["end"]) == (0, len(KILN))
    assert told["scores"].keys() == told["ranks"].keys() == {"dense", "sparse", "fused", "rerank"}
    assert told["score"] == told["scores"][told["score_name"]]
    assert told["score_name"] == "rerank"
    await retriever.aclose()


def test_fields_and_overrides_of_a_call_reach_the_node(workshop: str) -> None:
    retriever = TandemRetriever(collection=workshop, k=5, mode="dense", rerank=False)
    everything = retriever.invoke("clay")
    assert {found.metadata["tandem"]["score_name"] for found in everything} == {"dense"}
    assert retriever.invoke("clay", mode="sparse")[0].metadata["tandem"]["score_name"] == "sparse"
    assert ids(retriever.invoke("clay", filter={"type": "eq", "key": "metadata.year", "value": 2024})) == ["glaze"]
    assert ids(retriever.invoke("clay", partition="glazes")) == ["glaze"]
    assert ids(retriever.invoke("clay sentence", k=2)) == ["long", "long"]
    assert len(retriever.invoke("clay sentence", group_by="document")) == 3
    best = everything[0].metadata["tandem"]["score"]
    assert len(retriever.invoke("clay", min_score=best)) < len(everything)
    [with_context] = retriever.invoke("clay sentence", k=1, neighbors=1, highlights=1, rerank=True)
    context = with_context.metadata["tandem"]["context"]
    assert len(context["text"]) > len(with_context.page_content)
    assert retriever.k == 5


def test_only_the_included_parts_of_a_hit_are_sent(workshop: str) -> None:
    retriever = TandemRetriever(collection=workshop, k=1, include=["section"])
    [found] = retriever.invoke("How hot is the kiln?")
    assert found.page_content == KILN
    assert found.metadata.keys() == {"tandem"}
    assert "section" in found.metadata["tandem"]
    assert found.metadata["tandem"].keys().isdisjoint({"title", "scores", "ranks"})
    [found] = retriever.invoke("How hot is the kiln?", include=["metadata"])
    assert found.metadata["year"] == 2020
    [node] = TandemLlamaIndexRetriever(collection=workshop, k=1, include=[]).retrieve("How hot is the kiln?")
    assert (node.text, node.metadata.keys()) == (KILN, {"tandem"})
    store = TandemVectorStore(workshop, include=[])
    [(found, score)] = store.similarity_search_with_relevance_scores("How hot is the kiln?", 1)
    assert (found.page_content, found.metadata["year"]) == (KILN, 2020)
    assert score > 0


def test_a_typing_error_is_told(workshop: str) -> None:
    with pytest.raises(ValidationError, match="top"):
        TandemRetriever(top=3)  # type: ignore[call-arg]
    with pytest.raises(Refused, match="topk: there is no such field"):
        TandemRetriever(collection=workshop).invoke("x", topk=3)
    with pytest.raises(NotFound, match="nowhere"):
        TandemRetriever(collection="nowhere").invoke("x")


def test_no_key_is_shown(workshop: str, node_url: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        TandemRetriever(url=node_url, api_key="not-the-right-one").invoke("x")  # type: ignore[arg-type]
    assert "not-the-right-one" not in str(refused.value)
    with pytest.raises(ValidationError) as wrong:
        TandemRetriever(api_key="not a right one", k=0)  # type: ignore[arg-type]
    assert "not a right one" not in str(wrong.value)
    with pytest.raises(ValidationError) as wrong:
        TandemRetriever(api_key="not a right one")  # type: ignore[arg-type]
    assert "not a right one" not in str(wrong.value)
    retriever = TandemRetriever(api_key="not-the-right-one", collection=workshop)  # type: ignore[arg-type]
    assert "not-the-right-one" not in f"{retriever!r} {retriever.model_dump()} {retriever.client!r}"


def test_every_event_loop_gets_connections_of_its_own(workshop: str) -> None:
    retriever = TandemRetriever(collection=workshop, k=1)

    async def ask(*, nested: bool) -> int:
        client = retriever.async_client
        found = await asyncio.gather(*(retriever.ainvoke("kiln") for _ in range(5)))
        others = await asyncio.to_thread(asyncio.run, ask(nested=False)) if nested else 0
        assert retriever.async_client is client
        await retriever.aclose()
        return len(found) + others

    assert [asyncio.run(ask(nested=True)), asyncio.run(ask(nested=False))] == [10, 5]


def test_connections_of_loops_that_ended_are_not_kept(workshop: str) -> None:
    retriever = TandemRetriever(collection=workshop)

    async def touch() -> int:
        return id(retriever.async_client)

    for _ in range(3):
        asyncio.run(touch())
    assert len(retriever._clients._asynchronous) == 1


def test_copies_and_pickles_find_their_own_way(workshop: str) -> None:
    retriever = TandemRetriever(collection=workshop, k=1)
    retriever.invoke("kiln")
    for other in (copy.deepcopy(retriever), pickle.loads(pickle.dumps(retriever))):  # our own bytes
        assert other.client is not retriever.client
        assert ids(other.invoke("kiln")) == ["notes/kiln.txt"]
        other.close()
    retriever.close()
    assert ids(retriever.invoke("kiln")) == ["notes/kiln.txt"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_added_documents_are_found_at_once(collection: str, node: TandemClient, asynchronous: bool) -> None:
    retriever = TandemRetriever(collection=collection)
    documents = [
        Document("A teapot of porcelain.", metadata={"page": 1}),
        Document("A teapot of porcelain.", metadata={"page": 2}),
        Document("A bowl of stoneware.", id="shelf/bowl"),
    ]
    add = retriever.aadd_documents if asynchronous else retriever.add_documents

    async def added(texts: list[Document]) -> list[str]:
        result = add(texts)
        return result if isinstance(result, list) else await result

    first = await added(documents)
    assert len(set(first)) == 3
    assert first[2] == "shelf/bowl"
    assert sorted(found.metadata["page"] for found in retriever.invoke("porcelain", min_score=0.5)) == [1, 2]
    assert await added(documents) == first
    assert len(list(node.documents(collection))) == 3
    await added([Document("A bowl of porcelain.", id="shelf/bowl")])
    assert "shelf/bowl" in ids(retriever.invoke("bowl of porcelain", k=1))
    await retriever.aclose()


def test_what_cannot_be_added_is_named(collection: str) -> None:
    retriever = TandemRetriever(collection=collection)
    with pytest.raises(Refused, match="empty_text"):
        retriever.add_documents([Document(" ")])
    with pytest.raises(ValueError, match=r"that of the text 'A bowl' is not: .* set"):
        retriever.add_documents([Document("A bowl", metadata={"of": {1}})])
    with pytest.raises(IngestFailed, match=r"1 of 2 documents failed\. broken: ") as failed:
        retriever.client.ingest_all(
            [{"id": "whole", "text": "A bowl."}, {"id": "broken", "content": b"%PDF-1.4 broken"}],
            collection=collection,
        )
    assert [receipt["id"] for receipt in failed.value.receipts] == ["broken"]


def test_metadata_never_hides_other_metadata(collection: str, node: TandemClient) -> None:
    retriever = TandemRetriever(collection=collection)
    with pytest.raises(MetadataClash, match="'tandem'"):
        retriever.add_documents([Document("A bowl.", metadata={"tandem": 1})])
    node.ingest_all([{"text": "A bowl.", "metadata": {"tandem": 1}}], collection=collection)
    with pytest.raises(MetadataClash, match="metadata_key"):
        retriever.invoke("bowl")
    [found] = TandemRetriever(collection=collection, metadata_key="hit").invoke("bowl")
    assert found.metadata["tandem"] == 1
    assert found.metadata["hit"]["score"] > 0


def test_what_a_collection_leaves_out_is_found_under_the_other_id(node: TandemClient) -> None:
    node.create_collection("once", duplicates="skip")
    retriever = TandemRetriever(collection="once")
    assert retriever.add_documents([Document("A bowl.", id="a")]) == ["a"]
    assert retriever.add_documents([Document("A bowl.", id="b")]) == ["a"]
    node.delete_collection("once")


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_node_of_llama_index_says_the_same(workshop: str, asynchronous: bool) -> None:
    retriever = TandemLlamaIndexRetriever(collection=workshop, k=1)
    question = "How hot is the kiln?"
    [found] = await retriever.aretrieve(question) if asynchronous else retriever.retrieve(question)
    told = found.node.metadata["tandem"]
    assert (found.node.get_content(), found.node.node_id, found.score) == (KILN, told["chunk_id"], told["score"])
    assert found.node.ref_doc_id == told["document_id"] == "notes/kiln.txt"
    assert (found.node.start_char_idx, found.node.end_char_idx) == (0, len(KILN))  # type: ignore[attr-defined]
    assert found.node.metadata["year"] == 2020
    assert "chunk_id" not in found.node.get_content("llm")  # type: ignore[arg-type]
    await retriever.aclose()
    retriever.close()


async def test_llama_index_documents_are_found_at_once(collection: str) -> None:
    retriever = TandemLlamaIndexRetriever(collection=collection)
    assert retriever.add_documents([LlamaDocument(text="A bowl.", id_="bowl", metadata={"of": "clay"})]) == ["bowl"]
    assert await retriever.aadd_documents([LlamaDocument(text="A teapot.", id_="teapot")]) == ["teapot"]
    assert [found.node.ref_doc_id for found in retriever.retrieve("teapot")] == ["teapot", "bowl"]
    with pytest.raises(MetadataClash):
        retriever.add_documents([LlamaDocument(text="A bowl.", metadata={"tandem": 1})])
    await retriever.aclose()
