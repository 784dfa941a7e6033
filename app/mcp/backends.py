"""The node behind the MCP tools: in the same process, or reached over HTTP."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from app.access.view import NodeView
from app.cli.client.node_client import Client
from app.http.limits import Admission
from app.http.routes.collections import describe_all
from app.http.routes.jobs import describe
from app.http.schemas.answer import SearchOut
from app.http.schemas.ingest import IngestIn
from app.http.schemas.query import SearchIn
from app.http.search_requests import find_collection, run_queries
from app.mcp.schemas import Json
from app.telemetry.metrics import Metrics
from langchain_tandem.client.calls import ENDED

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 1.0
"""Pauses between two requests for the state of a job. Most texts are searchable within a second."""


class Backend(Protocol):
    """Requests and answers in the format of the HTTP interface. Every method raises TandemError, or
    TandemClientError.
    """

    async def search(self, request: Json) -> Json:
        """Searches as POST /search does; `request_id` may be missing from the answer."""
        ...

    async def ingest(self, request: Json, wait_seconds: float) -> Json:
        """Ingests a few documents as POST /ingest does. Returns the job with its receipts when it has ended, or its
        state after `wait_seconds`.
        """
        ...

    async def collections(self) -> Sequence[Json]:
        """Returns the collections of GET /collections with their languages."""
        ...


class ServiceBackend:
    def __init__(self, view: Callable[[], NodeView], admission: Admission, metrics: Metrics) -> None:
        """`view` returns the node as the caller may use it, or raises NotReady."""
        self._view = view
        self._admission = admission
        self._metrics = metrics

    async def search(self, request: Json) -> Json:
        body, node = SearchIn.model_validate(request), self._view()
        collection = await find_collection(body.collection, node)
        queries = [body.to_query(text, collection) for text in body.texts]
        [result] = await run_queries(queries, collection, node, self._admission, self._metrics)
        return SearchOut.of(result, None, "").model_dump(mode="json", exclude={"request_id"})

    async def ingest(self, request: Json, wait_seconds: float) -> Json:
        body, node = IngestIn.model_validate(request), self._view()
        job_id, _ = await node.documents.ingest(body.collection, [each.to_upload() for each in body.documents])
        job = await node.jobs.wait(job_id, timeout_seconds=wait_seconds)
        return (await describe(node, job)).model_dump(mode="json")

    async def collections(self) -> Sequence[Json]:
        return [each.model_dump(mode="json") for each in await describe_all(self._view(), languages=True)]


class HttpBackend:
    """Runs every call in a thread, since the client blocks."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def search(self, request: Json) -> Json:
        return await asyncio.to_thread(self._client.search, **request)

    async def ingest(self, request: Json, wait_seconds: float) -> Json:
        accepted = await asyncio.to_thread(self._client.ingest, **request)
        until, pause = monotonic() + wait_seconds, FIRST_PAUSE_SECONDS
        job = await asyncio.to_thread(self._client.job, accepted["job_id"], receipts=True)
        while job["state"] not in ENDED and monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
            job = await asyncio.to_thread(self._client.job, accepted["job_id"], receipts=True)
        return job

    async def collections(self) -> Sequence[Json]:
        return await asyncio.to_thread(lambda: list(self._client.collections(languages=True)))
