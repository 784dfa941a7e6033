"""What a document became, as GET /documents/{id}/text and /documents/{id}/chunks give it."""

import asyncio
from uuid import uuid4

from tests.support.nodes.node import NodeUnderTest

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


async def test_hits_and_chunks_have_their_section_and_rows_their_header(node: NodeUnderTest) -> None:
    name = f"{uuid4().hex}.md"
    rows = "\n".join(f"| kiln{number} | {number} |" for number in range(60))
    text = f"# Guide\n\nAbout it.\n\n## Kilns\n\n| name | number |\n| ---- | ------ |\n{rows}\n\nThe end."
    await node.ingest(
        {"id": name, "text": text, "media_type": "text/markdown"}, chunking={"max_tokens": 64, "overlap": 8}
    )
    chunks = (await node.http.get(f"/documents/{name}/chunks")).json()["chunks"]
    assert chunks[0]["section"] == ["Guide"]
    assert all(chunk["section"] == ["Guide", "Kilns"] for chunk in chunks[1:])
    with_rows = [chunk for chunk in chunks if "kiln" in chunk["text"]]
    assert len(with_rows) > 5
    assert all("| name | number |\n| ---- | ------ |\n| kiln" in chunk["text"] for chunk in with_rows)
    assert (await node.http.get(f"/documents/{name}/text")).json()["text"] == text
    of_it = {"type": "eq", "key": "document_id", "value": name}
    (hit,) = (await node.search("kiln41", filter=of_it, top_k=1))["hits"]
    assert hit["section"] == ["Guide", "Kilns"]
    assert hit["text"].startswith("| name | number |")
    assert "kiln41" in hit["text"]
    assert text[hit["start"] : hit["end"]] in hit["text"]


async def test_a_section_prefix_is_read_by_words_and_models_and_is_no_part_of_the_text(node: NodeUnderTest) -> None:
    text = "# Guide\n\nIntro.\n\n## Zirconium kilns\n\n" + " ".join(f"word{number}" for number in range(150))
    found = {}
    for prefix in (True, False):
        name = f"sections_{prefix}"
        body = {"name": name, "section_prefix": prefix, "chunking": {"max_tokens": 64, "overlap": 0}}
        made = (await node.http.post("/collections", json=body)).json()
        assert made["section_prefix"] == prefix
        await node.ingest({"id": "a.md", "text": text, "media_type": "text/markdown"}, collection=name)
        found[prefix] = (await node.search("zirconium", collection=name, mode="sparse"))["hits"]
        whole = (await node.http.get("/documents/a.md/text", params={"collection": name})).json()["text"]
        assert (whole.split(), len(whole)) == (text.split(), len(text))
        fingerprint = made["fingerprint"]["prompt_version"]
        assert fingerprint.endswith("+sections") == prefix
    assert len(found[False]) == 1
    assert len(found[True]) > 2
    assert all(text[hit["start"] : hit["end"]] == hit["text"] for hit in found[True])
    again = await node.http.post("/collections/sections_False/reembed", json={"section_prefix": True, "gate": False})
    assert again.status_code == 202
    async with asyncio.timeout(60):
        while (await node.http.get("/collections/sections_False/reembed")).json()["phase"] not in ("flipped", "failed"):
            await asyncio.sleep(0.05)
    assert len((await node.search("zirconium", collection="sections_False", mode="sparse"))["hits"]) > 2
    for prefix in (True, False):
        await node.http.delete(f"/collections/sections_{prefix}")


async def test_hits_come_with_their_section(node: NodeUnderTest) -> None:
    name = f"{uuid4().hex}.md"
    part = " ".join(f"word{number}" for number in range(150))
    text = f"# Guide\n\nIntro.\n\n## Kilns\n\n{part}\n\n## Glazes\n\n{part} glaze"
    await node.ingest(
        {"id": name, "text": text, "media_type": "text/markdown"}, chunking={"max_tokens": 64, "overlap": 0}
    )
    of_it = {"type": "eq", "key": "document_id", "value": name}
    (hit,) = (await node.search("glaze", filter=of_it, top_k=1, mode="sparse", expand="section"))["hits"]
    assert hit["context"]["text"].split() == text[text.index("## Glazes") :].split()
    (brief,) = (
        await node.search(
            "glaze", filter=of_it, top_k=1, mode="sparse", expand="section", expand_tokens=130, include=["section"]
        )
    )["hits"]
    assert (brief["chunk_id"], brief["section"]) == (hit["chunk_id"], ["Guide", "Glazes"])
    assert len(hit["text"]) < len(brief["context"]["text"]) < len(hit["context"]["text"])
    assert hit["text"] in brief["context"]["text"]
    chunks = (await node.http.get(f"/documents/{name}/chunks")).json()["chunks"]
    inside = [each for each in chunks if each["start"] >= brief["context"]["start"]]
    assert sum(each["tokens"] for each in inside) <= 130
    refused = await node.http.post("/search", json={"query": "a", "expand": "section", "neighbors": 1})
    assert refused.status_code == 422
