"""Requests that no client of ours sends, found by asking at random: refused with a code, never a defect."""

from collections.abc import Mapping

import pytest

from tests.support.nodes.node import NodeUnderTest

JSON = {"Content-Type": "application/json"}

ODD: Mapping[str, tuple[str, str, bytes, Mapping[str, str], int, str]] = {
    "a form where JSON is read": (
        "POST", "/search", b"query=kiln", {"Content-Type": "application/x-www-form-urlencoded"},
        415, "unsupported_media_type",
    ),
    "no type at all": ("POST", "/search", b'{"query": "kiln"}', {}, 415, "unsupported_media_type"),
    "no body": ("POST", "/search", b"", JSON, 422, "invalid_request"),
    "a list": ("POST", "/search", b"[]", JSON, 422, "invalid_request"),
    "not UTF-8": ("POST", "/search", b'{"query": "\xff"}', JSON, 400, "invalid_json"),
    "nested without end": ("POST", "/search", b"[" * 200_000, JSON, 413, "too_large"),
    "nested too deep": ("POST", "/search", b"[" * 1_000, JSON, 422, "invalid_request"),
    "a closing bracket": ("POST", "/search", b"]", JSON, 400, "invalid_json"),
    "UTF-16": ("POST", "/search", '{"query": "kiln"}'.encode("utf-16"), JSON, 400, "invalid_json"),
    "a number with a million digits": (
        "POST", "/search", b'{"query": "q", "top_k": ' + b"9" * 1_000_000 + b"}", JSON, 400, "invalid_json"
    ),
    "a filter nested without end": (
        "POST", "/search",
        b'{"query": "q", "filter": ' + b'{"type": "not", "filters": [' * 300 + b"]}" * 300 + b"}", JSON,
        422, "invalid_request",
    ),
    "NaN as a bound": ("POST", "/search", b'{"query": "q", "min_score": NaN}', JSON, 422, "invalid_request"),
    "NaN in a filter": (
        "POST", "/search", b'{"query": "q", "filter": {"type": "eq", "key": "page", "value": NaN}}', JSON,
        422, "invalid_request",
    ),
    "a lone surrogate in a filter": (
        "POST", "/search", b'{"query": "q", "filter": {"type": "eq", "key": "title", "value": "\\ud800"}}', JSON,
        422, "invalid_text",
    ),
    "a number in quotes": ("POST", "/search", b'{"query": "q", "top_k": "5"}', JSON, 422, "invalid_request"),
    "0 for false": ("POST", "/search", b'{"query": "q", "rerank": 0}', JSON, 422, "invalid_request"),
    "a broken form": (
        "POST", "/ingest", b"--x\r\nno header", {"Content-Type": "multipart/form-data; boundary=x"},
        422, "invalid_request",
    ),
    "a form without a boundary": (
        "POST", "/ingest", b"words", {"Content-Type": "multipart/form-data"}, 422, "invalid_request"
    ),
    "NUL in a document's path": ("GET", "/documents/a%00b", b"", {}, 422, "invalid_text"),
    "NUL in a job's path": ("GET", "/jobs/%00", b"", {}, 422, "invalid_text"),
    "slashes in a document's path": ("GET", "/documents/a//b%2F..%2Fc", b"", {}, 404, "document_not_found"),
    "a cursor beyond 64 bits": ("GET", f"/jobs/x?cursor={10**30}", b"", {}, 422, "invalid_request"),
    "one key twice": ("GET", "/documents?limit=1&limit=x", b"", {}, 422, "invalid_request"),
    "a line break in a key": (
        "POST", "/ingest", b'{"documents": [{"text": "w"}]}', {**JSON, "Idempotency-Key": "a\tb"},
        422, "invalid_request",
    ),
    "TRACE": ("TRACE", "/search", b"", {}, 405, "method_not_allowed"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "code"), ODD.values(), ids=ODD.keys())
async def test_is_refused(
    node: NodeUnderTest, method: str, path: str, body: bytes, headers: Mapping[str, str], status: int, code: str
) -> None:
    answer = await node.http.request(method, path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


async def test_allow_names_every_method_of_a_path(node: NodeUnderTest) -> None:
    for path, methods in {
        "/collections": "GET, POST",
        "/collections/docs": "DELETE, GET",
        "/collections/docs/golden": "GET, PUT",
        "/search": "POST",
    }.items():
        answer = await node.http.options(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


async def test_the_json_of_a_form_may_come_as_a_file(node: NodeUnderTest) -> None:
    files = [
        ("files", ("odd.txt", b"Words of a file.", "text/plain")),
        ("data", ("blob", b'{"partition": "odd", "wait": true}', "application/json")),
    ]
    answer = await node.http.post("/ingest", files=files)
    assert answer.status_code == 200, answer.text
    assert (await node.http.get("/documents/odd.txt")).json()["partition"] == "odd"


async def test_a_line_break_is_part_of_an_id(node: NodeUnderTest) -> None:
    document = {"id": "kiln", "text": "Log of a kiln."}
    sent = await node.http.post("/ingest", json={"documents": [document], "wait": True})
    assert sent.status_code == 200, sent.text
    for odd in ("%0Akiln", "kiln%0A", "kiln%0Alog"):
        for method, path in (
            ("GET", "/documents/{}"),
            ("DELETE", "/documents/{}"),
            ("GET", "/documents/{}/text"),
            ("GET", "/v1/files/{}"),
            ("DELETE", "/v1/files/{}"),
            ("GET", "/v1/vector_stores/vs_docs/files/{}"),
        ):
            answer = await node.http.request(method, path.format(odd))
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (404, "document_not_found"), path
            assert ("type" in error) is path.startswith("/v1")
    assert (await node.http.get("/documents/kiln")).status_code == 200
