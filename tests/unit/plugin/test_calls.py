"""What the clients send, what they take for an answer, and what they keep to themselves."""

import inspect
import json
import subprocess
import sys
from array import array
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from langchain_tandem import (
    TandemEmbeddings,
    TandemLlamaIndexRetriever,
    TandemReranker,
    TandemRetriever,
    TandemVectorStore,
)
from langchain_tandem.client import AsyncTandemClient, IngestFailed, InvalidSetting, NotTandem, TandemClient
from tests.support.nodes.scripted_node import URL, EitherClient, refusal

KEY = "a-key-that-nobody-may-see"
FOUND = httpx.Response(200, json={"hits": []})


def embedded(*vectors: list[float]) -> httpx.Response:
    numbers = array("f", [number for vector in vectors for number in vector])
    if sys.byteorder == "big":
        numbers.byteswap()
    return httpx.Response(200, json={"vectors": b64encode(numbers.tobytes()).decode()})


def body(request: httpx.Request) -> Any:
    return json.loads(request.content)


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type, closing: str) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(each).parameters) for name, each in found if name[0] != "_" != closing}

    blocking, asynchronous = methods(TandemClient, "close"), methods(AsyncTandemClient, "aclose")
    assert blocking.pop("close") == asynchronous.pop("aclose")
    assert blocking == asynchronous
    assert len(blocking) > 20


@pytest.mark.parametrize("kind", [TandemClient, AsyncTandemClient])
def test_the_key_is_sent_and_never_shown(kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANDEM_API_KEY", raising=False)
    for key in (KEY, SecretStr(KEY)):
        client = kind(URL, key)
        assert client._http.headers["Authorization"] == f"Bearer {KEY}"
        shown = f"{client!r} {client} {client.__dict__} {client._http!r} {client._exchange.__dict__}"
        assert KEY not in shown
    for none in (None, "", SecretStr("")):
        assert "Authorization" not in kind(URL, none)._http.headers


@pytest.mark.parametrize("kind", [TandemClient, AsyncTandemClient])
def test_a_token_is_sent_beside_the_key_and_never_shown(
    kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_TOKEN", "a.token.of-the-environment")
    for token in ("a.signed.token", SecretStr("a.signed.token")):
        client = kind(URL, KEY, token=token)
        headers = client._http.headers
        assert (headers["Authorization"], headers["X-Tandem-Token"]) == (f"Bearer {KEY}", "a.signed.token")
        assert "a.signed.token" not in f"{client!r} {client} {client.__dict__} {client._http!r}"
    assert kind(URL, KEY)._http.headers["X-Tandem-Token"] == "a.token.of-the-environment"
    assert "X-Tandem-Token" not in kind(URL, KEY, token="")._http.headers
    with pytest.raises(InvalidSetting) as raised:
        kind(URL, KEY, token="a.signed token")
    assert "signed" not in str(raised.value)
    retriever = TandemRetriever(url=URL, token="a.signed.token")
    assert retriever.client._http.headers["X-Tandem-Token"] == "a.signed.token"
    assert "a.signed.token" not in f"{retriever!r} {retriever}"


def test_the_address_has_two_names() -> None:
    for kind in (TandemClient, AsyncTandemClient):
        assert kind(base_url=f"{URL}/").url == kind(URL).url == kind(URL, base_url=URL).url
        with pytest.raises(InvalidSetting, match="mean the same"):
            kind(URL, base_url="http://elsewhere")
    for component in (TandemRetriever, TandemEmbeddings, TandemReranker):
        assert component(base_url=URL).url == component(url=URL).url == URL
        with pytest.raises(ValueError, match="base_url"):
            component(url=URL, base_url="http://elsewhere")
    for kept in (TandemVectorStore, TandemLlamaIndexRetriever):
        assert kept(base_url=URL)._fields.url == kept(url=URL)._fields.url == URL
        with pytest.raises(ValueError, match="base_url"):
            kept(url=URL, base_url="http://elsewhere")


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} x", f"{KEY}é", f"{KEY}\x00"])
def test_a_key_that_no_header_carries_is_refused_without_a_word_of_it(key: str) -> None:
    with pytest.raises(InvalidSetting) as raised:
        TandemClient(URL, key)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["", "node:8080", "ftp://node", "http://", "http://node:x", "http://user:" + KEY + "@node"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidSetting) as raised:
        TandemClient(url)
    assert KEY not in str(raised.value)


def test_what_is_not_given_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_URL", "http://elsewhere:1/")
    monkeypatch.setenv("TANDEM_API_KEY", KEY)
    client = TandemClient()
    assert (client.url, client._http.headers["Authorization"]) == ("http://elsewhere:1", f"Bearer {KEY}")
    assert "Authorization" not in TandemClient(URL, "")._http.headers


async def test_options_go_as_they_are_and_none_does_not_go(client: EitherClient) -> None:
    client.of(FOUND)
    await client("search", "窑炉", top_k=3, mode=None, filter={"type": "exists", "key": "page"}, rerank=False)
    (sent,) = client.node.requests
    wanted = {"query": "窑炉", "top_k": 3, "filter": {"type": "exists", "key": "page"}, "rerank": False}
    assert body(sent) == wanted
    assert "窑炉".encode() in sent.content


async def test_text_that_is_none_is_for_the_node_to_refuse(client: EitherClient) -> None:
    client.of(FOUND)
    await client("search", "lone \ud800")
    assert body(client.node.requests[0]) == {"query": "lone \ud800"}


async def test_many_questions_go_in_as_many_requests_as_they_need(client: EitherClient) -> None:
    client.of(
        httpx.Response(200, json={"results": [{"hits": [number]} for number in range(32)]}),
        httpx.Response(200, json={"results": [{"hits": [32]}]}),
    )
    answers = await client("search_many", [str(number) for number in range(33)], top_k=1)
    assert [answer["hits"] for answer in answers] == [[number] for number in range(33)]
    assert [len(body(request)["queries"]) for request in client.node.requests] == [32, 1]
    assert all(body(request)["top_k"] == 1 for request in client.node.requests)
    assert await client("search_many", []) == []


async def test_vectors_are_read_in_the_order_of_the_texts(client: EitherClient) -> None:
    client.of(embedded(*([1.0, float(number)] for number in range(256))), embedded([2.0, 0.5]))
    vectors = await client("embed", ["x"] * 257, kind="document")
    assert vectors == [*([1.0, float(number)] for number in range(256)), [2.0, 0.5]]
    assert [len(body(request)["texts"]) for request in client.node.requests] == [256, 1]
    assert {(body(request)["kind"], body(request)["lane"]) for request in client.node.requests} == {
        ("document", "bulk")
    }


@pytest.mark.parametrize("vectors", ["AAAA", "AAAAAAAAAAA=", "", "?"])
async def test_vectors_that_do_not_fit_the_texts_are_no_answer(client: EitherClient, vectors: str) -> None:
    client.of(httpx.Response(200, json={"vectors": vectors}))
    with pytest.raises(NotTandem):
        await client("embed", ["x", "y", "z"], kind="query")


async def test_a_rerank_tells_places_and_scores(client: EitherClient) -> None:
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    client.of(httpx.Response(200, json={"results": results}))
    assert await client("rerank", "q", ["a", "b"], top_n=2) == [(1, 0.9), (0, 0.1)]
    assert body(client.node.requests[0]) == {"query": "q", "documents": ["a", "b"], "top_n": 2}
    client.of(httpx.Response(200, json={"results": [{"index": 2, "relevance_score": 0.9}]}))
    with pytest.raises(NotTandem):
        await client("rerank", "q", ["a", "b"])


@pytest.mark.parametrize(
    ("document_id", "path"),
    [
        ("a/b c.txt", b"/documents/a/b%20c.txt"),
        ("窑?#%2F", b"/documents/%E7%AA%91%3F%23%252F"),
        ("../../collections/docs", b"/documents/%2E%2E/%2E%2E/collections/docs"),
        ("./x", b"/documents/%2E/x"),
        ("/etc/x", b"/documents//etc/x"),
    ],
)
async def test_ids_stay_what_they_are_in_paths(client: EitherClient, document_id: str, path: bytes) -> None:
    client.of(httpx.Response(200, json={"id": document_id}))
    await client("document", document_id, collection="c")
    assert client.node.requests[0].url.raw_path == path + b"?collection=c"


async def test_all_pages_of_documents_are_read(client: EitherClient) -> None:
    client.of(
        httpx.Response(200, json={"documents": [{"id": "a"}], "next_cursor": "a"}),
        httpx.Response(200, json={"documents": [{"id": "b"}], "next_cursor": None}),
    )
    assert await client("documents", "c") == [{"id": "a"}, {"id": "b"}]
    assert [request.url.params.get("cursor") for request in client.node.requests] == [None, "a"]


async def test_all_pages_of_a_document_are_read(client: EitherClient) -> None:
    client.of(
        httpx.Response(200, json={"chunks": [{"text": "a"}], "text": "a", "next_cursor": "1"}),
        httpx.Response(200, json={"chunks": [{"text": "b"}], "text": "b", "next_cursor": None}),
    )
    assert await client("document_chunks", "f/a b", collection="c") == [{"text": "a"}, {"text": "b"}]
    first, second = client.node.requests
    assert first.url.raw_path == b"/documents/f/a%20b/chunks?collection=c&limit=200"
    assert second.url.params["cursor"] == "1"
    client.of(
        httpx.Response(200, json={"text": "a\n", "next_cursor": "1"}),
        httpx.Response(200, json={"text": "b", "next_cursor": None}),
    )
    assert await client("document_text", "f/a b", collection="c") == "a\nb"
    assert client.node.requests[0].url.raw_path == b"/documents/f/a%20b/text?collection=c"


async def test_all_receipts_of_a_job_are_read(client: EitherClient) -> None:
    client.of(
        httpx.Response(200, json={"documents": [1], "next_cursor": "1"}),
        httpx.Response(200, json={"documents": [2], "next_cursor": None}),
    )
    assert (await client("job", "j", receipts=True))["documents"] == [1, 2]
    client.of(httpx.Response(200, json={"documents": [], "next_cursor": "0"}))
    await client("job", "j")
    assert [request.url.params["limit"] for request in client.node.requests] == ["0"]


async def test_failed_documents_are_told_by_name(client: EitherClient) -> None:
    error = {"code": "parse_failed", "message": "Broken."}
    receipts = [{"id": f"d{number}", "error": error if number else None} for number in range(6)]
    client.of(
        httpx.Response(202, json={"job_id": "j"}),
        httpx.Response(200, text='data: {"state": "partial"}\n\n'),
        httpx.Response(200, json={"documents": receipts, "next_cursor": None}),
    )
    with pytest.raises(IngestFailed) as raised:
        await client("ingest_all", [{"text": "x"}])
    assert [receipt["id"] for receipt in raised.value.receipts] == ["d1", "d2", "d3", "d4", "d5"]
    assert "5 of 6 documents failed. d1: Broken. (parse_failed); d2" in str(raised.value)
    assert str(raised.value).endswith("and 2 more")


async def test_documents_go_in_requests_of_a_bounded_size(client: EitherClient) -> None:
    client.of(refusal(401, "unauthorized"))
    with pytest.raises(Exception, match="unauthorized"):
        await client("ingest_all", ({"text": "x"} for _ in range(1000)), collection="c", chunking=None)
    assert {"collection", "documents"} == body(client.node.requests[0]).keys()
    assert len(body(client.node.requests[0])["documents"]) == 100
    with pytest.raises(Exception, match="unauthorized"):
        await client("ingest_all", [{"content": b"\0" * (5 << 20)}] * 2)
    assert len(body(client.node.requests[-1])["documents"]) == 1


async def test_a_node_that_is_not_ready_says_why(client: EitherClient) -> None:
    client.of(httpx.Response(503, json={"ready": False, "checks": {}}))
    assert await client("ready") == (False, {"ready": False, "checks": {}})
    client.of(httpx.ConnectError("refused"))
    with pytest.raises(Exception, match="No answer"):
        await client("ready")
    assert client.pauses == []


def test_the_client_loads_no_langchain() -> None:
    """The command line stands on it and starts at once."""
    program = "import sys, langchain_tandem.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"langchain_core", "llama_index", "pydantic"} & set(loaded)
