"""Bodies: bounded by route and in all, refused while they arrive."""

import json
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute

from app.http.error_handlers import install
from app.http.server.bodies import BOUNDS, INGESTING, MB, SMALL_BYTES, BodyBounds, BodyBudget, BodyLimitMiddleware
from ingestion.errors import Overloaded
from tests.support.nodes.api import api

JSON = {"Content-Type": "application/json"}


def echoing(budget: BodyBudget | None = None, max_bytes: int = 3 * MB) -> FastAPI:
    app = FastAPI()
    install(app)

    @app.post("/search")
    @app.post("/ingest")
    @app.post("/mcp")
    @app.post("/v1/embeddings")
    async def size(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(
        BodyLimitMiddleware, bounds=BodyBounds(max_bytes, max_documents=10), budget=budget or BodyBudget(2**40)
    )
    return app


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node")


class Parts:
    """A body without a length, and how much of it was asked for."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            self.sent += len(part)
            yield part


@pytest.mark.parametrize(("path", "limit"), [("/search", MB), ("/mcp", 3 * MB), ("/ingest", 3 * MB)])
async def test_each_route_has_a_bound_with_and_without_a_length(path: str, limit: int) -> None:
    async with client(echoing()) as http:
        fits = b'"' + b"x" * (limit - 2) + b'"'
        assert (await http.post(path, content=fits, headers=JSON)).json() == limit
        for body in (fits + b" ", Parts([fits, b" "])):
            answer = await http.post(path, content=body, headers=JSON)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
            assert f"{limit:,} bytes" in answer.json()["error"]["message"]
        endless = Parts([b'"'] + [b"x" * 2**16] * 10_000)
        answer = await http.post(path, content=endless, headers=JSON)
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
        assert endless.sent <= limit + 2**17


async def test_a_wide_body_is_refused_while_it_arrives() -> None:
    async with client(echoing()) as http:
        for path, most in (("/search", 1_000), ("/ingest", 1_200)):
            wide = Parts([b'{"documents":['] + [b"{}," * 1000] * 300)
            answer = await http.post(path, content=wide, headers=JSON)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
            assert answer.json()["error"]["detail"] == {"limit": most}
            assert wide.sent < 3 * (most + 2_000)


async def test_the_shape_does_not_depend_on_the_type_that_is_named() -> None:
    async with client(echoing()) as http:
        for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/vnd.x+json"}):
            answer = await http.post("/search", content=b"[" * 1000, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
        form = {"Content-Type": "Multipart/form-data; boundary=x"}
        assert (await http.post("/search", content=b"[" * 1000, headers=form)).json() == 1000


async def test_bodies_beyond_the_budget_are_refused_before_they_are_read() -> None:
    budget = BodyBudget(5 * MB)
    async with client(echoing(budget)) as http:
        with budget.share() as other:
            other.grow_to(4 * MB)
            unread = Parts([])
            answer = await http.post("/ingest", content=unread, headers={**JSON, "Content-Length": str(2 * MB)})
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["connection"] == "close"
            growing = Parts([b'"'] + [b"x" * 2**16] * 40)
            assert (await http.post("/ingest", content=growing, headers=JSON)).status_code == 429
            assert growing.sent <= MB + 2**17
            # Searches go on meanwhile.
            assert (await http.post("/search", content=b'"' + b"x" * 1000 + b'"', headers=JSON)).status_code == 200
        assert (await http.post("/ingest", content=b" " * (3 * MB), headers=JSON)).json() == 3 * MB


async def test_the_budget_is_free_again_after_answers_and_errors() -> None:
    budget = BodyBudget(MB)
    async with client(echoing(budget)) as http:
        for _ in range(5):
            assert (await http.post("/ingest", content=b" " * MB, headers=JSON)).json() == MB
            assert (await http.post("/ingest", content=b"[" * MB, headers=JSON)).status_code == 413
            assert (await http.post("/ingest", content=Parts([b" " * MB, b"]"]), headers=JSON)).status_code >= 400
    with budget.share() as share:
        share.grow_to(MB)
        with pytest.raises(Overloaded):
            budget.take(1)


def test_a_single_body_always_fits_an_idle_node() -> None:
    budget = BodyBudget(10)
    with budget.share() as share:
        share.grow_to(1000)
    with budget.share() as share:
        share.grow_to(1000)


def test_every_bound_is_of_a_route_that_exists() -> None:
    paths = {route.path_format for route in api().routes if isinstance(route, APIRoute)}
    assert {*BOUNDS, *INGESTING} <= paths
    assert SMALL_BYTES < MB


async def test_texts_of_the_largest_search_pass() -> None:
    """32 queries, 1,000 ids and the largest filter, of moderate length each."""
    filters = [{"type": "in", "key": "metadata.k", "value": ["v" * 200] * 5}] * 100
    body = {
        "queries": ["q" * 10_000] * 32,
        "exclude": {"documents": ["d" * 60] * 500, "chunks": ["c" * 32] * 500},
        "filter": {"type": "and", "filters": filters},
    }
    async with client(echoing()) as http:
        assert (await http.post("/search", content=json.dumps(body), headers=JSON)).status_code == 200


@pytest.mark.parametrize(("ids", "status"), [(300_000, 200), (305_000, 413)])
async def test_token_ids_are_bounded_as_at_openai(ids: int, status: int) -> None:
    body = json.dumps({"input": [[1] * (ids // 2_048) for _ in range(2_048)] + [[1] * (ids % 2_048)]})
    async with client(echoing(max_bytes=32 * MB)) as http:
        assert (await http.post("/v1/embeddings", content=body, headers=JSON)).status_code == status
