"""What a document was made of, as GET /originals gives it back."""

from uuid import uuid4

from tests.support.nodes.node import NodeUnderTest


async def test_a_text_comes_back_as_it_was_and_a_replaced_one_in_its_new_version(node: NodeUnderTest) -> None:
    name = f"folder/{uuid4().hex}"
    for text in ("Glühen bei 1280 °C\r\n", "Kälter"):
        await node.ingest({"id": name, "text": text})
        answer = await node.http.get(f"/originals/{name}")
        assert (answer.status_code, answer.content) == (200, text.encode())
        assert answer.headers["content-type"] == "text/plain"


async def test_an_original_that_is_gone_is_an_error(node: NodeUnderTest) -> None:
    name = uuid4().hex
    await node.ingest({"id": name, "text": f"words {name}"})
    record = (await node.http.get(f"/documents/{name}")).json()
    await node.components.blobs.delete(record["sha256"])
    answer = await node.http.get(f"/originals/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "blob_missing")
    answer = await node.http.get(f"/originals/{name}x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "document_not_found")
    await node.http.delete(f"/documents/{name}")
