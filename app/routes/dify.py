"""Dify's external knowledge API. Dify appends /retrieval to the endpoint that is registered there."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.asking import ask
from app.errors import InvalidJson, error_response, validation_error
from app.routes.callers import unless_gone
from app.routes.dependencies import NodeMetrics, SearchAdmission, ServingNode
from app.schemas.dify import DEFAULT_TOP_K, DifyErrorOut, RetrievalIn, RetrievalOut, records
from app.schemas.dify_conditions import filter_of
from app.schemas.question import SearchIn
from retrieval.errors import TandemError

NO_BEARER, UNKNOWN_KEY, NO_KNOWLEDGE = 1001, 1002, 2001


class DifyRoute(APIRoute):
    """Errors in Dify's shape, with its codes where it has any. A wrong key is 403: with that status Dify tells of it
    when the endpoint is registered."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_tell(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return _told(request, validation_error(error.errors()))
            except HTTPException:  # FastAPI's, for bytes that are no text
                return _told(request, InvalidJson("The body is not valid JSON: send UTF-8."))
            except TandemError as error:
                return _told(request, error)

        return handle_or_tell


def _told(request: Request, error: TandemError) -> JSONResponse:
    answer = error_response(error)
    status, code = answer.status_code, answer.status_code
    if error.code == "unauthorized":
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        status, code = 403, UNKNOWN_KEY if scheme.lower() == "bearer" and key.strip() else NO_BEARER
    elif error.code == "collection_not_found":
        code = NO_KNOWLEDGE
    headers = {name: value for name, value in answer.headers.items() if name == "retry-after"}
    body = DifyErrorOut(error_code=code, error_msg=f"{error.message} ({error.code})")
    return JSONResponse(body.model_dump(), status, headers)


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": DifyErrorOut, "description": description}
    for status, description in {
        400: "The body is not valid JSON.",
        403: "No API key, or none that is known.",
        404: "There is no such collection.",
        409: "The collection belongs to another embedding model.",
        422: "A field is wrong, or a metadata condition cannot be carried out; the message names it.",
        429: "Too many candidates are being ranked; see Retry-After.",
        501: "The store or the model cannot do what was asked.",
        502: "An engine or the store failed.",
        503: "The node, an engine or a store is away; see Retry-After.",
    }.items()
}

router = APIRouter(tags=["dify"], route_class=DifyRoute)


@router.post("/retrieval", response_model=RetrievalOut, responses=ERRORS)
async def retrieval(
    body: RetrievalIn, request: Request, node: ServingNode, admission: SearchAdmission, metrics: NodeMetrics
) -> Response:
    """Dify's external knowledge API: a search of the collection `knowledge_id`, reranked, with scores from 0 to 1."""
    collection = await node.collections.get_recent(body.knowledge_id)
    setting = body.retrieval_setting
    question = SearchIn(
        query=body.query,
        collection=collection.name,
        top_k=setting.top_k or DEFAULT_TOP_K,
        filter=filter_of(body.metadata_condition, collection.metadata_keys),
    )
    [result] = await unless_gone(request, [ask(question, node, admission, metrics)])
    found = records(result.hits, result.score_name, setting.score_threshold or 0.0)
    return Response(RetrievalOut(records=found).model_dump_json(), media_type="application/json")
