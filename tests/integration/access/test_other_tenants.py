"""Every route, with the key of another team and the ids of this one: nothing that the key may not see is there.

A route that is added later has to be entered in ROUTES, with the scopes that it takes and requests to it.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.http.security.access import DOCS, PUBLIC, PUBLIC_ASSETS
from tests.support.nodes.node import NodeUnderTest, running
from tests.support.stores.memory_store import InMemoryStore

ADMIN = "an-administrator-s-key"
SECRET = "cobalt"
"""A word of the team's documents, which nobody else's answer may hold."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ids:
    """What a request can name of a team's."""

    collection: str
    document: str
    job: str
    file: str
    stored_key: str


NOBODY = Ids("team_none", "nothing/here.md", "0123456789abcdef0123456789abcdef", "file-none", "key_0000000000000000")
"""Of a team that there never was: what its names are answered with, those of another team have to be as well."""


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    json: Json | None = None
    form: Mapping[str, str] | None = None
    files: Sequence[tuple[str, tuple[str, bytes]]] | None = None


Make = Callable[[Ids], Request]


@dataclass(frozen=True, slots=True)
class Route:
    scopes: frozenset[str]
    """Any of them is needed. Empty: any key does."""
    make: Sequence[Make]


def route(scopes: str, *make: Make) -> Route:
    return Route(frozenset(scopes.split()), make)


def page_form(**fields: str) -> Callable[[str], Make]:
    """Of a form of the page, to the path that follows."""
    return lambda path: lambda ids: Request(path, form={name: value.format(ids=ids) for name, value in fields.items()})


def store(ids: Ids, rest: str = "") -> str:
    return f"/v1/vector_stores/vs_{ids.collection}{rest}"


def tool(name: str, **arguments: Any) -> Make:
    def made(ids: Ids) -> Request:
        named = {key: value.format(ids=ids) if isinstance(value, str) else value for key, value in arguments.items()}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": named}}
        return Request("/mcp", json=call)

    return made


READ = "search ingest manage"
FILE = [("files", ("a.txt", b"A text of a file."))]

ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/metrics"): route("admin", lambda _: Request("/metrics")),
    ("POST", "/ingest"): route(
        "ingest",
        lambda ids: Request("/ingest", json={"collection": ids.collection, "documents": [{"text": "mine"}]}),
        lambda ids: Request("/ingest", files=FILE, form={"data": f'{{"collection": "{ids.collection}"}}'}),
    ),
    ("GET", "/jobs/{job_id}"): route("ingest manage", lambda ids: Request(f"/jobs/{ids.job}")),
    ("POST", "/jobs/{job_id}/cancel"): route("ingest", lambda ids: Request(f"/jobs/{ids.job}/cancel")),
    ("GET", "/jobs/{job_id}/events"): route("ingest manage", lambda ids: Request(f"/jobs/{ids.job}/events")),
    ("GET", "/documents"): route(READ, lambda ids: Request(f"/documents?collection={ids.collection}")),
    ("GET", "/documents/{document_id}"): route(
        READ, lambda ids: Request(f"/documents/{ids.document}?collection={ids.collection}")
    ),
    ("GET", "/documents/{document_id}/text"): route(
        "search", lambda ids: Request(f"/documents/{ids.document}/text?collection={ids.collection}")
    ),
    ("GET", "/documents/{document_id}/chunks"): route(
        "search", lambda ids: Request(f"/documents/{ids.document}/chunks?collection={ids.collection}")
    ),
    ("DELETE", "/documents/{document_id}"): route(
        "ingest", lambda ids: Request(f"/documents/{ids.document}?collection={ids.collection}")
    ),
    ("GET", "/originals/{document_id}"): route(
        "search", lambda ids: Request(f"/originals/{ids.document}?collection={ids.collection}")
    ),
    ("POST", "/collections"): route("manage", lambda ids: Request("/collections", json={"name": ids.collection})),
    ("GET", "/collections"): route("", lambda _: Request("/collections")),
    ("GET", "/collections/{name}"): route("", lambda ids: Request(f"/collections/{ids.collection}")),
    ("DELETE", "/collections/{name}"): route("manage", lambda ids: Request(f"/collections/{ids.collection}")),
    ("PUT", "/collections/{name}/golden"): route(
        "manage",
        lambda ids: Request(f"/collections/{ids.collection}/golden", json={"queries": [_golden(ids)]}),
    ),
    ("GET", "/collections/{name}/golden"): route(
        "manage", lambda ids: Request(f"/collections/{ids.collection}/golden")
    ),
    ("POST", "/collections/{name}/reembed"): route(
        "manage", lambda ids: Request(f"/collections/{ids.collection}/reembed", json={"chunking": {"max_tokens": 64}})
    ),
    ("GET", "/collections/{name}/reembed"): route(
        "manage", lambda ids: Request(f"/collections/{ids.collection}/reembed")
    ),
    ("POST", "/collections/{name}/rollback"): route(
        "manage", lambda ids: Request(f"/collections/{ids.collection}/rollback")
    ),
    ("POST", "/audit"): route(
        "manage", lambda ids: Request("/audit", json={"collection": ids.collection, "repair": True})
    ),
    ("POST", "/keys"): route("admin", lambda _: Request("/keys", json={"name": "mine", "scopes": ["admin"]})),
    ("GET", "/keys"): route("admin", lambda _: Request("/keys")),
    ("GET", "/keys/{key_id}"): route("admin", lambda ids: Request(f"/keys/{ids.stored_key}")),
    ("POST", "/keys/{key_id}/rotate"): route("admin", lambda ids: Request(f"/keys/{ids.stored_key}/rotate")),
    ("DELETE", "/keys/{key_id}"): route("admin", lambda ids: Request(f"/keys/{ids.stored_key}")),
    ("GET", "/audit-log"): route("admin", lambda ids: Request(f"/audit-log?collection={ids.collection}")),
    ("POST", "/search"): route(
        "search",
        lambda ids: Request("/search", json={"query": SECRET, "collection": ids.collection}),
        lambda ids: Request("/search", json={"queries": [SECRET, "kiln"], "collection": ids.collection}),
    ),
    ("GET", "/embed"): route("", lambda _: Request("/embed")),
    ("POST", "/embed"): route("search ingest", lambda _: Request("/embed", json={"texts": ["a"], "kind": "query"})),
    ("POST", "/v1/embeddings"): route("search ingest", lambda _: Request("/v1/embeddings", json={"input": "a"})),
    ("GET", "/v1/models"): route("", lambda _: Request("/v1/models")),
    ("GET", "/v1/models/{model}"): route("", lambda _: Request("/v1/models/tandem")),
    ("POST", "/v1/files"): route(
        "ingest",
        lambda _: Request("/v1/files", files=[("file", FILE[0][1])], form={"purpose": "assistants"}),
    ),
    ("GET", "/v1/files"): route(READ, lambda _: Request("/v1/files")),
    ("GET", "/v1/files/{file_id}"): route(
        READ, lambda ids: Request(f"/v1/files/{ids.file}"), lambda ids: Request(f"/v1/files/{ids.document}")
    ),
    ("GET", "/v1/files/{file_id}/content"): route(
        "search",
        lambda ids: Request(f"/v1/files/{ids.file}/content"),
        lambda ids: Request(f"/v1/files/{ids.document}/content"),
    ),
    ("DELETE", "/v1/files/{file_id}"): route(
        "ingest", lambda ids: Request(f"/v1/files/{ids.file}"), lambda ids: Request(f"/v1/files/{ids.document}")
    ),
    ("POST", "/v1/vector_stores"): route(
        "manage", lambda ids: Request("/v1/vector_stores", json={"name": ids.collection})
    ),
    ("GET", "/v1/vector_stores"): route(
        "",
        lambda _: Request("/v1/vector_stores"),
        lambda ids: Request(f"/v1/vector_stores?after=vs_{ids.collection}"),
    ),
    ("GET", "/v1/vector_stores/{vector_store_id}"): route("", lambda ids: Request(store(ids))),
    ("POST", "/v1/vector_stores/{vector_store_id}"): route("", lambda ids: Request(store(ids), json={})),
    ("DELETE", "/v1/vector_stores/{vector_store_id}"): route("manage", lambda ids: Request(store(ids))),
    ("POST", "/v1/vector_stores/{vector_store_id}/search"): route(
        "search", lambda ids: Request(store(ids, "/search"), json={"query": SECRET})
    ),
    ("POST", "/v1/vector_stores/{vector_store_id}/files"): route(
        "ingest", lambda ids: Request(store(ids, "/files"), json={"file_id": ids.file})
    ),
    ("GET", "/v1/vector_stores/{vector_store_id}/files"): route(READ, lambda ids: Request(store(ids, "/files"))),
    ("GET", "/v1/vector_stores/{vector_store_id}/files/{file_id}"): route(
        READ, lambda ids: Request(store(ids, f"/files/{ids.document}"))
    ),
    ("POST", "/v1/vector_stores/{vector_store_id}/files/{file_id}"): route(
        "ingest", lambda ids: Request(store(ids, f"/files/{ids.document}"), json={"attributes": {"a": 1}})
    ),
    ("DELETE", "/v1/vector_stores/{vector_store_id}/files/{file_id}"): route(
        "ingest", lambda ids: Request(store(ids, f"/files/{ids.document}"))
    ),
    ("POST", "/v1/vector_stores/{vector_store_id}/file_batches"): route(
        "ingest", lambda ids: Request(store(ids, "/file_batches"), json={"file_ids": [ids.file, ids.document]})
    ),
    ("GET", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}"): route(
        "ingest manage", lambda ids: Request(store(ids, f"/file_batches/vsfb_{ids.job}"))
    ),
    ("POST", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel"): route(
        "ingest", lambda ids: Request(store(ids, f"/file_batches/vsfb_{ids.job}/cancel"))
    ),
    ("GET", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files"): route(
        "ingest manage", lambda ids: Request(store(ids, f"/file_batches/vsfb_{ids.job}/files"))
    ),
    ("POST", "/v1/rerank"): route(
        "search ingest", lambda _: Request("/v1/rerank", json={"query": "a", "documents": ["b"]})
    ),
    ("POST", "/v2/rerank"): route(
        "search ingest", lambda _: Request("/v2/rerank", json={"model": "tandem", "query": "a", "documents": ["b"]})
    ),
    ("POST", "/score"): route("search ingest", lambda _: Request("/score", json={"text_1": "a", "text_2": "b"})),
    ("POST", "/retrieval"): route(
        "search",
        lambda ids: Request(
            "/retrieval",
            json={
                "knowledge_id": ids.collection,
                "query": SECRET,
                "retrieval_setting": {"top_k": 5, "score_threshold": 0.0},
            },
        ),
    ),
    # What its tools want is tested below; a tool that may not be called is an answer like others.
    ("POST", "/mcp"): route(
        "",
        tool("search", query=SECRET, collection="{ids.collection}"),
        tool("ingest", text="mine", id="{ids.document}", collection="{ids.collection}"),
        tool("list_collections"),
    ),
    ("GET", "/"): route("", lambda _: Request("/"), lambda ids: Request(f"/?q={SECRET}&collection={ids.collection}")),
    ("GET", "/ui/compare"): route("", lambda ids: Request(f"/ui/compare?q={SECRET}&collection={ids.collection}")),
    ("POST", "/ui/judgements"): route(
        "search",
        page_form(
            judgements='{{"collection": "{ids.collection}", "judgements": [{{"query": "a", "document_id": '
            '"{ids.document}", "relevant": true}}]}}'
        )("/ui/judgements"),
    ),
    ("GET", "/ui/documents"): route(READ, lambda ids: Request(f"/ui/documents?collection={ids.collection}")),
    ("POST", "/ui/upload"): route(
        "ingest",
        lambda ids: Request("/ui/upload", form={"collection": ids.collection}, files=FILE),
    ),
    ("GET", "/ui/document"): route(
        READ, lambda ids: Request(f"/ui/document?collection={ids.collection}&id={quote(ids.document)}")
    ),
    ("GET", "/ui/original"): route(
        "search", lambda ids: Request(f"/ui/original?collection={ids.collection}&id={quote(ids.document)}")
    ),
    ("POST", "/ui/document/delete"): route(
        "ingest", page_form(collection="{ids.collection}", id="{ids.document}")("/ui/document/delete")
    ),
    ("POST", "/ui/document/reingest"): route(
        "ingest", page_form(collection="{ids.collection}", id="{ids.document}")("/ui/document/reingest")
    ),
    ("GET", "/ui/collections"): route("", lambda _: Request("/ui/collections")),
    ("POST", "/ui/collections"): route("manage", page_form(name="{ids.collection}")("/ui/collections")),
    ("GET", "/ui/collections/{name}"): route("", lambda ids: Request(f"/ui/collections/{ids.collection}")),
    ("POST", "/ui/collections/{name}/reembed"): route(
        "manage", lambda ids: Request(f"/ui/collections/{ids.collection}/reembed", form={"max_tokens": "64"})
    ),
    ("POST", "/ui/collections/{name}/rollback"): route(
        "manage", lambda ids: Request(f"/ui/collections/{ids.collection}/rollback", form={})
    ),
    ("POST", "/ui/collections/{name}/delete"): route(
        "manage",
        lambda ids: Request(f"/ui/collections/{ids.collection}/delete", form={"confirm": ids.collection}),
    ),
    ("GET", "/ui/jobs"): route("ingest manage", lambda _: Request("/ui/jobs")),
    ("GET", "/ui/jobs/{job_id}"): route("ingest manage", lambda ids: Request(f"/ui/jobs/{ids.job}")),
    ("GET", "/ui/jobs/{job_id}/events"): route("ingest manage", lambda ids: Request(f"/ui/jobs/{ids.job}/events")),
    ("POST", "/ui/jobs/{job_id}/cancel"): route("ingest", lambda ids: Request(f"/ui/jobs/{ids.job}/cancel", form={})),
    ("POST", "/ui/jobs/{job_id}/retry"): route("ingest", lambda ids: Request(f"/ui/jobs/{ids.job}/retry", form={})),
    ("GET", "/ui/evaluation"): route("", lambda _: Request("/ui/evaluation")),
    ("POST", "/ui/evaluation"): route("", lambda _: Request("/ui/evaluation", form={})),
    ("POST", "/ui/evaluation/runs"): route(
        "search",
        lambda ids: Request(
            "/ui/evaluation/runs",
            files=[("archive", ("", b""))],
            form={
                "judgements": f'{{"collection": "{ids.collection}", "judgements": [{{"query": "a", "document_id": '
                f'"{ids.document}", "relevant": true}}]}}'
            },
        ),
    ),
    ("GET", "/ui/evaluation/runs/{run_id}"): route("", lambda _: Request("/ui/evaluation/runs/1")),
    ("GET", "/ui/evaluation/runs/{run_id}/results"): route("", lambda _: Request("/ui/evaluation/runs/1/results")),
    ("POST", "/ui/evaluation/runs/{run_id}/cancel"): route(
        "", lambda _: Request("/ui/evaluation/runs/1/cancel", form={})
    ),
    ("GET", "/ui/keys"): route("admin", lambda _: Request("/ui/keys")),
    ("POST", "/ui/keys"): route("admin", page_form(name="mine", scopes="admin")("/ui/keys")),
    ("POST", "/ui/keys/{key_id}/rotate"): route(
        "admin", lambda ids: Request(f"/ui/keys/{ids.stored_key}/rotate", form={})
    ),
    ("POST", "/ui/keys/{key_id}/revoke"): route(
        "admin", lambda ids: Request(f"/ui/keys/{ids.stored_key}/revoke", form={})
    ),
    ("GET", "/ui/audit-log"): route("admin", lambda ids: Request(f"/ui/audit-log?collection={ids.collection}")),
    ("GET", "/ui/system"): route("admin", lambda _: Request("/ui/system")),
    ("GET", "/ui/system/live"): route("admin", lambda _: Request("/ui/system/live")),
    ("POST", "/ui/system/audit"): route("admin", lambda _: Request("/ui/system/audit", form={})),
}


def _golden(ids: Ids) -> Json:
    return {"query": "a", "relevant": [ids.document]}


@dataclass(frozen=True, slots=True)
class World:
    node: NodeUnderTest
    app: FastAPI
    team: Ids
    csrf: str

    async def send(self, request: Request, key: str, method: str) -> httpx.Response:
        form: dict[str, str] | None = None
        if request.form is not None or (request.files and request.path.startswith("/ui/")):
            form = dict(request.form or {})
            if request.path.startswith("/ui/"):
                form["csrf"] = self.csrf
        return await self.node.http.request(
            method,
            request.path,
            json=request.json,
            data=form,
            files=request.files,
            headers={
                "Authorization": f"Bearer {key}",
                **({"Accept": "application/json, text/event-stream"} if request.path == "/mcp" else {}),
            },
        )

    async def key(self, *scopes: str, collections: Sequence[str] = ("other_*",)) -> str:
        made = await self.node.http.post(
            "/keys",
            json={"name": "of a test", "scopes": list(scopes), "collections": list(collections)},
        )
        assert made.status_code == 201, made.text
        return str(made.json()["key"])


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("tenants")
    async with running(folder, store=InMemoryStore(), api_keys=ADMIN) as node:
        node.http.headers["Authorization"] = f"Bearer {ADMIN}"
        for name in ("team_docs", "other_docs"):
            assert (await node.http.post("/collections", json={"name": name})).status_code == 201
        text = f"The {SECRET} glaze is fired at 1280 degrees."
        job = await node.ingest(
            {"id": "glazes/blue.md", "title": f"{SECRET} blue", "text": text}, collection="team_docs"
        )
        upload = await node.http.post(
            "/v1/files", files={"file": (f"{SECRET}.txt", text.encode())}, data={"purpose": "assistants"}
        )
        stored = await node.http.post("/keys", json={"name": "of the team", "scopes": ["search"]})
        page = (await node.http.get("/ui/collections")).text
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
        app = node.http._transport.app  # type: ignore[attr-defined]
        team = Ids("team_docs", "glazes/blue.md", str(job["job_id"]), upload.json()["id"], stored.json()["id"])
        assert csrf
        yield World(node, app, team, csrf[1])


def operations(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method, re.sub(r":(path|id)\}", "}", each.path_format))
        for each in app.routes
        if isinstance(each, APIRoute)
        for method in sorted(each.methods)
    ]


def is_public(path: str) -> bool:
    return path in PUBLIC | DOCS or path.startswith(PUBLIC_ASSETS)


def test_every_route_is_classified(world: World) -> None:
    found = {each for each in operations(world.app) if not is_public(each[1])}
    assert found == ROUTES.keys()
    others = {getattr(each, "path", None) for each in world.app.routes if not isinstance(each, APIRoute)}
    assert others <= DOCS


def neutral(answer: httpx.Response, ids: Ids) -> tuple[int, str]:
    """Status and body, without the ids that the request named."""
    text = answer.text
    for field in fields(ids):
        value = str(getattr(ids, field.name))
        for spelling in {value, quote(value), quote(value, safe=""), value.replace("/", "\\/")}:
            text = text.replace(spelling, f"<{field.name}>")
    # What changes from one answer to the next anyway: ids of requests, of new jobs, times.
    text = re.sub(r"file-[\w-]{60,}|[0-9a-f]{32}|\d+(\.\d+)? ?ms|\b\d+\.\d+\b|\b\d{10}\b", "<…>", text)
    return answer.status_code, text


async def walk_for_a_hidden_document(node: NodeUnderTest, bearer: str, collection: str, hidden: str, text: str) -> int:
    """Sends every request that can name a document, for `hidden` and for one that does not exist: `bearer` is answered
    alike, and never with `text`. Returns how many pairs were sent."""
    page = (await node.http.get("/ui/collections")).text
    csrf = page.partition('name="csrf" value="')[2][:64]
    victim, nobody = (Ids(collection, id_, NOBODY.job, NOBODY.file, NOBODY.stored_key) for id_ in (hidden, "nothing"))
    world = World(node, node.http._transport.app, victim, csrf)  # type: ignore[attr-defined]
    walked = 0
    for (method, path), route in ROUTES.items():
        for make in route.make:
            if make(victim) == make(nobody):
                continue
            answer, other = [await world.send(make(ids), bearer, method) for ids in (victim, nobody)]
            where = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
            assert neutral(answer, victim) == neutral(other, nobody), where
            assert text not in answer.text
            walked += 1
    return walked


@pytest.mark.parametrize("scope", ["search", "ingest", "manage"])
async def test_another_team_s_ids_are_answered_as_those_of_nobody(world: World, scope: str) -> None:
    key = await world.key(scope)
    told: Counter[int] = Counter()
    for (method, path), each in ROUTES.items():
        for make in each.make:
            answer = await world.send(make(world.team), key, method)
            where = f"{method} {path} with scope {scope}: {answer.status_code} {answer.text[:300]}"
            if each.scopes and scope not in each.scopes:
                assert answer.status_code in (403, 404), where
            elif path not in ("/score", "/mcp"):
                assert answer.status_code < 500, where
            nobody = await world.send(make(NOBODY), key, method)
            assert neutral(answer, world.team) == neutral(nobody, NOBODY), where
            found = answer.text.replace(SECRET, "", 2) if f"q={SECRET}" in make(world.team).path else answer.text
            assert "fired at 1280" not in found, where
            assert "team_docs" not in found or "team_docs" in str(make(world.team)), where
            told[answer.status_code] += 2
    # The walk is worth something only while most requests are refused for what they name.
    assert told[404] + told[403] > sum(told.values()) / 2
    print(f"{len(ROUTES)} routes, {sum(told.values())} requests with scope {scope}: {dict(sorted(told.items()))}")  # noqa: T201


@pytest.mark.parametrize("scope", ["search", "ingest", "manage"])
async def test_without_the_scope_even_one_s_own_is_refused(world: World, scope: str) -> None:
    key = await world.key(scope, collections=["team_*"])
    refused = 0
    for (method, path), each in ROUTES.items():
        if each.scopes and scope not in each.scopes:
            for make in each.make:
                answer = await world.send(make(world.team), key, method)
                assert answer.status_code == 403, f"{method} {path} with scope {scope}: {answer.text[:300]}"
                assert SECRET not in answer.text
                refused += 1
    assert refused > 20
    # The tools of the one route for all of them.
    for name, wanted, arguments in (
        ("search", "search", {"query": SECRET}),
        ("ingest", "ingest", {"text": "mine", "id": "by-a-tool"}),
    ):
        called = await world.send(tool(name, collection="team_docs", **arguments)(world.team), key, "POST")
        assert called.json()["result"]["isError"] is (scope != wanted), called.text


async def test_nothing_of_the_team_was_changed(world: World) -> None:
    """After the walks of the tests above."""
    http, ids = world.node.http, world.team
    document = await http.get(f"/documents/{ids.document}", params={"collection": ids.collection})
    assert (document.json()["state"], document.json()["version"]) == ("ready", 1)
    assert (await http.get(f"/jobs/{ids.job}")).json()["state"] == "succeeded"
    assert (await http.get(f"/v1/files/{ids.file}/content")).status_code == 200
    assert (await http.get(f"/keys/{ids.stored_key}")).json()["revoked_at"] is None
    assert {each["name"] for each in (await http.get("/collections")).json()["collections"]} >= {"team_docs"}
    listed = (await http.get("/documents", params={"collection": ids.collection})).json()["documents"]
    assert {each["id"] for each in listed} == {ids.document, "by-a-tool"}


async def test_a_key_of_the_team_reads_what_is_its_own(world: World) -> None:
    """Otherwise the walk would show nothing."""
    for scope in ("search", "ingest", "manage"):
        key = await world.key(scope, collections=["team_*"])
        read = 0
        for (method, path), each in ROUTES.items():
            if method == "GET" and "admin" not in each.scopes and "{file_id}" not in path and "events" not in path:
                if each.scopes and scope not in each.scopes:
                    continue
                if path in ("/collections/{name}/reembed", "/v1/vector_stores"):
                    continue  # never re-embedded; one page only
                if "{run_id}" in path or (path == "/" and scope != "search"):
                    continue  # nobody evaluated anything; who may not search is sent to the documents
                for make in each.make:
                    answer = await world.send(make(world.team), key, method)
                    assert answer.status_code == 200, f"{method} {path} with scope {scope}: {answer.text[:300]}"
                    read += 1
        assert read >= 10


@pytest.mark.parametrize("scope", ["search", "ingest", "manage"])
async def test_the_page_shows_texts_to_who_may_search(world: World, scope: str) -> None:
    key = await world.key(scope, collections=["team_*"])
    page = await world.send(Request(f"/ui/document?collection=team_docs&id={world.team.document}"), key, "GET")
    assert page.status_code == 200
    assert ("fired at 1280" in page.text) is (scope == "search")


async def test_uploads_are_their_uploader_s_alone(world: World) -> None:
    http = world.node.http
    keys = [await world.key("ingest", "search") for _ in range(2)]
    mine, other = ({"Authorization": f"Bearer {key}"} for key in keys)
    sent = await http.post(
        "/v1/files", files={"file": ("a.txt", b"kaolin")}, data={"purpose": "assistants"}, headers=mine
    )
    path = f"/v1/files/{sent.json()['id']}/content"
    assert (await http.get(path, headers=mine)).content == b"kaolin"
    assert (await http.get(path, headers=other)).status_code == 404
    added = {"file_id": sent.json()["id"]}
    assert (await http.post("/v1/vector_stores/vs_other_docs/files", json=added, headers=other)).status_code == 404
    assert (await http.post("/v1/vector_stores/vs_other_docs/files", json=added, headers=mine)).status_code == 200
    # In a collection it is a document, which whoever has the collection may read.
    assert (await http.get(path, headers=other)).content == b"kaolin"


async def test_a_name_outside_of_the_key_s_is_not_created(world: World) -> None:
    key = {"Authorization": f"Bearer {await world.key('manage')}"}
    for name in ("team_docs", "team_new"):
        refused = await world.node.http.post("/collections", json={"name": name}, headers=key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert (await world.node.http.post("/collections", json={"name": "other_new"}, headers=key)).status_code == 201


async def test_what_was_done_is_in_the_audit_log_without_texts(world: World) -> None:
    http = world.node.http
    key = await world.key("ingest", "search")
    id_ = (await http.get("/keys", params={"limit": 1000})).json()["keys"]
    headers = {"Authorization": f"Bearer {key}"}
    await world.app.state.recorder.flush()
    document = {"id": "a", "text": "Bentonite is a clay."}
    ingested = await http.post(
        "/ingest", json={"collection": "other_docs", "documents": [document], "wait": True}, headers=headers
    )
    at = {"collection": "other_docs"}
    assert (await http.get("/originals/a", params=at, headers=headers)).status_code == 200
    assert (await http.delete("/documents/a", params=at, headers=headers)).status_code == 204
    assert (await http.get("/documents", params={"collection": "team_docs"}, headers=headers)).status_code == 404
    assert (await http.delete("/collections/other_docs", headers=headers)).status_code == 403
    await world.app.state.recorder.flush()
    log = (await http.get("/audit-log", params={"limit": 5})).json()
    told = [(each["action"], each["outcome"], each["collection"]) for each in log["entries"]]
    assert told == [
        ("request", "forbidden", "other_docs"),
        ("request", "collection_not_found", "team_docs"),
        ("document.delete", "ok", "other_docs"),
        ("document.export", "ok", "other_docs"),
        ("documents.ingest", "ok", "other_docs"),
    ]
    assert log["entries"][-1]["subject"] == ingested.json()["job_id"]
    assert {each["key_id"] for each in log["entries"]} <= {each["id"] for each in id_}
    assert len({each["key_id"] for each in log["entries"]}) == 1
    every = (await http.get("/audit-log", params={"limit": 1000})).text
    for text in ("Bentonite", "fired at", key, ADMIN):
        assert text not in every
    page = (await http.get("/audit-log", params={"limit": 2, "cursor": log["entries"][0]["id"]})).json()
    assert [each["id"] for each in page["entries"]] == [each["id"] for each in log["entries"][1:3]]


async def test_a_revoked_key_stops_within_a_second(world: World) -> None:
    http = world.node.http
    made = (await http.post("/keys", json={"name": "of a test", "scopes": ["search"]})).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert (await http.get("/collections", headers=headers)).status_code == 200
    assert (await http.delete(f"/keys/{made['id']}")).status_code == 204
    from asyncio import sleep

    await sleep(1)
    assert (await http.get("/collections", headers=headers)).status_code == 401
    assert (await http.post(f"/keys/{made['id']}/rotate")).status_code == 404


async def test_a_node_without_keys_stores_none(tmp_path: Path) -> None:
    async with running(tmp_path, store=InMemoryStore()) as node:
        refused = await node.http.post("/keys", json={"name": "of a test", "scopes": ["search"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "key_needed")
