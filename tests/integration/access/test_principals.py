"""Collections with principals: a caller reads the documents that one of its groups may read, on every interface, and no
others exist. Groups come by the key, or by a signed token that is sent with it or in its place."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from tests.integration.access.test_other_tenants import walk_for_a_hidden_document
from tests.support.nodes.node import NodeUnderTest, running
from tests.support.stores.memory_store import InMemoryStore

ADMIN = "an-administrator-s-key"
SECRET = "a secret of thirty-two bytes, and a few more"
ISSUER, AUDIENCE = "https://login.example.org", "tandem"
BOOK = "manuals"
SHOWN, HIDDEN, NOBODYS = "shown", "staff-only", "without-groups"
DOCUMENTS = {"a": ["staff"], HIDDEN: ["staff", "board"], SHOWN: ["customers"], "z": ["staff", "customers"], NOBODYS: []}


def token(groups: object, **more: Any) -> str:
    claims = {"sub": "ada", "iss": ISSUER, "aud": AUDIENCE, "exp": datetime.now(UTC) + timedelta(minutes=5)}
    return jwt.encode({**claims, "groups": groups, **more}, SECRET, "HS256")


@dataclass(frozen=True, slots=True)
class Manuals:
    node: NodeUnderTest
    headers: dict[str, str]

    async def get(self, path: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        given = {"collection": BOOK, **params}
        return await self.node.http.get(path, params=given, headers=self.headers if headers is None else headers)

    async def send(self, path: str, **body: Any) -> httpx.Response:
        return await self.node.http.post(path, json=body, headers=self.headers)

    async def found(self, **body: Any) -> list[str]:
        answer = await self.send("/search", query="cobalt glaze", collection=BOOK, **body)
        assert answer.status_code == 200, answer.text
        return sorted(hit["document_id"] for hit in answer.json()["hits"])

    async def listed(self) -> list[str]:
        return [each["id"] for each in (await self.get("/documents")).json()["documents"]]

    def with_key(self, **headers: str) -> "Manuals":
        return Manuals(self.node, {**self.headers, **headers})


async def key(node: NodeUnderTest, *scopes: str, **more: Any) -> Manuals:
    made = await node.http.post("/keys", json={"name": "of a test", "scopes": scopes, **more})
    assert made.status_code == 201, made.text
    return Manuals(node, {"Authorization": f"Bearer {made.json()['key']}"})


async def ingest(node: NodeUnderTest, id_: str, groups: list[str], **more: Any) -> dict[str, Any]:
    document = {"id": id_, "text": f"Cobalt glaze, {id_}.", "groups": groups, **more}
    sent = await node.http.post("/ingest", json={"collection": BOOK, "documents": [document], "wait": True})
    receipt: dict[str, Any] = sent.json()["documents"][0]
    return receipt


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    settings = {"token_issuer": ISSUER, "token_audience": AUDIENCE, "token_secret": SECRET}
    async with running(tmp_path_factory.mktemp("manuals"), store=InMemoryStore(), api_keys=ADMIN, **settings) as node:
        node.http.headers["Authorization"] = f"Bearer {ADMIN}"
        made = await node.http.post("/collections", json={"name": BOOK, "principals": True})
        assert (made.status_code, made.json()["principals"]) == (201, True)
        for id_, groups in DOCUMENTS.items():
            assert (await ingest(node, id_, groups))["status"] == "ready"
        yield node


@pytest.fixture(scope="module")
async def customer(node: NodeUnderTest) -> Manuals:
    return await key(node, "search", groups=["customers"])


@pytest.fixture(scope="module")
async def gateway(node: NodeUnderTest) -> Manuals:
    return await key(node, "search")


async def test_a_search_finds_what_a_group_of_the_caller_may_read(customer: Manuals) -> None:
    assert await customer.found() == [SHOWN, "z"]
    assert await customer.found(filter={"type": "eq", "key": "document_id", "value": HIDDEN}) == []
    assert await customer.found(neighbors=1, group_by="document") == [SHOWN, "z"]
    retrieved = await customer.send(
        "/retrieval", knowledge_id=BOOK, query="cobalt", retrieval_setting={"top_k": 9, "score_threshold": 0.0}
    )
    assert len(retrieved.json()["records"]) == 2
    openai = (await customer.send(f"/v1/vector_stores/vs_{BOOK}/search", query="cobalt glaze")).json()["data"]
    assert sorted(each["file_id"] for each in openai) == [SHOWN, "z"]


async def test_lists_and_counts_are_of_what_the_groups_may_read(customer: Manuals) -> None:
    page = (await customer.get("/documents", limit=1)).json()
    assert ([each["id"] for each in page["documents"]], page["next_cursor"]) == ([SHOWN], SHOWN)
    assert [each["groups"] for each in page["documents"]] == [None]
    page = (await customer.get("/documents", limit=5, cursor=SHOWN)).json()
    assert [each["id"] for each in page["documents"]] == ["z"]
    assert (await customer.get(f"/collections/{BOOK}")).json()["chunks"] == 2
    store = (await customer.get(f"/v1/vector_stores/vs_{BOOK}")).json()
    assert store["file_counts"]["total"] == 2
    assert [each["id"] for each in (await customer.get("/v1/files")).json()["data"]] == [SHOWN, "z"]


async def test_who_manages_reads_everything_and_sees_the_groups(customer: Manuals, node: NodeUnderTest) -> None:
    manager = await key(node, "search", "manage")
    assert await manager.found() == sorted(DOCUMENTS)
    listed = (await manager.get("/documents")).json()["documents"]
    assert {each["id"]: each["groups"] for each in listed} == {id_: sorted(groups) for id_, groups in DOCUMENTS.items()}


async def test_without_groups_nothing_is_read(gateway: Manuals) -> None:
    assert await gateway.found() == []
    assert await gateway.listed() == []
    assert (await gateway.get(f"/documents/{NOBODYS}/text")).status_code == 404
    assert (await gateway.get(f"/collections/{BOOK}")).json()["chunks"] == 0


async def test_who_only_ingests_sees_records_and_no_text(node: NodeUnderTest) -> None:
    writer = await key(node, "ingest")
    assert await writer.listed() == sorted(DOCUMENTS)
    for path in (f"/documents/{HIDDEN}/text", f"/documents/{HIDDEN}/chunks", f"/originals/{HIDDEN}"):
        assert (await writer.get(path)).status_code == 403
    assert (await writer.send("/search", query="cobalt", collection=BOOK)).status_code == 403


async def test_who_reads_by_groups_does_not_write(node: NodeUnderTest) -> None:
    both = await key(node, "search", "ingest")
    sent = await both.send("/ingest", collection=BOOK, documents=[{"id": HIDDEN, "text": "Other.", "groups": ["x"]}])
    assert (sent.status_code, sent.json()["error"]["code"]) == (403, "forbidden")
    deleted = await node.http.delete(f"/documents/{HIDDEN}?collection={BOOK}", headers=both.headers)
    assert deleted.status_code == 403
    every = await node.http.get("/ui/jobs", headers=both.headers)
    assert HIDDEN not in every.text
    sent = await node.http.post("/ingest", json={"collection": BOOK, "documents": [{"id": "j", "text": "Cobalt."}]})
    job = f"/jobs/{sent.json()['job_id']}"
    assert (await both.get(job)).status_code == 404
    assert (await node.http.get(job)).status_code == 200
    while (await node.http.get(job)).json()["state"] in ("queued", "running"):
        pass
    await node.http.delete(f"/documents/j?collection={BOOK}")
    # In a collection without principals the same key writes and reads.
    open_ = {"collection": "open", "documents": [{"id": "d", "text": "Cobalt."}], "wait": True}
    await node.http.post("/collections", json={"name": "open"})
    assert (await both.send("/ingest", **open_)).status_code == 200
    assert (await both.get("/documents/d/text", collection="open")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/documents/{}", "/documents/{}/text", "/documents/{}/chunks", "/originals/{}", "/v1/files/{}/content"]
)
async def test_a_document_is_read_where_a_group_may_read_it(customer: Manuals, path: str) -> None:
    assert (await customer.get(path.format(SHOWN))).status_code == 200
    hidden, nothing = [await customer.get(path.format(id_)) for id_ in (HIDDEN, "nothing")]
    assert hidden.status_code == nothing.status_code == 404
    assert hidden.text.replace(HIDDEN, "nothing").partition("request_id")[0] == nothing.text.partition("request_id")[0]


async def test_every_route_answers_for_a_hidden_document_as_for_none(customer: Manuals, node: NodeUnderTest) -> None:
    bearer = customer.headers["Authorization"].removeprefix("Bearer ")
    walked = await walk_for_a_hidden_document(node, bearer, BOOK, HIDDEN, f"glaze, {HIDDEN}")
    assert walked > 15


async def test_a_document_follows_its_groups(customer: Manuals, node: NodeUnderTest) -> None:
    for groups, status in ((["staff"], 404), (["customers", "staff"], 200), ([], 404)):
        receipt = await ingest(node, "moving", groups)
        assert receipt["status"] in ("ready", "replaced")
        assert (await customer.get("/documents/moving/text")).status_code == status
        assert ("moving" in await customer.found()) is (status == 200)
    assert (await ingest(node, "moving", []))["status"] == "unchanged"
    await node.http.delete(f"/documents/moving?collection={BOOK}")


async def test_the_texts_of_an_earlier_version_are_not_read_by_later_groups(
    customer: Manuals, node: NodeUnderTest
) -> None:
    await ingest(node, "late", ["staff"])
    broken = {"text": None, "content_base64": "JVBERi0xLjcKYnJva2Vu"}
    assert (await ingest(node, "late", ["customers"], **broken))["status"] == "failed"
    for path in ("text", "chunks"):
        answer = await customer.get(f"/documents/late/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "document_busy")
    assert "late" not in await customer.found()
    await node.http.delete(f"/documents/late?collection={BOOK}")


async def test_a_group_that_is_taken_away_reads_nothing_at_once(customer: Manuals, node: NodeUnderTest) -> None:
    await ingest(node, "taken", ["customers"])
    assert "taken" in await customer.found()
    # The store keeps the earlier version, with its groups.
    broken = {"text": None, "content_base64": "JVBERi0xLjcKYnJva2Vu"}
    assert (await ingest(node, "taken", ["staff"], **broken))["status"] == "failed"
    assert "taken" not in await customer.found()
    assert (await customer.get("/documents/taken")).status_code == 404
    await node.http.delete(f"/documents/taken?collection={BOOK}")


async def test_a_duplicate_for_other_groups_is_a_document_of_its_own(node: NodeUnderTest) -> None:
    made = {"name": "skipping", "principals": True, "duplicates": "skip"}
    assert (await node.http.post("/collections", json=made)).status_code == 201
    documents = [
        {"id": id_, "text": "The same.", "groups": groups}
        for id_, groups in (("one", ["a"]), ("two", ["b"]), ("three", ["b"]), ("four", []))
    ]
    for part in (documents[:2], documents[2:]):
        body = {"collection": "skipping", "documents": part, "wait": True}
        assert (await node.http.post("/ingest", json=body)).status_code == 200
    listed = (await node.http.get("/documents?collection=skipping")).json()["documents"]
    assert [each["id"] for each in listed] == ["four", "one", "two"]


async def test_files_of_vector_stores_have_groups(customer: Manuals, node: NodeUnderTest) -> None:
    async def upload(name: str) -> str:
        files = {"file": (f"{name}.txt", f"Cobalt glaze, {name}.".encode())}
        sent = await node.http.post("/v1/files", files=files, data={"purpose": "assistants"})
        id_: str = sent.json()["id"]
        return id_

    async def sent(path: str, **body: Any) -> dict[str, Any]:
        answer = await node.http.post(f"/v1/vector_stores/vs_{BOOK}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def read_by(id_: str) -> list[str]:
        read: list[str] = (await node.http.get(f"/v1/vector_stores/vs_{BOOK}/files/{id_}")).json()["groups"]
        return read

    one, two, three = [await upload(name) for name in ("one", "two", "three")]
    assert (await sent("files", file_id=one, groups=["customers", "staff"]))["groups"] == ["customers", "staff"]
    batch = [{"file_id": two, "groups": ["customers"]}, {"file_id": three}]
    await sent("file_batches", files=batch)
    assert [await read_by(id_) for id_ in (one, two, three)] == [["customers", "staff"], ["customers"], []]
    assert {one, two} <= set(await customer.listed())
    assert three not in await customer.listed()
    shown = await node.http.get(f"/v1/vector_stores/vs_{BOOK}/files/{one}", headers=customer.headers)
    assert (shown.status_code, shown.json()["groups"]) == (200, None)
    # Attributes alone leave the groups as they are; so does adding the file again.
    await sent(f"files/{one}", attributes={"year": 2024})
    await sent("files", file_id=two, attributes={"year": 2024})
    assert [await read_by(id_) for id_ in (one, two)] == [["customers", "staff"], ["customers"]]
    await sent(f"files/{one}", attributes={}, groups=["staff"])
    await sent("file_batches", file_ids=[two, three], groups=[])
    assert [await read_by(id_) for id_ in (one, two, three)] == [["staff"], [], []]
    assert not {one, two, three} & set(await customer.listed())
    for id_ in (one, two, three):
        assert (await node.http.delete(f"/v1/files/{id_}")).status_code == 200


async def test_groups_need_a_collection_with_principals(node: NodeUnderTest) -> None:
    await node.http.post("/collections", json={"name": "plain"})
    body = {"collection": "plain", "documents": [{"text": "Cobalt.", "groups": ["staff"]}]}
    refused = await node.http.post("/ingest", json=body)
    assert (refused.status_code, "without principals" in refused.text) == (422, True)
    kept = await node.http.post("/v1/files", files={"file": ("a.txt", b"Cobalt.")}, data={"purpose": "assistants"})
    added = {"file_id": kept.json()["id"], "groups": ["staff"]}
    refused = await node.http.post("/v1/vector_stores/vs_plain/files", json=added)
    assert (refused.status_code, "without principals" in refused.text) == (400, True)


class TestTokens:
    async def test_the_token_s_groups_read(self, gateway: Manuals) -> None:
        for groups, found in ((["customers"], [SHOWN, "z"]), (["board", "x"], [HIDDEN]), ([], []), (None, [])):
            ada = gateway.with_key(**{"X-Tandem-Token": token(groups)})
            assert await ada.found() == found
            assert await ada.listed() == found

    async def test_the_groups_of_the_key_bound_those_of_the_token(self, customer: Manuals) -> None:
        ada = customer.with_key(**{"X-Tandem-Token": token(["board", "customers"])})
        assert await ada.found() == [SHOWN, "z"]
        assert await customer.with_key(**{"X-Tandem-Token": token(["board"])}).found() == []

    async def test_with_a_token_an_administrator_s_key_only_reads(self, node: NodeUnderTest) -> None:
        ada = Manuals(node, {"Authorization": f"Bearer {ADMIN}", "X-Tandem-Token": token(["board"])})
        assert await ada.found() == [HIDDEN]
        assert (await ada.get("/keys")).status_code == 403
        assert (await ada.send("/collections", name="of-ada")).status_code == 403

    @pytest.mark.parametrize(
        "wrong",
        [
            "",
            "nonsense",
            "a.b.c",
            token(["staff"], exp=datetime.now(UTC) - timedelta(minutes=5)),
            token(["staff"], aud="another"),
            token(["staff"], iss="https://evil.example.org"),
            token("staff"),
            token([""]),
            jwt.encode({"groups": ["staff"], "iss": ISSUER, "aud": AUDIENCE, "exp": 2**33}, None, "none"),
            jwt.encode({"groups": ["staff"], "iss": ISSUER, "aud": AUDIENCE}, SECRET, "HS256"),
        ],
    )
    async def test_a_wrong_token_is_refused(self, gateway: Manuals, wrong: str) -> None:
        answer = await gateway.with_key(**{"X-Tandem-Token": wrong}).get("/documents")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")

    async def test_the_audit_log_names_whom_it_was_issued_for(self, gateway: Manuals, node: NodeUnderTest) -> None:
        subject = "grace@example.org"
        grace = gateway.with_key(**{"X-Tandem-Token": token(["staff"], sub=subject)})
        assert (await grace.get(f"/originals/{HIDDEN}")).status_code == 200
        assert (await gateway.with_key(**{"X-Tandem-Token": token(["staff"])}).get(f"/originals/{HIDDEN}")).is_success
        log = (await node.http.get("/audit-log", params={"token_subject": subject})).json()["entries"]
        assert [(each["action"], each["document_id"], each["token_subject"]) for each in log] == [
            ("document.export", HIDDEN, subject)
        ]
        shown = await node.http.get("/ui/audit-log", params={"token_subject": subject})
        assert subject in shown.text
        assert HIDDEN in shown.text

    async def test_a_token_alone_is_no_key(self, node: NodeUnderTest) -> None:
        ada = Manuals(node, {"Authorization": f"Bearer {token(['staff'])}"})
        assert (await ada.get("/documents")).status_code == 401
