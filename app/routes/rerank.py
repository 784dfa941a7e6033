"""The reranker alone, for passages that the caller has found elsewhere: the wires of Jina, vLLM and Cohere.

Passages count for admission as the candidates of a search do, and go before ingestion as those do.
"""

import asyncio
from collections.abc import Sequence
from time import time

from fastapi import APIRouter, Request

from app.limits import Admission
from app.node import Node
from app.routes.callers import unless_gone
from app.routes.dependencies import SearchAdmission, ServingNode
from app.routes.faces import CohereRoute, RerankRoute
from app.routes.served import check_reranker
from app.schemas.faces import CohereErrorOut, RerankErrorOut, errors_of
from app.schemas.rerank import (
    CohereMeta,
    CohereRerankIn,
    CohereRerankOut,
    CohereTokens,
    DocumentText,
    Rerank,
    RerankIn,
    RerankOut,
    RerankUsage,
    ResultOut,
    ScoreIn,
    ScoreOf,
    ScoreOut,
)
from retrieval.engines.text_cuts import cut_text
from retrieval.types import Lane, RerankScores

router = APIRouter(tags=["rerank"], route_class=RerankRoute, responses=errors_of(RerankErrorOut))
cohere_router = APIRouter(tags=["rerank"], route_class=CohereRoute, responses=errors_of(CohereErrorOut))


@router.post("/v1/rerank", response_model_exclude_none=True)
async def rerank(body: RerankIn, request: Request, node: ServingNode, admission: SearchAdmission) -> RerankOut:
    """Documents by their relevance to the query, as Jina and vLLM tell it."""
    scores = await _scored(body, request, node, admission)
    return RerankOut(
        id=f"rerank-{request.state.request_id}",
        model=scores.model,
        usage=_usage([scores]),
        results=_results(body, scores, with_documents=body.return_documents is not False),
    )


@cohere_router.post("/v2/rerank", response_model_exclude_none=True)
async def cohere_rerank(
    body: CohereRerankIn, request: Request, node: ServingNode, admission: SearchAdmission
) -> CohereRerankOut:
    """Documents by their relevance to the query, as Cohere tells it."""
    scores = await _scored(body, request, node, admission)
    usage = _usage([scores])
    warnings = [f"{usage.truncated_tokens} tokens did not fit the model's window"] if usage.truncated_tokens else None
    return CohereRerankOut(
        id=request.state.request_id,
        results=_results(body, scores, with_documents=body.return_documents is True),
        meta=CohereMeta(tokens=CohereTokens(input_tokens=usage.total_tokens), warnings=warnings),
    )


@router.post("/score")
async def score(body: ScoreIn, request: Request, node: ServingNode, admission: SearchAdmission) -> ScoreOut:
    """The relevance of each pair, as vLLM tells it."""
    check_reranker(node, body.model)
    passages: dict[str, list[str]] = {}
    places = []
    for query, passage in body.pairs:
        asked = passages.setdefault(query, [])
        places.append((query, len(asked)))
        asked.append(passage)
    async with admission.admit(len(places)):
        work = [_rerank(node, query, asked, body.instruction) for query, asked in passages.items()]
        found = dict(zip(passages, await unless_gone(request, work), strict=True))
    return ScoreOut(
        id=f"score-{request.state.request_id}",
        created=int(time()),
        model=node.components.reranker.model,
        data=[ScoreOf(index=index, score=found[query].scores[place]) for index, (query, place) in enumerate(places)],
        usage=_usage(list(found.values())),
    )


async def _scored(body: Rerank, request: Request, node: Node, admission: Admission) -> RerankScores:
    check_reranker(node, body.model)
    texts = body.texts
    async with admission.admit(len(texts)):
        if body.max_tokens_per_doc is not None:
            texts = await asyncio.to_thread(_cut, node, texts, body.max_tokens_per_doc)
        [scores] = await unless_gone(request, [_rerank(node, body.query, texts, body.instruction)])
    return scores


async def _rerank(node: Node, query: str, passages: Sequence[str], instruction: str | None) -> RerankScores:
    return await node.components.reranker.rerank(query, passages, lane=Lane.INTERACTIVE, instruction=instruction)


def _cut(node: Node, texts: Sequence[str], limit: int) -> Sequence[str]:
    """By the embedder's tokenizer, which is the reranker's as well in every pair that TANDEM_MODELS names."""
    tokenizer = node.components.embedder.tokenizer
    return [cut_text(tokenizer, text, limit)[0] for text in texts]


def _results(body: Rerank, scores: RerankScores, *, with_documents: bool) -> list[ResultOut]:
    best_first = sorted(enumerate(scores.scores), key=lambda pair: -pair[1])
    texts = body.texts
    return [
        ResultOut(
            index=index,
            relevance_score=found,
            document=DocumentText(text=texts[index]) if with_documents else None,
        )
        for index, found in best_first[: body.top_n]
    ]


def _usage(found: Sequence[RerankScores]) -> RerankUsage:
    read = sum(each.tokens for each in found)
    cut = sum(sum(each.truncated_tokens) + each.truncated_query_tokens for each in found)
    return RerankUsage(total_tokens=read, prompt_tokens=read, truncated_tokens=cut)
