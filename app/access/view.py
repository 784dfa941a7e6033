"""A node as one caller may use it. Faces get a view and never the node: it is the one place where scopes and
collections are enforced, and where what changes or exports data is recorded.

What a caller may not see does not exist for it: it is answered as what nobody ever made, and left out of lists and
counts. What its key may not do is refused before anything is looked up, so that the refusal says nothing of what there
is.
"""

from collections.abc import Sequence

from app.access.caller import Caller
from app.access.collections import CollectionsView
from app.access.documents import DocumentsView, FilesView, JobsView
from app.access.keys import KeysView
from app.access.limits import RateLimits
from app.access.trail import Trail
from app.http.schemas.cursor import Cursors
from app.node.node import Node
from ingestion.audit.report import AuditReport
from ingestion.types import Collection
from retrieval.device.devices import Devices
from retrieval.embedders import Embedders
from retrieval.pace import Pace
from retrieval.ports import Embedder, Reranker
from retrieval.search.query import SearchQuery, SearchResult
from retrieval.types import SelfTestReport, StoreCapabilities


class NodeView:
    def __init__(self, node: Node, caller: Caller, trail: Trail, rates: RateLimits) -> None:
        self.caller = caller
        self._rates = rates
        self._node = node
        self._trail = trail
        self.collections = CollectionsView(node, caller, trail)
        self.documents = DocumentsView(node, caller, trail)
        self.files = FilesView(node, caller, trail)
        self.jobs = JobsView(node, caller, trail)
        self.keys = KeysView(node.components.catalog, caller, trail)

    # What is the same for all callers: the models, and how fast and how far they are.

    @property
    def embedder(self) -> Embedder:
        return self._node.components.embedder

    @property
    def embedders(self) -> Embedders:
        return self._node.embedders

    @property
    def reranker(self) -> Reranker:
        return self._node.reranker

    @property
    def embed_pace(self) -> Pace:
        return self._node.embed_pace

    @property
    def rerank_pace(self) -> Pace:
        return self._node.rerank_pace

    @property
    def search_deadline_seconds(self) -> float:
        return self._node.search_deadline_seconds

    @property
    def cursors(self) -> Cursors:
        return self._node.cursors

    def use_models(self, *, texts: int = 0, candidates: int = 0) -> None:
        """Call this before texts of the caller are embedded or ranked. Raises Forbidden, LimitReached."""
        self._trail.require("search", "ingest")
        self._rates.take(self.caller, "texts", texts)
        self._rates.take(self.caller, "candidates", candidates)

    def use_search(self, *, candidates: int) -> None:
        """Call this before a search. Raises Forbidden, LimitReached."""
        self._trail.require("search")
        self._rates.take(self.caller, "candidates", candidates)

    async def secret(self, name: str) -> bytes:
        """See Catalog.secret."""
        return await self._node.components.catalog.secret(name)

    # Searches

    async def collection_to_search(self, name: str) -> Collection:
        """Returns the collection, at most a few seconds old. Raises Forbidden, CollectionNotFound."""
        self._trail.require("search")
        return await self.collections.recent(name)

    async def search(self, collection: Collection, embedder: Embedder, query: SearchQuery) -> SearchResult:
        """Searches `collection`, a result of `collection_to_search`."""
        self._trail.require("search")
        space = self.caller.space
        result = await self._node.search.search(collection.store_name, embedder, space.query(query, collection))
        if result.hits and space.groups is not None and collection.principals:
            # The store has a document's groups once its newest version is searchable. Who lost a group loses the
            # document at once.
            ids = {hit.candidate.chunk.document_id for hit in result.hits}
            records = await self._node.components.catalog.documents_named(collection.name, ids)
            result = space.readable(result, records)
        return space.result(result)

    def search_seconds(self, query: SearchQuery) -> float:
        return self._node.search.seconds(query)

    # The node itself

    async def audit(self, collection: str | None, *, repair: bool) -> AuditReport:
        """Implements Auditor.run. An audit of everything needs a key that sees everything. Raises Forbidden."""
        async with self._trail.action("collection.audit", collection):
            if collection is None:
                self._trail.require("admin")
            else:
                self._trail.require("manage", collection=collection)
            return await self._node.auditor.run(collection=collection, repair=repair)

    @property
    def health_checks(self) -> Sequence[str]:
        """See Node.health_checks. Raises Forbidden."""
        self._trail.require("admin")
        return self._node.health_checks

    @property
    def selftest(self) -> SelfTestReport | None:
        return self._node.selftest

    @property
    def capabilities(self) -> StoreCapabilities | None:
        return self._node.capabilities

    @property
    def devices(self) -> Devices | None:
        return self._node.components.devices

    async def queue_depth(self) -> int:
        """Raises Forbidden, CatalogUnavailable."""
        self._trail.require("admin")
        return await self._node.components.catalog.queue_depth()
