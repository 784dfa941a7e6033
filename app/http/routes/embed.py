"""The embedding model by itself, for worker processes and clients."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Body, Query, Request, Response

from app.http.disconnect import cancel_on_disconnect
from app.http.embed_requests import admits_any_size, seconds_to_embed
from app.http.embed_requests import embed as embedded
from app.http.examples import embed as examples
from app.http.routes.dependencies import EmbedAdmission, ServingNode
from app.http.routes.documented import EMBEDDER, answer, failures, named
from app.http.schemas.embed import EmbedderOut, EmbedIn, EmbedOut, fingerprint_out
from retrieval.engines.remote_node.replies import tokenizer_digest
from retrieval.errors import EngineDead
from retrieval.types import StoreName

router = APIRouter(prefix="/embed", tags=["embed"])


@router.get(
    "",
    summary="Describe the embedding model",
    responses={200: answer(examples.EMBEDDER, "The model and its limits."), **failures("engine_dead")},
)
async def describe_embedder(node: ServingNode) -> EmbedderOut:
    """The node's embedding model. 503 while its engine is not running."""
    embedder = node.embedder
    if embedder.failure:
        raise EngineDead(embedder.failure)
    return EmbedderOut(
        fingerprint=fingerprint_out(embedder.fingerprint),
        max_tokens=embedder.max_tokens,
        tokenizer=tokenizer_digest(embedder.tokenizer),
    )


@router.post(
    "",
    summary="Embed texts",
    response_model=EmbedOut,
    responses={
        200: answer(examples.VECTORS, "One vector per text."),
        **failures("overloaded", "budget_exceeded", "fingerprint_mismatch", *EMBEDDER),
    },
)
async def embed(
    body: Annotated[EmbedIn, Body(openapi_examples=named(examples.REQUESTS))],
    request: Request,
    node: ServingNode,
    admission: EmbedAdmission,
    store_name: Annotated[
        StoreName | None,
        Query(
            min_length=1,
            max_length=255,
            description="For worker processes: name in the store of the collection that the vectors are for. 409 "
            "`fingerprint_mismatch` if this node's engine computes other vectors than those in it.",
        ),
    ] = None,
) -> Response:
    """Embeds texts into vectors of unit length, in their order. Texts longer than the window are truncated at their
    end."""
    if store_name is not None:
        node.embedders.require_agreement(store_name, store_name, node.embedder.fingerprint)
    node.use_models(texts=len(body.texts))
    embedder, lane = node.embedder, body.as_lane
    expected = seconds_to_embed(node, embedder, body.texts)
    async with admission.admit(len(body.texts), expected, any_size_when_idle=admits_any_size(node, lane)):
        work = embedded(node, embedder, body.texts, kind=body.kind, lane=lane, instruction=body.instruction)
        embeddings = await cancel_on_disconnect(request, work)
    # Made by ourselves, so that FastAPI does not check the answer a second time.
    return Response(orjson.dumps(EmbedOut.of(embeddings).model_dump()), media_type="application/json")
