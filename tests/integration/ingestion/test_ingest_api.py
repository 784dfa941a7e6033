"""Documents through HTTP: receipts, replacement, deletion. Real store, catalog, originals and parser."""

from base64 import b64encode
from hashlib import sha256
from uuid import uuid4

import pytest

from retrieval.types import DocumentId
from tests.support.files.documents import archive
from tests.support.files.pdfs import pdf, text
from tests.support.nodes.node import NodeUnderTest

SCAN = "q 612 0 0 792 0 0 cm /P Do Q\n"


def fresh() -> str:
    return f"doc-{uuid4().hex[:8]}"


async def stored_chunks(node: NodeUnderTest, document_id: str, collection: str = "docs") -> int:
    name = (await node.components.catalog.collection(collection)).store_name
    return await node.components.store.count(name, DocumentId(document_id))


async def test_a_document_becomes_searchable_and_its_receipt_says_so(node: NodeUnderTest) -> None:
    document_id = fresh()
    job = await node.ingest({"id": document_id, "text": "The kiln is fired with beech wood.", "title": "Kilns"})
    assert job["state"] == "succeeded"
    assert job["progress"] == {"documents": 1, "done": 1, "failed": 0, "chunks": 1, "tokens": 8}
    [receipt] = job["documents"]
    assert receipt["status"] == "ready"
    assert receipt["searchable_at"]
    assert receipt["error"] is None
    answer = await node.search("beech kiln")
    assert answer["hits"][0]["document_id"] == document_id
    assert answer["hits"][0]["text"] == "The kiln is fired with beech wood."


async def test_the_answer_without_wait_is_202_and_names_a_job(node: NodeUnderTest) -> None:
    document_id = fresh()
    answer = await node.http.post("/ingest", json={"documents": [{"id": document_id, "text": "Rye bread."}]})
    assert answer.status_code == 202
    body = answer.json()
    assert body["documents"] == [{"id": document_id, "status": "queued", "of": None}]
    job = (await node.http.get(f"/jobs/{body['job_id']}")).json()
    assert job["job_id"] == body["job_id"]
    assert job["state"] in ("queued", "running", "succeeded")


async def test_the_same_document_again_is_unchanged_and_costs_no_embedding(
    node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"id": fresh(), "text": "Glaze runs when the kiln is too hot.", "metadata": {"shelf": 3}}
    await node.ingest(document)
    embedded = []
    embed = node.embedder.embed

    async def counted(texts: list[str], **arguments: object) -> object:
        embedded.extend(texts)
        return await embed(texts, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(node.embedder, "embed", counted)
    job = await node.ingest(document)
    assert [receipt["status"] for receipt in job["documents"]] == ["unchanged"]
    assert embedded == []
    job = await node.ingest({**document, "metadata": {"shelf": 4}})
    [receipt] = job["documents"]
    assert (receipt["status"], receipt["chunks"], receipt["reused_chunks"]) == ("replaced", 1, 1)
    assert embedded == []
    job = await node.ingest({**document, "text": "Glaze crawls when the pot is dusty."})
    [receipt] = job["documents"]
    assert (receipt["status"], receipt["chunks"], receipt["reused_chunks"]) == ("replaced", 1, 0)
    assert len(embedded) == 1


async def test_changed_text_replaces_and_leaves_no_old_chunk(node: NodeUnderTest) -> None:
    document_id = fresh()
    long = "\n\n".join(f"Paragraph {number} tells of cobalt and of ochre in many words." for number in range(40))
    chunking = {"max_tokens": 32, "overlap": 4}
    first = await node.ingest({"id": document_id, "text": long}, chunking=chunking)
    assert first["documents"][0]["chunks"] > 10
    assert await stored_chunks(node, document_id) == first["documents"][0]["chunks"]
    second = await node.ingest({"id": document_id, "text": "Only one line about zaffre now."}, chunking=chunking)
    assert second["documents"][0]["status"] == "replaced"
    assert await stored_chunks(node, document_id) == second["documents"][0]["chunks"] == 1
    hits = (await node.search("cobalt and ochre in many words", top_k=100, candidates=400))["hits"]
    assert document_id not in {hit["document_id"] for hit in hits if "cobalt" in hit["text"]}


async def test_offsets_point_into_the_text(node: NodeUnderTest) -> None:
    document_id = fresh()
    text = "\n\n".join(f"Section {number}. 第{number}节讲的是釉料和窑温。" for number in range(30))
    await node.ingest({"id": document_id, "text": text}, chunking={"max_tokens": 32, "overlap": 0})
    hits = (await node.search("Section 7", top_k=100, candidates=400))["hits"]
    ours = [hit for hit in hits if hit["document_id"] == document_id]
    assert ours
    for hit in ours:
        assert hit["text"] == text[hit["start"] : hit["end"]]


async def test_a_deleted_document_is_gone_from_store_catalog_and_originals(node: NodeUnderTest) -> None:
    document_id, text = fresh(), f"Nobody else writes of {uuid4().hex}."
    await node.ingest({"id": document_id, "text": text})
    assert await stored_chunks(node, document_id) == 1
    assert (await node.http.delete(f"/documents/{document_id}")).status_code == 204
    assert await stored_chunks(node, document_id) == 0
    missing = await node.http.get(f"/documents/{document_id}")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "document_not_found")
    assert (await node.http.delete(f"/documents/{document_id}")).status_code == 404
    assert not await node.components.catalog.blobs_in_use([sha256(text.encode()).hexdigest()])


async def test_an_original_that_another_document_shares_survives_a_delete(node: NodeUnderTest) -> None:
    text = f"Shared words {uuid4().hex}."
    one, other = fresh(), fresh()
    await node.ingest({"id": one, "text": text}, {"id": other, "text": text})
    await node.http.delete(f"/documents/{one}")
    name = sha256(text.encode()).hexdigest()
    assert await node.components.blobs.get([name]) == {name: text.encode()}
    job = await node.ingest({"id": other, "text": text, "title": "moved"})
    assert job["documents"][0]["status"] == "replaced"


async def test_a_document_without_an_id_gets_one_from_its_content(node: NodeUnderTest) -> None:
    text = f"Anonymous {uuid4().hex}"
    first = await node.ingest({"text": text})
    again = await node.ingest({"text": text})
    assert (
        first["documents"][0]["id"] == again["documents"][0]["id"] == f"sha256-{sha256(text.encode()).hexdigest()[:32]}"
    )
    assert again["documents"][0]["status"] == "unchanged"


async def test_ids_with_slashes_and_chinese(node: NodeUnderTest) -> None:
    document_id = f"手册/{uuid4().hex[:6]}/第 1 章.md"
    await node.ingest({"id": document_id, "text": "窑炉的温度曲线。"})
    found = await node.http.get(f"/documents/{document_id}")
    assert found.json()["id"] == document_id
    assert (await node.http.delete(f"/documents/{document_id}")).status_code == 204


async def test_files_as_multipart(node: NodeUnderTest) -> None:
    name = uuid4().hex[:6]
    answer = await node.http.post(
        "/ingest",
        data={"data": '{"wait": true, "metadata": {"source": "upload"}, "partition": "blue"}'},
        files=[
            ("files", (f"{name}/notes.md", b"# Celadon\n\nA green glaze.", "text/markdown")),
            ("files", (f"{name}/表.csv", "名称,温度\n青瓷,1280\n".encode("gb18030"), "text/csv")),
        ],
    )
    assert answer.status_code == 200, answer.text
    assert [receipt["status"] for receipt in answer.json()["documents"]] == ["ready", "ready"]
    document = (await node.http.get(f"/documents/{name}/表.csv")).json()
    assert document["metadata"] == {"source": "upload"}
    assert document["partition"] == "blue"
    hits = (await node.search("青瓷", partition="blue"))["hits"]
    assert any("青瓷" in hit["text"] for hit in hits)


async def test_base64_content(node: NodeUnderTest) -> None:
    content = b64encode(b"<html><head><title>Raku</title></head><body><p>Fired low.</p></body></html>").decode()
    document_id = fresh()
    await node.ingest({"id": document_id, "content_base64": content, "filename": "raku.html"})
    hit = (await node.search("Raku fired low"))["hits"][0]
    assert (hit["document_id"], hit["title"], hit["media_type"]) == (document_id, "Raku", "text/html")


async def test_pages_without_text_are_reported_in_words(node: NodeUnderTest) -> None:
    scan = pdf([text(72, 700, "Only this page has words that were typed."), SCAN], picture=bytes(range(64)))
    document = {"id": fresh(), "filename": "scan.pdf", "content_base64": b64encode(scan).decode()}
    answer = await node.http.post("/ingest", json={"documents": [document], "wait": True, "ocr": "never"})
    [receipt] = answer.json()["documents"]
    assert receipt["report"] == {
        "pages": 2,
        "pages_without_text": [2],
        "ocr_pages": [],
        "ocr_confidence": None,
        "warnings": ["No text could be read on page 2. The request disabled OCR."],
    }
    told = (await node.http.get(f"/documents/{document['id']}", params={"collection": "docs"})).json()
    assert told["report"] == receipt["report"]
    wrong = await node.http.post("/ingest", json={"documents": [document], "ocr": "sometimes"})
    assert wrong.status_code == 422
    assert "ocr" in wrong.json()["error"]["message"]


async def test_a_broken_file_fails_alone(node: NodeUnderTest) -> None:
    broken = b64encode(b"%PDF-1.4\nnothing that a PDF would hold").decode()
    one, other = fresh(), fresh()
    job = await node.ingest(
        {"id": one, "content_base64": broken, "filename": "broken.pdf"}, {"id": other, "text": "Whole and well."}
    )
    assert job["state"] == "partial"
    assert [receipt["status"] for receipt in job["documents"]] == ["failed", "ready"]
    assert job["documents"][0]["error"]["code"] == "parse_failed"
    assert await stored_chunks(node, one) == 0
    record = (await node.http.get(f"/documents/{one}")).json()
    assert (record["state"], record["error"]["code"]) == ("failed", "parse_failed")


async def test_a_failed_replacement_leaves_the_version_that_search_finds(node: NodeUnderTest) -> None:
    document_id = fresh()
    await node.ingest({"id": document_id, "text": "Feldspar melts late."})
    broken = b64encode(b"%PDF-1.4\nnothing that a PDF would hold").decode()
    job = await node.ingest({"id": document_id, "content_base64": broken, "filename": "broken.pdf"})
    assert job["state"] == "failed"
    assert await stored_chunks(node, document_id) == 1
    assert (await node.search("Feldspar melts late"))["hits"][0]["document_id"] == document_id


async def test_collections_are_made_told_of_and_dropped(node: NodeUnderTest) -> None:
    name = f"pots_{uuid4().hex[:8]}"
    made = await node.http.post("/collections", json={"name": name, "language": "en", "chunking": {"max_tokens": 64}})
    assert made.status_code == 201, made.text
    assert made.json()["chunking"] == {"max_tokens": 64, "overlap": 8}
    assert made.json()["language"] == "en"
    again = await node.http.post("/collections", json={"name": name})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "collection_exists")
    await node.ingest({"id": "a", "text": "Stoneware."}, collection=name)
    assert (await node.http.get(f"/collections/{name}")).json()["chunks"] == 1
    assert name in {each["name"] for each in (await node.http.get("/collections")).json()["collections"]}
    assert (await node.http.delete(f"/collections/{name}")).status_code == 204
    assert (await node.http.get(f"/collections/{name}")).status_code == 404
    assert (await node.http.post("/search", json={"query": "x", "collection": name})).status_code == 404


async def test_documents_are_listed_in_pages(node: NodeUnderTest) -> None:
    name = f"pages_{uuid4().hex[:8]}"
    await node.http.post("/collections", json={"name": name})
    await node.ingest(*({"id": f"d{number}", "text": f"Number {number}"} for number in range(5)), collection=name)
    first = (await node.http.get("/documents", params={"collection": name, "limit": 3})).json()
    rest = (await node.http.get("/documents", params={"collection": name, "cursor": first["next_cursor"]})).json()
    assert [document["id"] for document in first["documents"] + rest["documents"]] == [f"d{n}" for n in range(5)]
    assert rest["next_cursor"] is None


async def test_receipts_come_in_pages(node: NodeUnderTest) -> None:
    job = await node.ingest(*({"id": f"{fresh()}", "text": f"Receipt {number}"} for number in range(5)))
    first = (await node.http.get(f"/jobs/{job['job_id']}", params={"limit": 2})).json()
    assert len(first["documents"]) == 2
    rest = (await node.http.get(f"/jobs/{job['job_id']}", params={"cursor": first["next_cursor"]})).json()
    assert first["documents"] + rest["documents"] == job["documents"]


async def test_an_archive_becomes_documents_and_the_job_says_what_was_skipped(node: NodeUnderTest) -> None:
    name = f"{fresh()}.zip"
    data = archive(
        {
            "a/kilns.md": "---\ntitle: Kilns\nshelf: 3\n---\nThe salamander kiln burns willow.",
            "run.exe": b"MZ\x90\0" + bytes(90),
        }
    )
    form = {"data": '{"metadata": {"team": "x"}, "wait": true}'}
    job = (await node.http.post("/ingest", files={"files": (name, data)}, data=form)).json()
    assert [(each["id"], each["status"]) for each in job["documents"]] == [(f"{name}/a/kilns.md", "ready")]
    assert [part["name"] for part in job["skipped"]] == [f"{name}/run.exe"]
    of_archive = {"type": "eq", "key": "metadata.part_of", "value": name}
    [hit] = (await node.search("salamander kiln willow", filter=of_archive))["hits"]
    assert hit["title"] == "Kilns"
    assert hit["metadata"] == {"part_of": name, "shelf": 3, "team": "x"}


async def test_lines_become_documents_where_the_request_asks(node: NodeUnderTest) -> None:
    name = f"{fresh()}.jsonl"
    document = {"filename": name, "content_base64": b64encode(b'{"id": "k1", "a": "hot"}\n{"a": "cold"}').decode()}
    job = await node.ingest(document, split_lines=True)
    assert [receipt["id"] for receipt in job["documents"]] == [f"{name}/k1", f"{name}/2"]
    again = await node.ingest(document, split_lines=True)
    assert [receipt["status"] for receipt in again["documents"]] == ["unchanged", "unchanged"]


async def test_an_archive_of_nothing_that_is_read_is_refused(node: NodeUnderTest) -> None:
    content = b64encode(archive({"run.exe": b"MZ\x90\0" + bytes(90)})).decode()
    answer = await node.http.post("/ingest", json={"documents": [{"filename": "a.zip", "content_base64": content}]})
    assert answer.status_code == 422
    assert "holds no document that is read" in answer.json()["error"]["message"]
