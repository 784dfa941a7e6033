"""The question."""

from fastapi import APIRouter, Request, Response

from app.routes.dependencies import NodeMetrics, SearchAdmission, ServingNode
from app.schemas.search import SearchIn, SearchOut
from retrieval.filter_parsing import parse_filter
from retrieval.types import SearchQuery

router = APIRouter(tags=["search"])


@router.post("/search", response_model=SearchOut)
async def search(
    body: SearchIn, request: Request, node: ServingNode, admission: SearchAdmission, metrics: NodeMetrics
) -> Response:
    """Recalls candidates and reranks them. Every hit carries the scores and ranks of both stages."""
    collection = await node.collections.get_recent(body.collection)
    embedder = node.embedders.for_collection(collection.name, collection.fingerprint)
    query = SearchQuery(
        text=body.query,
        mode=body.mode,
        fusion=body.fusion.to_fusion(),
        top_k=body.top_k,
        candidates=body.candidates,
        rerank=body.rerank,
        partition=body.partition,
        filter=None if body.filter is None else parse_filter(body.filter, collection.metadata_keys),
        min_score=body.min_score,
        instruction=body.instruction,
        rerank_instruction=body.rerank_instruction,
    )
    async with admission.admit(body.candidates if body.rerank else 1):
        result = await node.search.search(collection.store_name, embedder, query)
    metrics.observe(result)
    # Made by ourselves, so that FastAPI does not check the answer a second time.
    answer = SearchOut.of(result, request.state.request_id)
    return Response(answer.model_dump_json(), media_type="application/json")
