"""What callers get wrong: a clear error with a code, nothing stored, the service unharmed."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.nodes.node import NodeUnderTest

DOCUMENT = {"id": "x", "text": "words"}


async def depth(node: NodeUnderTest) -> tuple[int, int]:
    """Documents that the catalog knows, and chunks that the store has."""
    collection = await node.components.catalog.collection("docs")
    records = await node.components.catalog.documents("docs", limit=1000)
    return len(records), await node.components.store.count(collection.store_name)


INGEST: Mapping[str, tuple[object, int, str, str]] = {
    "empty text": ({"documents": [{"id": "x", "text": ""}]}, 422, "empty_text", "'x'"),
    "blank text": ({"documents": [{"id": "x", "text": " \n\t "}]}, 422, "empty_text", "'x'"),
    "no document": ({"documents": []}, 422, "invalid_request", "documents"),
    "neither text nor content": ({"documents": [{"id": "x"}]}, 422, "invalid_request", "content_base64"),
    "unknown field": ({"documents": [DOCUMENT], "colection": "docs"}, 422, "invalid_request", "colection"),
    "unknown field of a document": ({"documents": [{**DOCUMENT, "titel": "t"}]}, 422, "invalid_request", "titel"),
    "unknown collection": ({"documents": [DOCUMENT], "collection": "nowhere"}, 404, "collection_not_found", "nowhere"),
    "name that is no name": ({"documents": [DOCUMENT], "collection": "a b"}, 422, "invalid_request", "collection"),
    "endless id": ({"documents": [{"id": "x" * 10_000, "text": "words"}]}, 422, "invalid_request", "512 characters"),
    "id with a line break": ({"documents": [{"id": "a\nb", "text": "words"}]}, 422, "invalid_text", "id"),
    "NUL in the text": ({"documents": [{"id": "x", "text": "a\0b"}]}, 422, "invalid_text", "NUL"),
    "NUL in metadata": ({"documents": [{**DOCUMENT, "metadata": {"k": ["a\0"]}}]}, 422, "invalid_text", "metadata"),
    "huge metadata": ({"documents": [{**DOCUMENT, "metadata": {"k": "v" * 40_000}}]}, 422, "invalid_request", "bytes"),
    "number of more than 64 bits": (
        {"documents": [{**DOCUMENT, "metadata": {"k": 2**64}}]}, 422, "invalid_request", "64 bits"
    ),
    "unknown media type": (
        {"documents": [{"id": "x", "content_base64": "f0VMRgIBAQAAAAAAAAAAAA=="}]}, 415, "unsupported_media_type", ""
    ),
    "wrong extension": (
        {"documents": [{"id": "x", "content_base64": "JVBERi0xLjQK", "filename": "a.docx"}]},
        415, "media_type_mismatch", "",
    ),
    "not base64": ({"documents": [{"id": "x", "content_base64": "###"}]}, 422, "invalid_request", "content_base64"),
    "too many documents": (
        {"documents": [{"id": str(n), "text": "w"} for n in range(51)]}, 413, "too_large", "51 documents"
    ),
    "document over its limit": ({"documents": [{"id": "x", "text": "w" * (2**20 + 1)}]}, 413, "too_large", "'x'"),
    "overlap over the size": (
        {"documents": [DOCUMENT], "chunking": {"max_tokens": 32, "overlap": 32}}, 422, "invalid_request", "overlap"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "words"), INGEST.values(), ids=INGEST.keys())
async def test_ingest_refuses(node: NodeUnderTest, body: object, status: int, code: str, words: str) -> None:
    before = await depth(node)
    answer = await node.http.post("/ingest", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert words in error["message"]
    assert error.keys() == {"code", "message", "detail"}
    assert await depth(node) == before


RAW: Mapping[str, tuple[bytes, str, int, str]] = {
    "no JSON": (b"{not json", "application/json", 400, "invalid_json"),
    "lone surrogate": (b'{"documents": [{"id": "x", "text": "a\\ud800b"}]}', "application/json", 400, "invalid_json"),
    "not UTF-8": (b'{"documents": [{"text": "\xff"}]}', "application/json", 400, "invalid_json"),
    "another content type": (b"<a/>", "application/xml", 415, "unsupported_media_type"),
    "over the limit": (b'{"documents": "' + b"x" * (2 * 2**20) + b'"}', "application/json", 413, "too_large"),
}


@pytest.mark.parametrize(("body", "kind", "status", "code"), RAW.values(), ids=RAW.keys())
async def test_ingest_refuses_bytes(node: NodeUnderTest, body: bytes, kind: str, status: int, code: str) -> None:
    answer = await node.http.post("/ingest", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_body_without_a_length_is_cut_off_at_the_limit(node: NodeUnderTest) -> None:
    sent = 0

    async def endless() -> object:
        nonlocal sent
        yield b'{"documents": "'
        for _ in range(1000):
            sent += 2**16
            yield b"x" * 2**16

    answer = await node.http.post("/ingest", content=endless(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert sent <= 3 * 2**20


async def test_a_body_with_a_length_over_the_limit_is_not_read(node: NodeUnderTest) -> None:
    async def never() -> object:
        raise AssertionError("the body was asked for")
        yield b""

    headers = {"Content-Type": "application/json", "Content-Length": str(2**40)}
    answer = await node.http.post("/ingest", content=never(), headers=headers)
    assert answer.status_code == 413


async def test_multipart_refuses_unknown_fields_and_bad_data(node: NodeUnderTest) -> None:
    file = ("files", ("a.txt", b"words", "text/plain"))
    unknown = await node.http.post("/ingest", data={"dat": "{}"}, files=[file])
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (422, "invalid_request")
    assert "dat" in unknown.json()["error"]["message"]
    bad = await node.http.post("/ingest", data={"data": "{"}, files=[file])
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "invalid_json")
    none = await node.http.post("/ingest", data={"data": "{}"}, files=[("other", ("a.txt", b"words"))])
    assert none.status_code == 422


SEARCH: Mapping[str, tuple[dict[str, object], int, str, str]] = {
    "empty query": ({"query": ""}, 422, "empty_text", "query"),
    "blank query": ({"query": " \n"}, 422, "empty_text", "query"),
    "NUL": ({"query": "a\0b"}, 422, "invalid_text", "query"),
    "no query": ({}, 422, "invalid_request", "query"),
    "unknown field": ({"query": "q", "topk": 3}, 422, "invalid_request", "topk"),
    "unknown collection": ({"query": "q", "collection": "nowhere"}, 404, "collection_not_found", "nowhere"),
    "top_k 0": ({"query": "q", "top_k": 0}, 422, "invalid_request", "top_k"),
    "top_k huge": ({"query": "q", "top_k": 10**9}, 422, "invalid_request", "top_k"),
    "candidates huge": ({"query": "q", "candidates": 10**9}, 422, "invalid_request", "candidates"),
    "top_k no number": ({"query": "q", "top_k": "many"}, 422, "invalid_request", "top_k"),
    "query of a megabyte": ({"query": "q" * 10**6}, 422, "invalid_request", "query"),
}


@pytest.mark.parametrize(("body", "status", "code", "words"), SEARCH.values(), ids=SEARCH.keys())
async def test_search_refuses(node: NodeUnderTest, body: dict[str, object], status: int, code: str, words: str) -> None:
    answer = await node.http.post("/search", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert words in error["message"]


async def test_a_lone_surrogate_in_a_query_is_refused(node: NodeUnderTest) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await node.http.post("/search", content=b'{"query": "a\\ud800"}', headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["code"] in ("invalid_json", "invalid_text")


async def test_a_query_longer_than_the_window_is_cut_and_said_so(node: NodeUnderTest) -> None:
    await node.ingest({"id": "window", "text": "Words before the cut."})
    answer = await node.search(" ".join(["words"] * 700))
    assert answer["truncated_query_tokens"] > 0
    assert answer["hits"]


async def test_other_routes_answer_errors_in_the_one_shape(node: NodeUnderTest) -> None:
    for method, path, status, code in (
        ("GET", "/nothing", 404, "route_not_found"),
        ("GET", "/search", 405, "method_not_allowed"),
        ("GET", "/jobs/none", 404, "job_not_found"),
        ("GET", "/documents?limit=0", 422, "invalid_request"),
        ("DELETE", "/collections/nowhere", 404, "collection_not_found"),
    ):
        answer = await node.http.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), path


BAD_FILES = Path(__file__).parents[4] / "shared" / "docs" / "bad"


@pytest.mark.skipif(not BAD_FILES.is_dir(), reason="the collection of damaged files is not here")
async def test_damaged_files_fail_cleanly(node: NodeUnderTest) -> None:
    outcomes = {}
    for file in sorted(BAD_FILES.iterdir()):
        data = file.read_bytes()
        answer = await node.http.post(
            "/ingest", data={"data": json.dumps({"wait": True})}, files=[("files", (f"bad/{file.name}", data))]
        )
        if answer.status_code == 200:
            receipts = answer.json()["documents"]  # several of an archive
            errors = [receipt["error"]["code"] for receipt in receipts if receipt["error"]]
            outcomes[file.name] = errors[0] if errors else "ready"
            assert all(receipt["chunks"] == 0 for receipt in receipts if receipt["error"])
        else:
            outcomes[file.name] = answer.json()["error"]["code"]
        assert (await node.http.get("/health/ready")).status_code == 200, file.name
    assert "internal" not in outcomes.values(), outcomes
    for name in ("pdf_user_password_aes256.pdf", "docx_password_agile.docx", "pdf_user_password_libreoffice.pdf"):
        assert outcomes[name] == "encrypted_document", outcomes
    for name in (
        "docx_truncated.docx",
        "odt_not_a_zip.odt",
        "syn_empty.pdf",
        "syn_whitespace.txt",
        "syn_docx_named.pdf",
    ):
        assert outcomes[name] != "ready", outcomes
