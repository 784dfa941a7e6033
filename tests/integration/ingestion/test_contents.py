"""What a document became, as GET /documents/{id}/text and /documents/{id}/chunks give it."""

from uuid import uuid4

from tests.support.node import NodeUnderTest

TEXT = "\n\n".join(f"Paragraph {number} of the guide speaks of kilns and of glazes." for number in range(40))


async def test_text_and_chunks_are_those_of_the_version_that_is_searchable(node: NodeUnderTest) -> None:
    name = f"guides/{uuid4().hex}.md"
    await node.ingest({"id": name, "text": TEXT}, chunking={"max_tokens": 64, "overlap": 8})
    text = (await node.http.get(f"/documents/{name}/text")).json()
    assert (text["text"], text["start"], text["end"], text["next_cursor"]) == (TEXT, 0, len(TEXT), None)
    chunks, cursor = [], None
    while True:
        page = (await node.http.get(f"/documents/{name}/chunks", params={"limit": 3, "cursor": cursor or ""})).json()
        chunks += page["chunks"]
        if not (cursor := page["next_cursor"]):
            break
    assert page["total"] == len(chunks) > 3
    assert all(chunk["text"] == TEXT[chunk["start"] : chunk["end"]] for chunk in chunks)
    assert [chunk["ordinal"] for chunk in chunks] == list(range(len(chunks)))
    hit = (await node.search("kilns", collection="docs", filter={"type": "eq", "key": "document_id", "value": name}))[
        "hits"
    ][0]
    assert hit["chunk_id"] in {chunk["chunk_id"] for chunk in chunks}
    old = (await node.http.get(f"/documents/{name}/chunks", params={"limit": 1})).json()["next_cursor"]
    await node.ingest({"id": name, "text": "Another text."})
    assert (await node.http.get(f"/documents/{name}/text")).json()["text"] == "Another text."
    refused = await node.http.get(f"/documents/{name}/chunks", params={"cursor": old})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
    await node.http.delete(f"/documents/{name}")
    gone = await node.http.get(f"/documents/{name}/text")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "document_not_found")


async def test_a_document_may_be_called_text(node: NodeUnderTest) -> None:
    folder = uuid4().hex
    for name in (f"{folder}/text", f"{folder}/chunks"):
        await node.ingest({"id": name, "text": f"words of {name}"})
        assert (await node.http.get(f"/documents/{name}")).json()["id"] == name
        assert (await node.http.get(f"/documents/{name}/text")).json()["text"] == f"words of {name}"
        assert (await node.http.delete(f"/documents/{name}")).status_code == 204
