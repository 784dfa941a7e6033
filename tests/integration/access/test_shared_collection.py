"""Two tenants in one collection: their ids, idempotency keys, duplicates, jobs and files never meet."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.integration.access.test_other_tenants import NOBODY, ROUTES, Ids, World, neutral
from tests.support.nodes.node import NodeUnderTest, running
from tests.support.stores.memory_store import InMemoryStore

ADMIN = "an-administrator-s-key"
TEXT = "The cobalt glaze is fired at 1280 degrees."


@dataclass(frozen=True, slots=True)
class Shared:
    node: NodeUnderTest
    mill: dict[str, str]
    """Headers of the one tenant."""
    forge: dict[str, str]

    async def ingest(self, tenant: dict[str, str], *documents: dict[str, Any], **headers: str) -> httpx.Response:
        body = {"collection": "shops", "documents": list(documents), "wait": True}
        return await self.node.http.post("/ingest", json=body, headers={**tenant, **headers})

    async def get(self, path: str, tenant: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        return await self.node.http.get(path, params={"collection": "shops", **params}, headers=tenant)

    async def found(self, tenant: dict[str, str], **body: Any) -> list[str]:
        asked = {"query": "cobalt glaze", "collection": "shops", **body}
        answer = await self.node.http.post("/search", json=asked, headers=tenant)
        assert answer.status_code == 200, answer.text
        return sorted(f"{hit['document_id']}: {hit['text']}" for hit in answer.json()["hits"])


async def key(node: NodeUnderTest, tenant: str) -> dict[str, str]:
    body = {"name": tenant, "scopes": ["search", "ingest"], "collections": ["shops"], "tenant": tenant}
    made = await node.http.post("/keys", json=body)
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    async with running(tmp_path_factory.mktemp("shared"), store=InMemoryStore(), api_keys=ADMIN) as node:
        node.http.headers["Authorization"] = f"Bearer {ADMIN}"
        made = await node.http.post("/collections", json={"name": "shops", "duplicates": "skip"})
        assert made.status_code == 201
        shared = Shared(node, await key(node, "mill"), await key(node, "forge"))
        for tenant, text in ((shared.mill, TEXT), (shared.forge, "Cobalt glaze of the forge.")):
            answer = await shared.ingest(tenant, {"id": "guide", "text": text}, {"id": "own", "text": f"{text} Own."})
            assert [each["status"] for each in answer.json()["documents"]] == ["ready", "ready"]
        yield shared


async def test_one_id_is_two_documents(shared: Shared) -> None:
    for tenant, text in ((shared.mill, TEXT), (shared.forge, "Cobalt glaze of the forge.")):
        assert (await shared.get("/originals/guide", tenant)).text == text
        assert (await shared.get("/documents/guide/text", tenant)).json()["text"] == text
        document = (await shared.get("/documents/guide", tenant)).json()
        assert (document["id"], document["version"]) == ("guide", 1)
    listed = (await shared.get("/documents", shared.mill, limit=1)).json()
    assert ([each["id"] for each in listed["documents"]], listed["next_cursor"]) == (["guide"], "guide")
    after = (await shared.get("/documents", shared.mill, limit=5, cursor="guide")).json()["documents"]
    assert [each["id"] for each in after] == ["own"]
    every = (await shared.get("/documents")).json()["documents"]
    assert [each["id"] for each in every] == ["@forge:guide", "@forge:own", "@mill:guide", "@mill:own"]


async def test_a_search_finds_one_s_own(shared: Shared) -> None:
    forge = ["guide: Cobalt glaze of the forge.", "own: Cobalt glaze of the forge. Own."]
    assert await shared.found(shared.forge) == forge
    assert await shared.found(shared.forge, partition="forge") == forge
    assert await shared.found(shared.forge, filter={"type": "eq", "key": "document_id", "value": "own"}) == forge[1:]
    assert await shared.found(shared.forge, filter={"type": "ne", "key": "document_id", "value": "own"}) == forge[:1]
    # No condition leads out of it: neither names, nor ids as they are stored, nor a negation.
    for condition in (
        {"type": "eq", "key": "partition", "value": "@mill"},
        {"type": "in", "key": "document_id", "value": ["@mill:guide", "@mill:own"]},
    ):
        assert await shared.found(shared.forge, filter=condition) == []
        assert await shared.found(shared.forge, filter={"type": "not", "filters": [condition]}) == forge
    for partition in ("mill", "@mill", "@forge", ""):
        body = {"query": "cobalt", "collection": "shops", "partition": partition}
        refused = await shared.node.http.post("/search", json=body, headers=shared.forge)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden"), partition
    assert len(await shared.found({})) == 4


async def test_a_cursor_of_another_tenant_is_none(shared: Shared) -> None:
    body = {"query": "cobalt glaze", "collection": "shops", "top_k": 1}
    page = (await shared.node.http.post("/search", json=body, headers=shared.mill)).json()
    assert page["next_cursor"]
    following = {**body, "cursor": page["next_cursor"]}
    assert (await shared.node.http.post("/search", json=following, headers=shared.mill)).status_code == 200
    assert (await shared.node.http.post("/search", json=following, headers=shared.forge)).status_code == 422


async def test_duplicates_and_idempotency_keys_do_not_cross(shared: Shared) -> None:
    # The collection skips duplicates; the bytes are the other tenant's.
    copied = (await shared.ingest(shared.forge, {"id": "copy", "text": TEXT})).json()["documents"][0]
    assert (copied["status"], copied["duplicate_of"]) == ("ready", None)
    again = (await shared.ingest(shared.forge, {"id": "copy2", "text": TEXT})).json()["documents"][0]
    assert (again["status"], again["duplicate_of"]) == ("duplicate_of", "copy")
    key = {"Idempotency-Key": "monday"}
    first = await shared.ingest(shared.mill, {"id": "m", "text": "of the mill"}, **key)
    second = await shared.ingest(shared.forge, {"id": "f", "text": "of the forge"}, **key)
    assert first.status_code == second.status_code == 200
    assert first.json()["job_id"] != second.json()["job_id"]
    repeated = await shared.ingest(shared.mill, {"id": "m", "text": "of the mill"}, **key)
    assert repeated.json()["job_id"] == first.json()["job_id"]
    for tenant, name in ((shared.forge, "copy"), (shared.forge, "f"), (shared.mill, "m")):
        deleted = await shared.node.http.delete(f"/documents/{name}?collection=shops", headers=tenant)
        assert deleted.status_code == 204


async def test_a_write_stays_inside(shared: Shared) -> None:
    for partition in ("mill", "@mill", "other"):
        refused = await shared.ingest(shared.forge, {"id": "x", "text": "x", "partition": partition})
        assert refused.status_code == 422, partition
    lines = b'{"id": "@mill:line", "text": "a line"}\n{"id": "line", "text": "another line"}'
    sent = await shared.node.http.post(
        "/ingest",
        files={"files": ("lines.jsonl", lines)},
        data={"data": '{"collection": "shops", "split_lines": true, "wait": true}'},
        headers=shared.forge,
    )
    assert sent.status_code == 200, sent.text
    mill = (await shared.get("/documents", shared.mill)).json()["documents"]
    assert [each["id"] for each in mill] == ["guide", "own"]
    forge = [each["id"] for each in (await shared.get("/documents", shared.forge)).json()["documents"]]
    came = [id_ for id_ in forge if id_.startswith("lines.jsonl")]
    assert len(came) == 2, forge
    for name in came:
        await shared.node.http.delete(f"/documents/{name}?collection=shops", headers=shared.forge)


@pytest.mark.parametrize(
    ("id_", "partition", "status"),
    [
        ("@mill:new", "@mill", 200),
        ("@mill:new", "", 422),
        ("@mill:new", "@forge", 422),
        ("new", "@mill", 422),
        ("@ not a tenant: new", "", 200),
        ("new", "mill", 200),
    ],
)
async def test_ids_and_partitions_of_tenants_belong_together(
    shared: Shared, id_: str, partition: str, status: int
) -> None:
    sent = await shared.ingest({}, {"id": id_, "text": f"{id_} {partition}", "partition": partition})
    assert sent.status_code == status, sent.text
    seen = [each["id"] for each in (await shared.get("/documents", shared.mill)).json()["documents"]]
    assert seen == (["guide", "new", "own"] if status == 200 and partition == "@mill" else ["guide", "own"])
    if status == 200:
        gone = await shared.node.http.delete(f"/documents/{id_}?collection=shops")
        assert gone.status_code == 204


async def test_counts_are_of_one_s_own(shared: Shared) -> None:
    mine = (await shared.node.http.get("/collections/shops", headers=shared.mill)).json()
    assert mine["chunks"] == 2
    assert (await shared.node.http.get("/collections/shops")).json()["chunks"] == 4
    store = (await shared.node.http.get("/v1/vector_stores/vs_shops", headers=shared.mill)).json()
    assert store["file_counts"]["total"] == 2


async def test_what_names_a_document_or_a_job_of_another_tenant_finds_nothing(shared: Shared) -> None:
    made = (await shared.ingest(shared.mill, {"id": "late", "text": "A late document."})).json()
    page = (await shared.node.http.get("/ui/collections")).text
    csrf = page.partition('name="csrf" value="')[2][:64]
    victim = Ids("shops", "late", made["job_id"], NOBODY.file, NOBODY.stored_key)
    nobody = Ids("shops", "nothing", NOBODY.job, NOBODY.file, NOBODY.stored_key)
    world = World(shared.node, shared.node.http._transport.app, victim, csrf)  # type: ignore[attr-defined]
    bearer = shared.forge["Authorization"].removeprefix("Bearer ")
    walked = 0
    for (method, path), route in ROUTES.items():
        if not any(part in path for part in ("{document_id}", "{job_id}", "{file_id}", "{batch_id}", "/ui/document")):
            continue
        for make in route.make:
            answer, other = [await world.send(make(ids), bearer, method) for ids in (victim, nobody)]
            where = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
            assert neutral(answer, victim) == neutral(other, nobody), where
            assert "A late document" not in answer.text
            walked += 1
    assert walked > 25
    assert (await shared.get("/documents/late", shared.mill)).json()["state"] == "ready"
    assert (await shared.node.http.get(f"/jobs/{made['job_id']}", headers=shared.mill)).status_code == 200
    jobs = (await shared.node.http.get("/ui/jobs", headers=shared.forge)).text
    assert made["job_id"] not in jobs


async def test_files_of_vector_stores_are_one_s_own(shared: Shared) -> None:
    http = shared.node.http
    sent = await http.post(
        "/v1/files",
        files={"file": ("kiln.txt", b"A kiln of bricks.")},
        data={"purpose": "assistants"},
        headers=shared.mill,
    )
    id_ = sent.json()["id"]
    added = await http.post("/v1/vector_stores/vs_shops/files", json={"file_id": id_}, headers=shared.mill)
    assert (added.status_code, added.json()["id"]) == (200, id_)
    listed = (await http.get("/v1/files", headers=shared.mill)).json()["data"]
    assert [(each["id"], each["filename"]) for each in listed if each["id"] == id_] == [(id_, "kiln.txt")]
    assert (await http.get(f"/v1/files/{id_}/content", headers=shared.mill)).content == b"A kiln of bricks."
    assert (await http.get(f"/v1/files/{id_}/content", headers=shared.forge)).status_code == 404
    assert id_ not in (await http.get("/v1/files", headers=shared.forge)).text
    assert (await http.delete(f"/v1/files/{id_}", headers=shared.mill)).status_code == 200


@pytest.mark.parametrize("scope", ["manage", "admin"])
async def test_a_tenant_s_key_has_no_scope_over_whole_collections(shared: Shared, scope: str) -> None:
    body = {"name": "x", "scopes": ["search", scope], "tenant": "mill"}
    refused = await shared.node.http.post("/keys", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
