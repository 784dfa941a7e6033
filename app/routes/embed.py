"""The embedder, for worker processes: what it is, and what it makes of texts."""

from fastapi import APIRouter, Response

from app.routes.dependencies import EmbedAdmission, ServingNode
from app.schemas.embed import EmbedderOut, EmbedIn, EmbedOut, fingerprint_out
from retrieval.engines.node_replies import tokenizer_digest
from retrieval.errors import EngineDead

router = APIRouter(prefix="/embed", tags=["embed"])


@router.get("")
async def describe(node: ServingNode) -> EmbedderOut:
    """The embedder that answers now. 503 while its engine is away."""
    embedder = node.components.embedder
    if embedder.failure:
        raise EngineDead(embedder.failure)
    return EmbedderOut(
        fingerprint=fingerprint_out(embedder.fingerprint),
        max_tokens=embedder.max_tokens,
        tokenizer=tokenizer_digest(embedder.tokenizer),
    )


@router.post("", response_model=EmbedOut)
async def embed(body: EmbedIn, node: ServingNode, admission: EmbedAdmission) -> Response:
    """Vectors of unit length, in the order of the texts. Longer texts than the window are cut at their end."""
    async with admission.admit(len(body.texts)):
        embeddings = await node.components.embedder.embed(
            body.texts, kind=body.kind, lane=body.as_lane, instruction=body.instruction
        )
    # Made by ourselves, so that FastAPI does not check the answer a second time.
    return Response(EmbedOut.of(embeddings).model_dump_json(), media_type="application/json")
