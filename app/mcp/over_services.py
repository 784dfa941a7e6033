"""The node's own services behind the tools, with the bounds that its routes have."""

from collections.abc import Callable, Sequence

from app.http.limits import Admission
from app.http.routes.jobs import describe
from app.http.schemas.answer import SearchOut
from app.http.schemas.collections import CollectionOut
from app.http.schemas.ingest import IngestIn
from app.http.schemas.query import SearchIn
from app.http.search_requests import find_collection, run_queries
from app.http.telemetry import Metrics
from app.mcp.port import Json
from app.node.node import Node


class OverServices:
    def __init__(self, serving: Callable[[], Node], admission: Admission, metrics: Metrics) -> None:
        """`serving` gives the node, or raises NotReady."""
        self._serving = serving
        self._admission = admission
        self._metrics = metrics

    async def search(self, request: Json) -> Json:
        body, node = SearchIn.model_validate(request), self._serving()
        collection = await find_collection(body.collection, node)
        queries = [body.to_query(text, collection) for text in body.texts]
        [result] = await run_queries(queries, collection, node, self._admission, self._metrics)
        return SearchOut.of(result, None, "").model_dump(mode="json", exclude={"request_id"})

    async def ingest(self, request: Json, wait_seconds: float) -> Json:
        body, node = IngestIn.model_validate(request), self._serving()
        job_id, _ = await node.ingestion.accept(body.collection, [each.to_upload() for each in body.documents])
        job = await node.ingestion.wait(job_id, timeout_seconds=wait_seconds)
        return (await describe(node, job)).model_dump(mode="json")

    async def collections(self) -> Sequence[Json]:
        return [CollectionOut.of(each).model_dump(mode="json") for each in await self._serving().collections.list()]
