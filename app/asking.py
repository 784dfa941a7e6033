"""One question to the node's services, for the faces that speak other products' languages."""

from app.limits import Admission
from app.node import Node
from app.schemas.question import SearchIn
from app.telemetry import Metrics
from retrieval.questions import SearchResult


async def ask(body: SearchIn, node: Node, admission: Admission, metrics: Metrics) -> SearchResult:
    """Answers `body.query` as POST /search does, with its admission and metrics. Raises what that route answers."""
    collection = await node.collections.get_recent(body.collection)
    embedder = node.embedders.for_collection(collection.name, collection.fingerprint)
    query = body.to_query(body.query or "", collection)
    async with admission.admit(body.weight):
        result = await node.search.search(collection.store_name, embedder, query)
    metrics.observe(result)
    return result
