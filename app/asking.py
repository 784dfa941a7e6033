"""Questions to the node's services, by whatever face they come."""

from collections.abc import Sequence

from app.limits import Admission
from app.node import Node
from app.telemetry import Metrics
from ingestion.types import Collection
from retrieval.deadline import Deadline
from retrieval.questions import SearchQuery, SearchResult
from retrieval.side_by_side import side_by_side


async def collection_to_search(name: str, node: Node) -> Collection:
    """Raises CollectionNotFound, CatalogUnavailable, BudgetExceeded."""
    deadline = Deadline.after(node.search_deadline_seconds, "deadline")
    return await deadline.of(node.collections.get_recent(name), "catalog")


async def ask(
    queries: Sequence[SearchQuery], collection: Collection, node: Node, admission: Admission, metrics: Metrics
) -> list[SearchResult]:
    """An answer for each, in their order; they are searched side by side. Admitted by the passages that may be
    reranked, and counted in the metrics. Raises FingerprintMismatch, Overloaded, and what SearchService raises."""
    embedder = node.embedders.for_collection(collection.name, collection.fingerprint)
    async with admission.admit(sum(query.candidates if query.reranking else 1 for query in queries)):
        results = await side_by_side(node.search.search(collection.store_name, embedder, query) for query in queries)
    for result in results:
        metrics.observe(result)
    return results
