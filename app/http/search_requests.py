"""Searches for all HTTP interfaces of the node."""

from collections.abc import Sequence

from app.access.view import NodeView
from app.http.limits import Admission
from app.telemetry.metrics import Metrics
from ingestion.types import Collection
from retrieval.deadline import Deadline
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.search.query import SearchQuery, SearchResult
from retrieval.search.service import passages_of


async def find_collection(name: str, node: NodeView, budget_ms: float | None = None) -> Collection:
    """Returns the collection. `budget_ms` is that of the search. Raises CollectionNotFound, CatalogUnavailable,
    BudgetExceeded.
    """
    deadline = Deadline.for_search(budget_ms, node.search_deadline_seconds)
    return await deadline.run(node.collection_to_search(name), "catalog")


async def run_queries(
    queries: Sequence[SearchQuery], collection: Collection, node: NodeView, admission: Admission, metrics: Metrics
) -> list[SearchResult]:
    """Returns one answer per query, in order; the searches run concurrently. Admits them by the passages that they may
    hold and the time that ranking them is expected to take, and counts them in the metrics. Raises FingerprintMismatch,
    Overloaded, and the errors of SearchService.
    """
    embedder = node.embedders.for_collection(collection.name, collection.store_name, collection.fingerprint)
    passages = sum(passages_of(query) for query in queries)
    node.use_search(candidates=passages)
    seconds = sum(node.search_seconds(query) for query in queries)
    # One search ends with the candidates reranked in time. Several at once would all end incomplete, if an old
    # measurement is right.
    any_size = len(queries) == 1 or node.rerank_pace.is_older_than(node.search_deadline_seconds)
    async with admission.admit(passages, seconds, any_size_when_idle=any_size):
        results = await gather_or_cancel(node.search(collection, embedder, query) for query in queries)
    for result in results:
        metrics.observe(result)
    return results
