"""Dify's external knowledge API. Dify appends /retrieval to the endpoint that is registered there."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from app.http.compat.dify import examples
from app.http.compat.dify.conditions import filter_of
from app.http.compat.dify.schemas import DEFAULT_TOP_K, RetrievalIn, RetrievalOut, records
from app.http.disconnect import cancel_on_disconnect
from app.http.routes.dependencies import NodeMetrics, SearchAdmission, ServingNode
from app.http.routes.documented import CATALOG, EMBEDDER, STORE, answer, failures, named
from app.http.schemas.query import SearchIn
from app.http.search_requests import find_collection, run_queries

router = APIRouter(tags=["dify"])


@router.post(
    "/retrieval",
    summary="Retrieve for Dify",
    response_model=RetrievalOut,
    responses={
        200: answer(examples.ANSWERS, "The best chunks, best first."),
        **failures(
            *("collection_not_found", "fingerprint_mismatch", "unsupported", "overloaded", "budget_exceeded"),
            *(*EMBEDDER, *CATALOG, *STORE),
        ),
    },
)
async def retrieve_for_dify(
    body: Annotated[RetrievalIn, Body(openapi_examples=named(examples.REQUESTS))],
    request: Request,
    node: ServingNode,
    admission: SearchAdmission,
    metrics: NodeMetrics,
) -> Response:
    """Searches the collection `knowledge_id` and reranks the candidates. Scores are between 0 and 1."""
    collection = await find_collection(body.knowledge_id, node)
    setting = body.retrieval_setting
    question = SearchIn(
        query=body.query,
        collection=collection.name,
        top_k=setting.top_k or DEFAULT_TOP_K,
        filter=filter_of(body.metadata_condition, collection.metadata_keys),
    )
    queries = [question.to_query(body.query, collection)]
    [result] = await cancel_on_disconnect(request, run_queries(queries, collection, node, admission, metrics))
    found = records(result.hits, result.score_name, result.relevance_name, setting.score_threshold or 0.0)
    return Response(RetrievalOut(records=found).model_dump_json(), media_type="application/json")
