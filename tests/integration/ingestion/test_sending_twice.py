"""The same request, and the same bytes, sent more than once."""

import asyncio
import json
from dataclasses import replace
from hashlib import sha256
from uuid import uuid4

import httpx
import pytest

from tests.support.nodes.node import NodeUnderTest


def request() -> dict[str, object]:
    return {
        "documents": [{"id": uuid4().hex, "text": f"words {uuid4().hex}", "metadata": {"a": 1, "b": 2}}],
        "chunking": {"max_tokens": 64},
    }


async def post(node: NodeUnderTest, body: dict[str, object], key: str) -> httpx.Response:
    return await node.http.post("/ingest", json=body, headers={"Idempotency-Key": key})


async def test_the_same_key_and_body_is_the_same_job(node: NodeUnderTest) -> None:
    key, body = uuid4().hex, request()
    first = await post(node, body, key)
    again = await post(node, body, key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["job_id"] == first.json()["job_id"]
    waited = await post(node, {**body, "wait": True}, key)
    assert waited.status_code == 200
    assert (waited.json()["job_id"], waited.json()["state"]) == (first.json()["job_id"], "succeeded")
    other = await post(node, body, uuid4().hex)
    assert other.json()["job_id"] != first.json()["job_id"]


async def test_the_answer_tells_what_became_of_the_job_meanwhile(node: NodeUnderTest) -> None:
    key, body = uuid4().hex, {**request(), "wait": True}
    await post(node, body, key)
    [document] = (await post(node, {**body, "wait": False}, key)).json()["documents"]
    assert document["status"] == "ready"


@pytest.mark.parametrize(
    "change",
    [
        {"text": "other words"},
        {"id": "other"},
        {"title": "other"},
        {"partition": "other"},
        {"metadata": {"a": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_the_same_key_for_another_request_is_a_conflict(node: NodeUnderTest, change: dict[str, object]) -> None:
    key, body = uuid4().hex, request()
    await post(node, {**body, "wait": True}, key)
    [document] = body["documents"]  # type: ignore[misc]
    refused = await post(node, {**body, "documents": [{**document, **change}]}, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_conflict")
    refused = await post(node, {**body, "chunking": None}, key)
    assert refused.status_code == 409
    assert (await node.http.get("/documents/other")).status_code == 404
    assert (await post(node, body, key)).status_code == 202


async def test_a_conflict_leaves_no_original_behind(node: NodeUnderTest) -> None:
    key, text = uuid4().hex, f"never to be kept {uuid4().hex}"
    await post(node, request(), key)
    await post(node, {"documents": [{"id": "x", "text": text}]}, key)
    assert await node.components.blobs.get([sha256(text.encode()).hexdigest()]) == {}


async def test_sending_again_brings_back_nothing_that_was_deleted(node: NodeUnderTest) -> None:
    key, body = uuid4().hex, {**request(), "wait": True}
    await post(node, body, key)
    [document] = body["documents"]  # type: ignore[misc]
    await node.http.delete(f"/documents/{document['id']}")
    assert (await post(node, body, key)).json()["state"] == "succeeded"
    assert (await node.http.get(f"/documents/{document['id']}")).status_code == 404
    assert await node.components.blobs.get([sha256(document["text"].encode()).hexdigest()]) == {}


async def test_ten_at_once_are_one_job(node: NodeUnderTest) -> None:
    key, body = uuid4().hex, request()
    answers = await asyncio.gather(*(post(node, body, key) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1


async def test_multipart_boundaries_make_no_other_request(node: NodeUnderTest) -> None:
    key, name = uuid4().hex, f"{uuid4().hex}.md"

    async def send(boundary: str, text: bytes) -> httpx.Response:
        return await node.http.post(
            "/ingest",
            data={"data": json.dumps({"metadata": {"from": "form"}})},
            files=[("files", (name, text, "text/markdown"))],
            headers={"Idempotency-Key": key, "Content-Type": f"multipart/form-data; boundary={boundary}"},
        )

    first, again = await send("one", b"# Kiln"), await send("two", b"# Kiln")
    assert (first.status_code, first.json()["job_id"]) == (202, again.json()["job_id"])
    assert (await send("three", b"# Other")).status_code == 409


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tinside", "na\u00efve"], ids=["empty", "long", "tab", "not ASCII"])
async def test_keys_are_short_and_printable(node: NodeUnderTest, key: str) -> None:
    answer = await node.http.post("/ingest", json=request(), headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    assert "Idempotency-Key" in answer.json()["error"]["message"]


async def test_the_longest_key_is_taken(node: NodeUnderTest) -> None:
    assert (await post(node, request(), uuid4().hex + " ~" * 111 + "!")).status_code == 202


async def test_the_same_bytes_under_another_id_are_stored_and_said(node: NodeUnderTest) -> None:
    one, other, text = uuid4().hex, uuid4().hex, f"Twice the same {uuid4().hex}."
    await node.ingest({"id": one, "text": text})
    answer = await node.http.post("/ingest", json={"documents": [{"id": other, "text": text}]})
    assert answer.json()["documents"] == [{"id": other, "status": "queued", "of": one}]
    job = await node.ingest({"id": uuid4().hex, "text": text})
    [receipt] = job["documents"]  # type: ignore[misc]
    assert receipt["status"] == "ready"
    assert receipt["duplicate_of"] in (one, other)
    assert receipt["chunks"] == 1


async def test_a_collection_may_leave_duplicates_out(node: NodeUnderTest) -> None:
    name = f"once_{uuid4().hex[:8]}"
    made = await node.http.post("/collections", json={"name": name, "duplicates": "skip"})
    assert made.json()["duplicates"] == "skip"
    job = await node.ingest({"id": "a", "text": "One."}, {"id": "b", "text": "One."}, collection=name)
    assert job["state"] == "succeeded"
    stored, left_out = job["documents"]  # type: ignore[misc]
    assert (stored["status"], stored["duplicate_of"]) == ("ready", None)
    assert (left_out["status"], left_out["duplicate_of"], left_out["chunks"]) == ("duplicate_of", "a", 0)
    assert left_out["searchable_at"] is None
    answer = await node.http.post("/ingest", json={"collection": name, "documents": [{"id": "c", "text": "One."}]})
    assert answer.json()["documents"] == [{"id": "c", "status": "duplicate_of", "of": "a"}]
    assert (await node.http.get("/documents/b", params={"collection": name})).status_code == 404
    listed = (await node.http.get("/collections")).json()["collections"]
    assert {each["name"]: each["duplicates"] for each in listed} | {name: "skip", "docs": "store"} == {
        each["name"]: each["duplicates"] for each in listed
    }


async def test_what_becomes_of_duplicates_is_one_of_two(node: NodeUnderTest) -> None:
    refused = await node.http.post("/collections", json={"name": "x", "duplicates": "drop"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")


async def test_internal_collections_are_not_listed(node: NodeUnderTest) -> None:
    catalog = node.components.catalog
    shadow = replace(await catalog.collection("docs"), name=f"docs~{uuid4().hex[:6]}")
    await catalog.add_collection(shadow)
    try:
        listed = {each["name"] for each in (await node.http.get("/collections")).json()["collections"]}
        assert "docs" in listed
        assert shadow.name not in listed
        assert (await node.http.get(f"/collections/{shadow.name}")).status_code == 422
    finally:
        await catalog.remove_collection(shadow.name)
