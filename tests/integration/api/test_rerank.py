"""The reranker on the wires of Jina, Cohere and vLLM, by the clients that speak them."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import cohere
import pytest
from cohere.core.api_error import ApiError
from cohere.errors import BadRequestError, NotFoundError, ServiceUnavailableError, UnauthorizedError
from langchain_cohere import CohereRerank
from langchain_community.document_compressors import JinaRerank, jina_rerank
from langchain_core.documents import Document
from pydantic import SecretStr

from app.http.limits import Admission
from retrieval.errors import EngineDead
from retrieval.types import Lane
from tests.support.nodes.faces import KEY, Face

QUERY = "hot kiln"
DOCUMENTS = ["An hour passes.", "The kiln is hot.", "A kiln."]
ORDER = [1, 2, 0]


async def expected(face: Face, query: str = QUERY, documents: Sequence[str] = DOCUMENTS) -> tuple[float, ...]:
    return (await face.reranker.rerank(query, documents, lane=Lane.INTERACTIVE)).scores


@pytest.fixture
def client(face: Face) -> cohere.AsyncClientV2:
    return cohere.AsyncClientV2(KEY, base_url=face.url)


async def test_jina_s_shape(face: Face) -> None:
    answer = await face.http.post(
        "/v1/rerank", json={"model": "fake-reranker", "query": QUERY, "documents": DOCUMENTS, "top_n": 2}
    )
    said = answer.json()
    scores = await expected(face)
    assert said["results"] == [
        {"index": index, "relevance_score": scores[index], "document": {"text": DOCUMENTS[index]}}
        for index in ORDER[:2]
    ]
    assert scores[1] > scores[2] > scores[0]
    assert said["usage"] == {"total_tokens": 18, "prompt_tokens": 18, "truncated_tokens": 0}
    assert said["model"] == "fake-reranker"
    assert said["id"] == f"rerank-{answer.headers['x-request-id']}"
    bare = {"query": QUERY, "documents": [{"text": text} for text in DOCUMENTS], "return_documents": False}
    results = (await face.http.post("/v1/rerank", json=bare)).json()["results"]
    assert results == [{"index": index, "relevance_score": scores[index]} for index in ORDER]


async def test_cohere_s_clients(face: Face, client: cohere.AsyncClientV2) -> None:
    scores = await expected(face)
    answer = await client.rerank(model="tandem", query=QUERY, documents=DOCUMENTS, top_n=2, priority=1)
    assert [(each.index, each.relevance_score) for each in answer.results] == [(i, scores[i]) for i in ORDER[:2]]
    assert answer.meta.tokens.input_tokens == 18
    assert answer.meta.api_version.version == "2"
    assert answer.id
    blocking = cohere.ClientV2(KEY, base_url=face.url)
    again = await asyncio.to_thread(blocking.rerank, model="tandem", query=QUERY, documents=DOCUMENTS)
    assert [each.index for each in again.results] == ORDER


async def test_documents_are_cut_where_it_is_asked_for_and_what_does_not_fit_is_told(
    face: Face, client: cohere.AsyncClientV2
) -> None:
    long = "cold kiln " * 300
    cut = await client.rerank(model="tandem", query=QUERY, documents=[long], max_tokens_per_doc=1)
    assert cut.results[0].relevance_score == (await expected(face, documents=["cold"]))[0]
    assert cut.meta.warnings is None
    whole = await client.rerank(model="tandem", query=QUERY, documents=[long])
    assert whole.meta.warnings == ["90 tokens did not fit the model's window"]
    told = await face.http.post("/v1/rerank", json={"query": QUERY, "documents": [long]})
    assert told.json()["usage"]["truncated_tokens"] == 90


async def test_langchain_s_cohere_rerank(face: Face) -> None:
    compressor = CohereRerank(model="tandem", cohere_api_key=SecretStr(KEY), base_url=face.url, top_n=2)
    found = await compressor.acompress_documents([Document(text) for text in DOCUMENTS], QUERY)
    scores = await expected(face)
    assert [each.page_content for each in found] == [DOCUMENTS[index] for index in ORDER[:2]]
    assert [each.metadata["relevance_score"] for each in found] == [scores[index] for index in ORDER[:2]]


async def test_langchain_s_jina_rerank(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is a constant of the module."""
    monkeypatch.setattr(jina_rerank, "JINA_API_URL", f"{face.url}/v1/rerank")
    compressor = JinaRerank(model="tandem", jina_api_key=KEY, top_n=2)
    found = await asyncio.to_thread(compressor.compress_documents, [Document(text) for text in DOCUMENTS], QUERY)
    assert [each.page_content for each in found] == [DOCUMENTS[index] for index in ORDER[:2]]
    wrong = JinaRerank(model="jina-reranker-v3", jina_api_key=KEY)
    with pytest.raises(RuntimeError, match="'jina-reranker-v3' is not served here"):
        await asyncio.to_thread(wrong.rerank, DOCUMENTS, QUERY)


async def test_scores_of_pairs(face: Face) -> None:
    one = await face.http.post("/score", json={"model": "tandem", "text_1": QUERY, "text_2": DOCUMENTS})
    said = one.json()
    assert said["data"] == [
        {"index": index, "object": "score", "score": score} for index, score in enumerate(await expected(face))
    ]
    assert (said["object"], said["model"]) == ("list", "fake-reranker")
    assert re.fullmatch("score-[0-9a-f]{32}", said["id"])
    assert said["usage"]["total_tokens"] == 18
    queries = ["hour", QUERY, "hour"]
    paired = (await face.http.post("/score", json={"text_1": queries, "text_2": DOCUMENTS})).json()
    assert [each["score"] for each in paired["data"]] == [
        (await expected(face, query, [text]))[0] for query, text in zip(queries, DOCUMENTS, strict=True)
    ]
    single = (await face.http.post("/score", json={"text_1": QUERY, "text_2": DOCUMENTS[1]})).json()
    assert [each["score"] for each in single["data"]] == [(await expected(face))[1]]


async def test_passages_count_as_candidates_and_go_first(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, lanes = [], []
    admit, rerank = Admission.admit, face.reranker.rerank

    def counting(self: Admission, count: int, seconds: float, **how: bool) -> object:
        counted.append((self._unit, count))
        return admit(self, count, seconds, **how)

    async def spy(query: str, passages: Sequence[str], **arguments: object) -> object:
        lanes.append((arguments["lane"], arguments["instruction"]))
        return await rerank(query, passages, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Admission, "admit", counting)
    monkeypatch.setattr(face.reranker, "rerank", spy)
    body = {"query": QUERY, "documents": DOCUMENTS, "instruction": "Find kilns"}
    await face.http.post("/v1/rerank", json=body)
    await face.http.post("/v2/rerank", json=body)
    await face.http.post("/score", json={"text_1": QUERY, "text_2": DOCUMENTS, "instruction": "Find kilns"})
    assert counted == [("candidates", 3)] * 3
    assert lanes == [(Lane.INTERACTIVE, "Find kilns")] * 3


async def test_errors_are_those_that_cohere_s_client_knows(
    face: Face, client: cohere.AsyncClientV2, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(kind: type[ApiError], key: str = KEY, **asked: object) -> dict[str, str]:
        body = {"model": "tandem", "query": QUERY, "documents": DOCUMENTS} | asked
        with pytest.raises(kind) as error:
            await cohere.AsyncClientV2(key, base_url=face.url).rerank(**body, request_options={"max_retries": 0})  # type: ignore[arg-type]
        return dict(error.value.body)

    assert await refused(BadRequestError, documents=[]) == {
        "message": "documents: List should have at least 1 item after validation, not 0",
        "code": "invalid_request",
    }
    assert (await refused(NotFoundError, model="rerank-v3.5"))["code"] == "model_not_found"
    assert (await refused(UnauthorizedError, key="wrong"))["code"] == "unauthorized"
    monkeypatch.setattr(face.reranker, "fail_with", EngineDead("The engine died."))
    assert await refused(ServiceUnavailableError) == {"message": "The engine died.", "code": "engine_dead"}


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/v1/rerank", {}),
        ("/v1/rerank", {"query": " ", "documents": ["a"]}),
        ("/v1/rerank", {"query": "a", "documents": []}),
        ("/v1/rerank", {"query": "a", "documents": ["a"] * 1001}),
        ("/v1/rerank", {"query": "a", "documents": [1]}),
        ("/v1/rerank", {"query": "a", "documents": [{"title": "a"}]}),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "top_n": 0}),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "max_tokens_per_doc": 0}),
        ("/score", {"text_1": "a"}),
        ("/score", {"text_1": ["a", "b"], "text_2": "c"}),
        ("/score", {"text_1": [], "text_2": "c"}),
        ("/score", {"text_1": "a", "text_2": []}),
    ],
)
async def test_wrong_requests_are_refused_in_a_shape_for_jina_s_and_vllm_s_clients(
    face: Face, path: str, wrong: dict[str, object]
) -> None:
    answer = await face.http.post(path, json=wrong)
    assert answer.status_code == 400, answer.text
    said = answer.json()
    assert said["detail"] == said["error"]["message"]
    assert said["error"]["type"] == "invalid_request_error"


async def test_a_lone_surrogate_is_refused(face: Face) -> None:
    body = b'{"query": "a", "documents": ["\\ud800"], "max_tokens_per_doc": 1}'
    answer = await face.http.post("/v1/rerank", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_text")


async def test_bodies_that_are_too_large_are_refused_in_the_shape_of_their_route(face: Face) -> None:
    large = b" " * (2 * 2**20 + 1)

    async def piece_by_piece() -> AsyncIterator[bytes]:
        yield large[: 2**20]
        yield large[2**20 :]

    expected: dict[str, Callable[[dict[str, Any]], object]] = {
        "/search": lambda body: body["error"]["code"],
        "/v1/embeddings": lambda body: (body["error"]["type"] == "invalid_request_error") and body["error"]["code"],
        "/v1/rerank": lambda body: (body["detail"] == body["error"]["message"]) and body["error"]["code"],
        "/v2/rerank": lambda body: body["message"] and body["code"],
        "/retrieval": lambda body: (body["error_code"] == 413) and body["error_msg"].rpartition("(")[2].rstrip(")"),
    }
    for path, code in expected.items():
        for content in (large, piece_by_piece()):  # of a length that is told at once, and of one that is not
            answer = await face.http.post(path, content=content, headers={"Content-Type": "application/json"})
            assert (answer.status_code, code(answer.json())) == (413, "too_large"), path
