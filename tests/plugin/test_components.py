"""Embeddings, reranker, vector store and client against a node, beyond what LangChain's suites ask."""

from collections.abc import Sequence
from math import dist, isclose

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_tandem import AsyncTandemClient, TandemClient, TandemEmbeddings, TandemReranker, TandemVectorStore
from langchain_tandem.client import NotFound, Unauthorized
from langchain_tandem.vectorstore import NoText


def test_queries_and_documents_are_told_apart() -> None:
    embeddings = TandemEmbeddings(instruction="Find what pots are made of")
    query, document = embeddings.embed_query("clay"), embeddings.embed_documents(["clay"])[0]
    assert query != document
    assert query != TandemEmbeddings().embed_query("clay")
    assert isclose(dist(query, [0] * len(query)), 1, rel_tol=1e-5)
    assert embeddings.embed_documents([]) == []


async def test_more_texts_than_a_request_takes() -> None:
    embeddings = TandemEmbeddings()
    vectors = await embeddings.aembed_documents([f"text {number}" for number in range(300)])
    assert len(vectors) == 300
    assert vectors[299] == pytest.approx((await embeddings.aembed_documents(["text 299"]))[0])
    await embeddings.aclose()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_reranker_orders_and_keeps_what_documents_are(asynchronous: bool) -> None:
    async def order(reranker: TandemReranker, documents: Sequence[Document]) -> Sequence[Document]:
        if asynchronous:
            return await reranker.acompress_documents(documents, "red clay")
        return reranker.compress_documents(documents, "red clay")

    texts = ("blue glaze", "a red pot", "red clay")
    documents = [Document(text, id=text, metadata={"of": text}) for text in texts]
    first, second = await order(TandemReranker(top_n=2), documents)
    assert (first.id, second.id) == ("red clay", "a red pot")
    assert 1 >= first.metadata.pop("relevance_score") > second.metadata.pop("relevance_score") > 0
    assert [first, second] == documents[:0:-1]
    assert len(await order(TandemReranker(), documents)) == 3
    assert await order(TandemReranker(), []) == []
    with pytest.raises(Unauthorized, match="unauthorized"):
        await order(TandemReranker(api_key="another"), documents)


async def test_a_long_document_is_found_by_its_best_chunk_and_had_as_a_whole(collection: str) -> None:
    store = TandemVectorStore(collection)
    text = "\n\n".join(f"Paragraph {number} tells of {word}." for number, word in enumerate(["clay", "ash"] * 30))
    assert (
        store.add_texts([text, "A teapot."], ids=["long", None], chunking={"max_tokens": 32, "overlap": 0})[0] == "long"
    )
    found = store.similarity_search("Paragraph 7", k=5)
    assert [document.id for document in found].count("long") == 1
    assert "Paragraph 7 " in found[0].page_content != text
    assert store.get_by_ids(["long"]) == await store.aget_by_ids(["long"]) == [Document(text, id="long")]
    await store.aclose()


def test_scores_and_their_bounds(collection: str) -> None:
    store = TandemVectorStore.from_texts(["red clay", "blue glaze"], collection=collection, metadatas=[{}, {"n": 1}])
    [(first, score), (_, less)] = store.similarity_search_with_relevance_scores("red clay", k=2)
    assert first.page_content == "red clay"
    assert 1 >= score > less >= 0
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": score - 0.01}
    )
    assert [found.page_content for found in retriever.invoke("red clay")] == ["red clay"]
    varied = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "lambda_mult": 0.3})
    assert len(varied.invoke("red clay")) == 2
    wanted = {"type": "eq", "key": "metadata.n", "value": 1}
    assert [found.page_content for found in store.similarity_search("clay", filter=wanted)] == ["blue glaze"]


async def test_what_a_store_cannot_do_it_says(collection: str, node: TandemClient) -> None:
    with pytest.raises(ValueError, match="DeterministicFakeEmbedding would not be used"):
        TandemVectorStore.from_texts(["x"], DeterministicFakeEmbedding(size=3), collection=collection)
    store = await TandemVectorStore.afrom_texts(["x y"], TandemEmbeddings(), collection=collection)
    with pytest.raises(ValueError, match="Name the ids"):
        store.delete()
    gone = TandemVectorStore("nowhere")
    for call in (gone.get_by_ids, gone.delete):
        with pytest.raises(NotFound, match="collection_not_found"):
            call(["x"])
    page = "<html><body><p>Glühen</p></body></html>".encode("latin-1")
    node.ingest_all([{"id": "page", "content": page, "filename": "a.html"}], collection=collection)
    with pytest.raises(NoText, match="search brings its text"):
        store.get_by_ids(["page"])
    assert node.original("page", collection=collection) == page
    await store.aclose()


async def test_originals_are_files_to_save(collection: str, node_url: str, node: TandemClient) -> None:
    text = "<script>alert(1)</script> Glühen"
    node.ingest_all([{"id": "a/../b ü.html", "text": text, "media_type": "text/html"}], collection=collection)
    async with AsyncTandemClient() as client:
        assert (await client.original("a/../b ü.html", collection=collection)).decode() == text
        assert (await client.document("a/../b ü.html", collection=collection))["id"] == "a/../b ü.html"
    answer = node._http.get("/originals/a/%2E%2E/b ü.html", params={"collection": collection})
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''b%20%C3%BC.html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    with pytest.raises(NotFound, match="document_not_found"):
        node.original("b", collection=collection)
    async with AsyncTandemClient(node_url, "") as stranger:
        with pytest.raises(Unauthorized):
            await stranger.original("b")


async def test_both_clients_do_what_the_api_does(collection: str, node: TandemClient) -> None:
    async with AsyncTandemClient() as client:
        documents = [{"id": f"d{number}", "text": f"Pot number {number}."} for number in range(3)]
        job_id = node.ingest(documents, collection=collection)["job_id"]
        told = [job async for job in client.watch(job_id)]
        assert (await client.job(job_id, receipts=True))["state"] == told[-1]["state"] == "succeeded"
        done = await client.ingest(documents, collection=collection, wait=True, idempotency_key="again")
        assert [receipt["status"] for receipt in done["documents"]] == ["unchanged"] * 3
        again = node.ingest(documents, collection=collection, wait=True, idempotency_key="again")
        assert again["job_id"] == done["job_id"]
        answers = await client.search_many([f"pot number {number}" for number in range(3)], collection=collection)
        assert [answer["hits"][0]["document_id"] for answer in answers] == ["d0", "d1", "d2"]
        assert [document["id"] async for document in client.documents(collection)] == ["d0", "d1", "d2"]
        await client.delete_document("d1", collection=collection)
        assert [document["id"] for document in node.documents(collection)] == ["d0", "d2"]
        assert collection in {each["name"] for each in await client.collections()}
        assert (await client.collection(collection))["chunks"] == 2
        assert (await client.audit(collection))["clean"]
        assert (await client.ready())[0]
        with pytest.raises(NotFound, match="reembedding_not_found"):
            await client.reembedding(collection)
