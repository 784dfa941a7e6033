"""POST /search."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from app.http.disconnect import cancel_on_disconnect
from app.http.examples import search as examples
from app.http.routes.dependencies import NodeMetrics, SearchAdmission, ServingNode
from app.http.routes.documented import CATALOG, EMBEDDER, STORE, answer, failures, named
from app.http.schemas.answer import BatchOut, SearchOut
from app.http.schemas.query import SearchIn
from app.http.search_requests import find_collection, run_queries
from retrieval.search.query import SearchResult

router = APIRouter(tags=["search"])


@router.post(
    "/search",
    summary="Search a collection",
    response_model=SearchOut | BatchOut,
    responses={
        200: answer(examples.ANSWERS, "The best chunks, best first; with `queries`, one answer per query."),
        **failures(
            *("collection_not_found", "fingerprint_mismatch", "unsupported", "overloaded", "budget_exceeded"),
            *(*EMBEDDER, *CATALOG, *STORE),
        ),
    },
)
async def search(
    body: Annotated[SearchIn, Body(openapi_examples=named(examples.QUESTIONS))],
    request: Request,
    node: ServingNode,
    admission: SearchAdmission,
    metrics: NodeMetrics,
) -> Response:
    """Recalls candidates and reranks them. Each hit has the scores and ranks of both stages."""
    collection = await find_collection(body.collection, node, body.budget_ms)

    def digest() -> str:
        return node.caller.space.digest(body.digest())

    place = node.cursors.place(body.cursor, digest()) if body.cursor else None
    queries = [body.to_query(text, collection, place) for text in body.texts]
    results = await cancel_on_disconnect(request, run_queries(queries, collection, node, admission, metrics))

    def answer(result: SearchResult) -> SearchOut:
        more = result.next if body.query is not None else None
        cursor = node.cursors.at(more, digest()) if more else None
        return SearchOut.of(result, cursor, request.state.request_id)

    answers = [answer(result) for result in results]
    # Made by ourselves, so that FastAPI does not check the answer a second time.
    content = BatchOut(results=answers) if body.queries else answers[0]
    return Response(content.as_json(body.include), media_type="application/json")
