"""OpenAI's vector stores and files, by OpenAI's own client."""

import io
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import openai
import pytest

import ingestion.uploads
from retrieval.errors import EngineDead
from tests.support.nodes.faces import KEY, Face

KILN = b"The kiln is held at 1280 degrees for an hour."
GLAZE = b"A celadon glaze needs iron and a reducing fire."


@pytest.fixture
def client(face: Face) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{face.url}/v1", api_key=KEY, max_retries=0)


@pytest.fixture
async def store(client: openai.AsyncOpenAI) -> AsyncIterator[str]:
    """The id of an empty one."""
    made = await client.vector_stores.create(name=f"s{uuid4().hex[:12]}")
    yield made.id
    await client.vector_stores.delete(made.id)


def file(name: str, data: bytes) -> tuple[str, io.BytesIO]:
    return name, io.BytesIO(data + f" {uuid4()}".encode())


async def test_a_file_is_uploaded_ingested_and_found(client: openai.AsyncOpenAI, store: str) -> None:
    added = await client.vector_stores.files.upload_and_poll(
        vector_store_id=store, file=file("kiln log.txt", KILN), attributes={"year": 2024, "dry": True, "site": "A"}
    )
    assert (added.status, added.last_error, added.vector_store_id) == ("completed", None, store)
    assert added.attributes == {"year": 2024, "dry": True, "site": "A"}
    assert added.usage_bytes == len(KILN) + 37
    await client.vector_stores.files.upload_and_poll(vector_store_id=store, file=file("glaze.md", GLAZE))
    found = await client.vector_stores.search(store, query="how hot is the kiln", max_num_results=1)
    [best] = found.data
    assert (best.file_id, best.filename) == (added.id, "kiln log.txt")
    assert best.content[0].text.startswith("The kiln is held")
    assert best.attributes == added.attributes
    assert 0 < best.score <= 1
    told = await client.vector_stores.retrieve(store)
    assert (told.status, told.file_counts.completed, told.file_counts.total) == ("completed", 2, 2)
    assert told.usage_bytes == len(KILN) + len(GLAZE) + 74


async def test_searches_with_filters_thresholds_and_several_queries(client: openai.AsyncOpenAI, store: str) -> None:
    ids = {}
    for name, data, year in (("kiln.txt", KILN, 2024), ("glaze.txt", GLAZE, 2023)):
        added = await client.vector_stores.files.upload_and_poll(
            vector_store_id=store, file=file(name, data), attributes={"year": year}
        )
        ids[name] = added.id

    async def names(**options: object) -> list[str]:
        found = await client.vector_stores.search(store, **{"query": "kiln", **options})  # type: ignore[arg-type]
        return [each.filename for each in found.data]

    old = {"type": "lt", "key": "year", "value": 2024}
    assert await names() == ["kiln.txt", "glaze.txt"]
    assert await names(filters=old) == ["glaze.txt"]
    assert await names(filters={"type": "nin", "key": "year", "value": [2023]}) == ["kiln.txt"]
    assert await names(filters={"type": "and", "filters": [old, {"type": "eq", "key": "year", "value": 1}]}) == []
    assert await names(query=["iron glaze", "nothing of it"]) == ["glaze.txt", "kiln.txt"]
    assert await names(ranking_options={"score_threshold": 0.9}) == ["kiln.txt"]
    assert await names(ranking_options={"ranker": "none"}, max_num_results=1) == ["kiln.txt"]
    with pytest.raises(openai.BadRequestError, match=r"filter\.type: must be one of"):
        await names(filters={"type": "like", "key": "year", "value": "x"})
    for wrong in ({"rewrite_query": True}, {"max_num_results": 51}, {"query": []}, {"query": " "}):
        with pytest.raises(openai.BadRequestError):
            await names(**wrong)


async def test_what_was_not_done_is_said(
    face: Face, client: openai.AsyncOpenAI, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.vector_stores.files.upload_and_poll(vector_store_id=store, file=file("kiln.txt", KILN))
    monkeypatch.setattr(face.reranker, "fail_with", EngineDead("gone"))
    found = await client.vector_stores.search(store, query="kiln")
    assert len(found.data) == 1
    [stages] = found.model_extra["stages"]  # type: ignore[index]
    assert (stages["score_name"], stages["rerank"]["applied"], stages["rerank"]["reason"]) == (
        "fused",
        False,
        "engine_dead",
    )


async def test_a_batch(client: openai.AsyncOpenAI, store: str) -> None:
    batch = await client.vector_stores.file_batches.upload_and_poll(
        vector_store_id=store, files=[file("kiln.txt", KILN), file("glaze.txt", GLAZE)]
    )
    assert (batch.status, batch.file_counts.completed, batch.file_counts.total) == ("completed", 2, 2)
    listed = await client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store)
    first = await client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store, limit=1)
    assert first.has_more
    assert [each.id async for each in first] == [each.id for each in listed.data]
    done = await client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store)
    assert done.status == "completed"
    again = await client.vector_stores.file_batches.create_and_poll(
        store, files=[{"file_id": listed.data[0].id, "attributes": {"part": "one"}}]
    )
    assert again.file_counts.completed == 1
    changed = await client.vector_stores.files.retrieve(listed.data[0].id, vector_store_id=store)
    assert changed.attributes == {"part": "one"}
    other = await client.vector_stores.create()
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=other.id)
    await client.vector_stores.delete(other.id)


async def test_what_cannot_be_read_is_told(client: openai.AsyncOpenAI, store: str) -> None:
    damaged = await client.vector_stores.files.upload_and_poll(
        vector_store_id=store, file=file("damaged.pdf", b"%PDF-1.7\n1 0 obj\nnothing")
    )
    assert damaged.status == "failed"
    assert damaged.last_error
    assert damaged.last_error.code == "invalid_file"
    failed = await client.vector_stores.files.list(store, filter="failed")
    assert [each.id for each in failed.data] == [damaged.id]
    assert (await client.vector_stores.files.list(store, filter="completed")).data == []
    assert (await client.vector_stores.retrieve(store)).file_counts.failed == 1
    with pytest.raises(openai.BadRequestError) as refused:
        await client.files.create(file=("program.exe", b"MZ\x90\x00" + bytes(200)), purpose="assistants")
    assert refused.value.code in ("unsupported_media_type", "media_type_mismatch")


async def test_files(client: openai.AsyncOpenAI, store: str) -> None:
    name, data = file("\u7a91\u7089 kiln.txt", KILN)
    content = data.getvalue()
    sent = await client.files.create(file=(name, content), purpose="assistants")
    assert (sent.filename, sent.bytes, sent.purpose, sent.status) == (name, len(content), "assistants", "processed")
    assert await client.files.retrieve(sent.id) == sent
    assert (await client.files.content(sent.id)).content == content
    assert sent.id not in [each.id async for each in client.files.list()]
    static = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 10}}
    added = await client.vector_stores.files.create_and_poll(
        sent.id,
        vector_store_id=store,
        chunking_strategy=static,  # type: ignore[arg-type]
    )
    assert added.chunking_strategy.to_dict() == static
    assert sent.id in [each.id async for each in client.files.list(limit=1)]
    updated = await client.vector_stores.files.update(sent.id, vector_store_id=store, attributes={"site": "B"})
    assert (updated.attributes, updated.chunking_strategy) == ({"site": "B"}, added.chunking_strategy)
    await client.vector_stores.files.poll(sent.id, vector_store_id=store)
    assert (await client.vector_stores.files.delete(sent.id, vector_store_id=store)).deleted
    with pytest.raises(openai.NotFoundError) as gone:
        await client.vector_stores.files.retrieve(sent.id, vector_store_id=store)
    assert gone.value.code == "document_not_found"
    with pytest.raises(openai.NotFoundError, match="Upload it"):
        await client.vector_stores.files.create(store, file_id=sent.id)
    assert (await client.files.delete(sent.id)).deleted  # as programs tidy up: the second half finds nothing to do
    with pytest.raises(openai.NotFoundError):
        await client.files.delete("file-none")


async def test_a_deleted_file_leaves_every_store(client: openai.AsyncOpenAI, store: str) -> None:
    sent = await client.files.create(file=file("kiln.txt", KILN), purpose="assistants")
    other = await client.vector_stores.create(name="Kiln logs, 2024", file_ids=[sent.id])
    assert other.name.startswith("Kiln_logs_2024")
    await client.vector_stores.files.create_and_poll(sent.id, vector_store_id=store)
    await client.vector_stores.files.poll(sent.id, vector_store_id=other.id)
    await client.files.delete(sent.id)
    for id_ in (store, other.id):
        assert (await client.vector_stores.files.list(id_)).data == []
        assert (await client.vector_stores.search(id_, query="kiln")).data == []
    with pytest.raises(openai.NotFoundError):
        await client.files.content(sent.id)
    await client.vector_stores.delete(other.id)


async def test_documents_that_came_otherwise_are_files(face: Face, client: openai.AsyncOpenAI, store: str) -> None:
    name = store.removeprefix("vs_")
    document: dict[str, object] = {"id": "logs/kiln 1", "text": "The kiln is hot.", "title": "Log", "partition": "p"}
    document["metadata"] = {"a": 1, "tags": ["x"]}
    body = {"collection": name, "documents": [document], "wait": True}
    assert (await face.http.post("/ingest", json=body)).status_code == 200
    [listed] = (await client.vector_stores.files.list(store)).data
    assert (listed.id, listed.attributes) == ("logs/kiln 1", {"a": 1})
    assert await client.vector_stores.files.retrieve("logs/kiln 1", vector_store_id=store) == listed
    assert (await client.files.retrieve("logs/kiln 1")).filename == "Log"
    assert (await client.files.content("logs/kiln 1")).text == "The kiln is hot."
    [found] = (await client.vector_stores.search(store, query="kiln")).data
    assert (found.file_id, found.filename) == ("logs/kiln 1", "Log")
    await client.vector_stores.files.update("logs/kiln 1", vector_store_id=store, attributes={"b": 2})
    await client.vector_stores.files.poll("logs/kiln 1", vector_store_id=store)
    told = (await face.http.get("/documents/logs/kiln 1", params={"collection": name})).json()
    assert (told["state"], told["title"], told["partition"]) == ("ready", "Log", "p")
    assert (told["media_type"], told["metadata"]) == ("text/plain", {"b": 2})
    other = await client.vector_stores.create(file_ids=["logs/kiln 1"])
    await client.vector_stores.files.poll("logs/kiln 1", vector_store_id=other.id)
    assert len((await client.vector_stores.search(other.id, query="kiln")).data) == 1
    await client.vector_stores.delete(other.id)


async def test_a_collection_that_leaves_duplicates_out_says_so(face: Face, client: openai.AsyncOpenAI) -> None:
    await face.http.post("/collections", json={"name": "skipping", "duplicates": "skip"})
    _, data = file("kiln.txt", KILN)
    first = await client.files.create(file=("one.txt", data.getvalue()), purpose="assistants")
    second = await client.files.create(file=("two.txt", data.getvalue()), purpose="assistants")
    await client.vector_stores.files.create_and_poll(first.id, vector_store_id="vs_skipping")
    with pytest.raises(openai.BadRequestError, match="leaves duplicates out") as refused:
        await client.vector_stores.files.create("vs_skipping", file_id=second.id)
    assert refused.value.param == "file_id"
    await client.vector_stores.delete("vs_skipping")


async def test_what_is_put_in_at_once_is_bounded(
    client: openai.AsyncOpenAI, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion.uploads, "MAX_BATCH_BYTES", 100)
    sent = [await client.files.create(file=file("kiln.txt", KILN), purpose="assistants") for _ in range(2)]
    with pytest.raises(openai.APIStatusError, match="more than 100 bytes together") as refused:
        await client.vector_stores.file_batches.create(store, file_ids=[each.id for each in sent])
    assert (refused.value.status_code, refused.value.code) == (413, "too_large")
    assert (await client.vector_stores.retrieve(store)).file_counts.total == 0


async def test_every_route_wants_a_key(face: Face) -> None:
    described = (await face.http.get("/openapi.json")).json()["paths"]
    faces = [(method, path) for path, each in described.items() if re.match("/(v1|v2|score)", path) for method in each]
    assert len(faces) == 26
    async with httpx.AsyncClient(base_url=face.url) as stranger:
        for method, path in faces:
            answer = await stranger.request(method, path, json={})
            assert answer.status_code == 401, path


async def test_stores_are_collections(face: Face, client: openai.AsyncOpenAI) -> None:
    made = [await client.vector_stores.create(name=f"paged {number}") for number in range(3)]
    assert [each.id for each in made] == [f"vs_paged_{number}" for number in range(3)]
    assert (await face.http.get("/collections/paged_0")).status_code == 200
    twin = await client.vector_stores.create(name="paged 0")
    assert twin.name.startswith("paged_0_")
    latest = [each.id async for each in client.vector_stores.list(limit=2)]
    assert latest[:4] == [twin.id, *(each.id for each in reversed(made))]
    assert latest[-1] == "vs_docs"
    before = await client.vector_stores.list(before=made[0].id, limit=2)
    assert [each.id for each in before.data] == [made[2].id, made[1].id]
    assert before.has_more
    oldest = await client.vector_stores.list(order="asc", limit=1)
    assert [each.id for each in oldest.data] == ["vs_docs"]
    assert (await client.vector_stores.update(twin.id, name=twin.name)).id == twin.id
    for wrong in ({"name": "other"}, {"metadata": {"a": "b"}}):
        with pytest.raises(openai.BadRequestError):
            await client.vector_stores.update(twin.id, **wrong)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="metadata: cannot be stored"):
        await client.vector_stores.create(name="x", metadata={"a": "b"})
    with pytest.raises(openai.BadRequestError, match="expires_after"):
        await client.vector_stores.create(name="x", expires_after={"anchor": "last_active_at", "days": 1})
    for each in (*made, twin):
        assert (await client.vector_stores.delete(each.id)).deleted
    for id_ in (twin.id, "docs", "vs_a~b", "vs_"):
        with pytest.raises(openai.NotFoundError) as gone:
            await client.vector_stores.retrieve(id_)
        assert gone.value.code == "collection_not_found"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/files", {}),
        ("/files", {"file_id": "file-none", "attributes": {"a": []}}),
        ("/files", {"file_id": "file-none", "attributes": {str(number): 1 for number in range(17)}}),
        ("/files", {"file_id": "a", "chunking_strategy": {"type": "static"}}),
        (
            "/files",
            {
                "file_id": "a",
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 100},
                },
            },
        ),
        ("/file_batches", {}),
        ("/file_batches", {"file_ids": []}),
        ("/file_batches", {"file_ids": ["a"], "files": [{"file_id": "a"}]}),
        ("/search", {"query": "a", "filters": {"type": "and", "filters": []}}),
    ],
)
async def test_wrong_requests_are_refused(face: Face, path: str, body: dict[str, object]) -> None:
    answer = await face.http.post(f"/v1/vector_stores/vs_docs{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error"), answer.text


async def test_wrong_pages_and_uploads_are_refused(face: Face) -> None:
    for path in ("files?order=desc", "files?before=a", "files?limit=0", "files?filter=done"):
        answer = await face.http.get(f"/v1/vector_stores/vs_docs/{path}")
        assert answer.status_code == 400, path
    for files, data in (
        ({}, {}),
        ({"file": ("a.txt", b" ")}, {}),
        ({"file": ("a" * 301, b"text")}, {}),
        ({"file": ("a.txt", b"text")}, {"purpose": "fine-tune"}),
        ({"file": ("a.txt", b"text")}, {"expires_after[anchor]": "created_at"}),
    ):
        answer = await face.http.post("/v1/files", files=files, data=data)
        assert answer.status_code == 400, (files, answer.text)
    large = await face.http.post("/v1/files", files={"file": ("a.txt", b"a" * (2**20 + 1))})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
