"""A key with a filter: on every interface it reads the documents that the filter selects, and no others exist."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ingestion.selection import Patience, Selection, selected
from tests.integration.access.test_other_tenants import walk_for_a_hidden_document
from tests.support.nodes.node import NodeUnderTest, running
from tests.support.stores.memory_store import InMemoryStore

ADMIN = "an-administrator-s-key"
CUSTOMERS = {"type": "eq", "key": "metadata.audience", "value": "customers"}
SHOWN, HIDDEN = "shown", "staff-only"


@dataclass(frozen=True, slots=True)
class Manuals:
    node: NodeUnderTest
    reader: dict[str, str]
    """Headers of the key with the filter."""

    async def get(self, path: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        given = {"collection": "manuals", **params}
        return await self.node.http.get(path, params=given, headers=self.reader if headers is None else headers)

    async def post(self, path: str, **body: Any) -> httpx.Response:
        answer = await self.node.http.post(path, json=body, headers=self.reader)
        assert answer.status_code == 200, answer.text
        return answer

    async def found(self, **body: Any) -> list[str]:
        answer = await self.post("/search", query="cobalt glaze", collection="manuals", **body)
        return sorted(hit["document_id"] for hit in answer.json()["hits"])


async def key(node: NodeUnderTest, filter: object, **more: Any) -> dict[str, str]:
    body = {"name": "of a test", "scopes": ["search"], "collections": ["manuals"], "filter": filter, **more}
    made = await node.http.post("/keys", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["filter"] == filter
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def ingest(node: NodeUnderTest, id_: str, audience: str, **more: Any) -> None:
    document = {"id": id_, "text": f"Cobalt glaze, {id_}.", "metadata": {"audience": audience}, **more}
    sent = await node.http.post("/ingest", json={"collection": "manuals", "documents": [document], "wait": True})
    assert sent.json()["documents"][0]["status"] in ("ready", "replaced"), sent.text


@pytest.fixture(scope="module")
async def manuals(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Manuals]:
    async with running(tmp_path_factory.mktemp("manuals"), store=InMemoryStore(), api_keys=ADMIN) as node:
        node.http.headers["Authorization"] = f"Bearer {ADMIN}"
        assert (await node.http.post("/collections", json={"name": "manuals"})).status_code == 201
        for id_, audience in (("a", "staff"), (HIDDEN, "staff"), (SHOWN, "customers"), ("z", "customers")):
            await ingest(node, id_, audience)
        yield Manuals(node, await key(node, CUSTOMERS))


async def test_a_search_finds_what_the_filter_selects(manuals: Manuals) -> None:
    assert await manuals.found() == [SHOWN, "z"]
    assert await manuals.found(filter={"type": "eq", "key": "document_id", "value": "z"}) == ["z"]
    staff = {"type": "eq", "key": "metadata.audience", "value": "staff"}
    for condition in (staff, {"type": "or", "filters": [staff, {"type": "eq", "key": "document_id", "value": HIDDEN}]}):
        assert await manuals.found(filter=condition) == []
    assert await manuals.found(filter={"type": "not", "filters": [CUSTOMERS]}) == []
    retrieved = await manuals.post(
        "/retrieval",
        knowledge_id="manuals",
        query="cobalt glaze",
        retrieval_setting={"top_k": 9, "score_threshold": 0.0},
    )
    assert len(retrieved.json()["records"]) == 2
    openai = (await manuals.post("/v1/vector_stores/vs_manuals/search", query="cobalt glaze")).json()["data"]
    assert sorted(each["file_id"] for each in openai) == [SHOWN, "z"]


async def test_lists_and_counts_are_of_what_the_filter_selects(manuals: Manuals) -> None:
    page = (await manuals.get("/documents", limit=1)).json()
    assert ([each["id"] for each in page["documents"]], page["next_cursor"]) == ([SHOWN], SHOWN)
    page = (await manuals.get("/documents", limit=5, cursor=SHOWN)).json()
    assert ([each["id"] for each in page["documents"]], page["next_cursor"]) == (["z"], None)
    assert (await manuals.get("/collections/manuals")).json()["chunks"] == 2
    assert (await manuals.get("/collections/manuals", {})).json()["chunks"] == 4
    store = (await manuals.get("/v1/vector_stores/vs_manuals")).json()
    assert store["file_counts"] == {"total": 2, "completed": 2, "in_progress": 0, "failed": 0, "cancelled": 0}
    assert [each["id"] for each in (await manuals.get("/v1/files")).json()["data"]] == [SHOWN, "z"]
    files = (await manuals.get("/v1/vector_stores/vs_manuals/files")).json()["data"]
    assert sorted(each["id"] for each in files) == [SHOWN, "z"]


@pytest.mark.parametrize(
    "path", ["/documents/{}", "/documents/{}/text", "/documents/{}/chunks", "/originals/{}", "/v1/files/{}/content"]
)
async def test_a_document_is_read_where_the_filter_selects_it(manuals: Manuals, path: str) -> None:
    assert (await manuals.get(path.format(SHOWN))).status_code == 200
    hidden, nothing = [await manuals.get(path.format(id_)) for id_ in (HIDDEN, "nothing")]
    assert hidden.status_code == nothing.status_code == 404
    assert hidden.text.replace(HIDDEN, "nothing").partition("request_id")[0] == nothing.text.partition("request_id")[0]


async def test_every_route_answers_for_a_hidden_document_as_for_none(manuals: Manuals) -> None:
    bearer = manuals.reader["Authorization"].removeprefix("Bearer ")
    walked = await walk_for_a_hidden_document(manuals.node, bearer, "manuals", HIDDEN, f"glaze, {HIDDEN}")
    assert walked > 15


async def test_a_document_follows_its_metadata(manuals: Manuals) -> None:
    await ingest(manuals.node, "moving", "staff")
    assert (await manuals.get("/documents/moving/text")).status_code == 404
    await ingest(manuals.node, "moving", "customers")
    assert (await manuals.get("/documents/moving/text")).status_code == 200
    assert "moving" in await manuals.found()
    await ingest(manuals.node, "moving", "staff")
    assert (await manuals.get("/originals/moving")).status_code == 404
    assert "moving" not in await manuals.found()
    await manuals.node.http.delete("/documents/moving?collection=manuals")


async def test_the_texts_of_an_earlier_version_are_not_read_by_the_metadata_of_a_later_one(manuals: Manuals) -> None:
    await ingest(manuals.node, "late", "staff")
    # A replacement that fails leaves the earlier chunks in the store, below the new metadata in the catalog.
    broken = {"id": "late", "content_base64": "JVBERi0xLjcKYnJva2Vu", "metadata": {"audience": "customers"}}
    sent = await manuals.node.http.post("/ingest", json={"collection": "manuals", "documents": [broken], "wait": True})
    assert sent.json()["documents"][0]["status"] == "failed", sent.text
    assert (await manuals.get("/documents/late/text", {})).json()["text"] == "Cobalt glaze, late."
    for path in ("text", "chunks"):
        answer = await manuals.get(f"/documents/late/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "document_busy")
        assert "glaze" not in answer.text
    assert "late" not in await manuals.found()
    await manuals.node.http.delete("/documents/late?collection=manuals")


async def test_a_tenant_s_key_has_a_filter_as_well(manuals: Manuals) -> None:
    writer = await key(manuals.node, None, tenant="mill", scopes=["search", "ingest"])
    for id_, audience in (("one", "staff"), ("two", "customers"), ("three", "customers")):
        document = {"id": id_, "text": f"Cobalt {id_}.", "metadata": {"audience": audience}}
        body = {"collection": "manuals", "documents": [document], "wait": True}
        assert (await manuals.node.http.post("/ingest", json=body, headers=writer)).status_code == 200
    names = {"type": "in", "key": "document_id", "value": ["one", "two", SHOWN]}
    reader = await key(manuals.node, {"type": "and", "filters": [CUSTOMERS, names]}, tenant="mill")
    mill = Manuals(manuals.node, reader)
    assert await mill.found() == ["two"]
    assert [each["id"] for each in (await mill.get("/documents")).json()["documents"]] == ["two"]
    assert (await mill.get("/collections/manuals")).json()["chunks"] == 1
    assert [each["id"] for each in (await mill.get("/v1/files")).json()["data"]] == ["two"]
    for id_ in ("one", "two", "three"):
        await manuals.node.http.delete(f"/documents/{id_}?collection=manuals", headers=writer)


async def test_a_cursor_of_another_filter_is_none(manuals: Manuals) -> None:
    body = {"query": "cobalt glaze", "collection": "manuals", "top_k": 1}
    page = (await manuals.node.http.post("/search", json=body, headers=manuals.reader)).json()
    following = {**body, "cursor": page["next_cursor"]}
    assert (await manuals.node.http.post("/search", json=following, headers=manuals.reader)).status_code == 200
    assert (await manuals.node.http.post("/search", json=following)).status_code == 422


async def test_where_the_filter_does_not_fit_nothing_exists(manuals: Manuals) -> None:
    made = await manuals.node.http.post("/collections", json={"name": "typed", "metadata_keys": {"audience": "int"}})
    assert made.status_code == 201
    document = {"id": "d", "text": "Cobalt.", "metadata": {"audience": 5}}
    await manuals.node.http.post("/ingest", json={"collection": "typed", "documents": [document], "wait": True})
    reader = await key(manuals.node, CUSTOMERS, collections=["typed"])
    asked = {"query": "cobalt", "collection": "typed"}
    refused = await manuals.node.http.post("/search", json=asked, headers=reader)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert "does not fit collection 'typed'" in refused.text
    listed = await manuals.node.http.get("/documents?collection=typed", headers=reader)
    assert listed.json()["documents"] == []
    assert (await manuals.node.http.get("/collections/typed", headers=reader)).json()["chunks"] == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"scopes": ["search", "ingest"]}, "search alone"),
        ({"scopes": ["admin"]}, "search alone"),
        ({"filter": {"type": "eq", "key": "title", "value": "x"}}, "filter: title"),
        ({"filter": {"type": "not", "filters": [{"type": "eq", "key": "page", "value": 1}]}}, "filter: page"),
        ({"filter": {"type": "eq"}}, "needs 'key'"),
        ({"filter": {}}, "filter.type"),
        ({"filter": {"type": "eq", "key": "metadata.a", "value": "\0"}}, "filter.value"),
    ],
)
async def test_a_filter_that_no_key_can_have_is_refused(manuals: Manuals, body: dict[str, Any], words: str) -> None:
    given = {"name": "of a test", "scopes": ["search"], "filter": CUSTOMERS, **body}
    refused = await manuals.node.http.post("/keys", json=given)
    assert refused.status_code == 422, refused.text
    assert words in refused.text


async def test_lists_go_past_what_is_read_at_a_time(manuals: Manuals) -> None:
    for id_ in ("b", "c", "d"):
        await ingest(manuals.node, id_, "staff")
    catalog = manuals.node.components.catalog
    customers = Selection(lambda record: record.document.metadata["audience"] == "customers")
    found = selected(catalog, "manuals", customers, at_once=2)
    assert [record.document.id async for record in found] == [SHOWN, "z"]
    await asyncio.gather(*(manuals.node.http.delete(f"/documents/{id_}?collection=manuals") for id_ in ("b", "c", "d")))


async def test_files_are_not_looked_for_without_end(manuals: Manuals, monkeypatch: pytest.MonkeyPatch) -> None:
    without = await key(manuals.node, {"type": "not", "filters": [{"type": "exists", "key": "metadata.audience"}]})
    assert (await manuals.get("/v1/files", without)).json()["data"] == []
    monkeypatch.setattr("ingestion.uploads.Patience", lambda: Patience(3))
    refused = await manuals.get("/v1/files", without)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported")
    assert "makes no comparison" in refused.text
    # What the database leaves out costs nothing.
    assert [each["id"] for each in (await manuals.get("/v1/files")).json()["data"]] == [SHOWN, "z"]
    assert (await manuals.get("/v1/files", {})).status_code == 200
