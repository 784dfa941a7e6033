"""The reranking model alone, for passages that the caller found elsewhere: the APIs of Jina, vLLM and Cohere.

Passages count for admission like the candidates of a search, and take precedence over ingestion like them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from time import time
from typing import Annotated

from fastapi import APIRouter, Body, Request

from app.access.view import NodeView
from app.http.compat.model_names import check_reranker
from app.http.compat.rerank import examples
from app.http.compat.rerank.schemas import (
    CohereMeta,
    CohereRerankIn,
    CohereRerankOut,
    CohereTokens,
    PassageOut,
    Rerank,
    RerankedOut,
    RerankIn,
    RerankUsage,
    ResultOut,
    ScoreIn,
    ScoreOf,
    ScoreOut,
)
from app.http.disconnect import cancel_on_disconnect
from app.http.limits import Admission
from app.http.routes.dependencies import SearchAdmission, ServingNode
from app.http.routes.documented import EMBEDDER, answer, failures, named
from retrieval.deadline import Deadline
from retrieval.engines.http.truncation import truncate_text
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.pace import expected_tokens
from retrieval.types import Lane, RerankScores

router = APIRouter(tags=["rerank"])
cohere_router = APIRouter(tags=["cohere"])

FAILURES = failures("model_not_found", "unsupported", "overloaded", "budget_exceeded", *EMBEDDER)
PassagesIn = Annotated[RerankIn, Body(openapi_examples=named(examples.REQUESTS))]
CoherePassagesIn = Annotated[CohereRerankIn, Body(openapi_examples=named(examples.REQUESTS))]


@router.post(
    "/v1/rerank",
    summary="Rerank documents",
    response_model_exclude_none=True,
    responses={200: answer(examples.ANSWERS, "The most relevant first."), **FAILURES},
)
async def rerank(body: PassagesIn, request: Request, node: ServingNode, admission: SearchAdmission) -> RerankedOut:
    """Ranks documents by their relevance to a query, in the format of Jina and vLLM."""
    scores = await _scored(body, request, node, admission)
    return RerankedOut(
        id=f"rerank-{request.state.request_id}",
        model=scores.model,
        usage=_usage([scores]),
        results=_results(body, scores, with_documents=body.return_documents is not False),
    )


@cohere_router.post(
    "/v2/rerank",
    summary="Rerank documents for Cohere's clients",
    response_model_exclude_none=True,
    responses={200: answer(examples.COHERE_ANSWERS, "The most relevant first."), **FAILURES},
)
async def rerank_for_cohere(
    body: CoherePassagesIn, request: Request, node: ServingNode, admission: SearchAdmission
) -> CohereRerankOut:
    """Ranks documents by their relevance to a query, in the format of Cohere."""
    scores = await _scored(body, request, node, admission)
    usage = _usage([scores])
    warnings = [f"{usage.truncated_tokens} tokens did not fit the model's window"] if usage.truncated_tokens else None
    return CohereRerankOut(
        id=request.state.request_id,
        results=_results(body, scores, with_documents=body.return_documents is True),
        meta=CohereMeta(tokens=CohereTokens(input_tokens=usage.total_tokens), warnings=warnings),
    )


@router.post(
    "/score",
    summary="Score pairs of texts",
    responses={200: answer(examples.SCORES, "A score for each pair."), **FAILURES},
)
async def score_pairs(
    body: Annotated[ScoreIn, Body(openapi_examples=named(examples.PAIRS))],
    request: Request,
    node: ServingNode,
    admission: SearchAdmission,
) -> ScoreOut:
    """Scores the relevance of each pair of texts, in the format of vLLM."""
    check_reranker(node, body.model)
    passages: dict[str, list[str]] = {}
    places = []
    for query, passage in body.pairs:
        texts = passages.setdefault(query, [])
        places.append((query, len(texts)))
        texts.append(passage)
    async with _admitted(node, admission, passages):
        work = gather_or_cancel(_rerank(node, query, texts, body.instruction) for query, texts in passages.items())
        found = dict(zip(passages, await cancel_on_disconnect(request, work), strict=True))
    return ScoreOut(
        id=f"score-{request.state.request_id}",
        created=int(time()),
        model=node.reranker.model,
        data=[ScoreOf(index=index, score=found[query].scores[place]) for index, (query, place) in enumerate(places)],
        usage=_usage(list(found.values())),
    )


async def _scored(body: Rerank, request: Request, node: NodeView, admission: Admission) -> RerankScores:
    check_reranker(node, body.model)
    texts = body.texts
    async with _admitted(node, admission, {body.query: texts}):
        if body.max_tokens_per_doc is not None:
            texts = await asyncio.to_thread(_cut, node, texts, body.max_tokens_per_doc)
        return await cancel_on_disconnect(request, _rerank(node, body.query, texts, body.instruction))


def _admitted(
    node: NodeView, admission: Admission, passages: Mapping[str, Sequence[str]]
) -> AbstractAsyncContextManager[None]:
    """Admits passages, given by query. Raises Forbidden, Overloaded."""
    window = node.embedder.max_tokens  # which is the reranker's as well, near enough
    count = sum(map(len, passages.values()))
    node.use_models(candidates=count)
    tokens = sum(
        expected_tokens(texts, window) + len(texts) * expected_tokens([query], window // 2)
        for query, texts in passages.items()
    )
    any_size = node.rerank_pace.is_older_than(node.search_deadline_seconds)
    return admission.admit(count, node.rerank_pace.seconds(tokens), any_size_when_idle=any_size)


async def _rerank(node: NodeView, query: str, passages: Sequence[str], instruction: str | None) -> RerankScores:
    """Raises BudgetExceeded when the node's deadline passes."""
    deadline = Deadline.after(node.search_deadline_seconds, "deadline")
    work = node.reranker.rerank(query, passages, lane=Lane.INTERACTIVE, instruction=instruction)
    return await deadline.run(work, "reranker")


def _cut(node: NodeView, texts: Sequence[str], limit: int) -> Sequence[str]:
    """Truncates texts by the embedder's tokenizer, which is also the reranker's in every pair of TANDEM_MODELS."""
    tokenizer = node.embedder.tokenizer
    return [truncate_text(tokenizer, text, limit)[0] for text in texts]


def _results(body: Rerank, scores: RerankScores, *, with_documents: bool) -> list[ResultOut]:
    best_first = sorted(enumerate(scores.scores), key=lambda pair: -pair[1])
    texts = body.texts
    return [
        ResultOut(
            index=index,
            relevance_score=found,
            document=PassageOut(text=texts[index]) if with_documents else None,
        )
        for index, found in best_first[: body.top_n]
    ]


def _usage(found: Sequence[RerankScores]) -> RerankUsage:
    tokens = sum(each.tokens for each in found)
    cut = sum(sum(each.truncated_tokens) + each.truncated_query_tokens for each in found)
    return RerankUsage(total_tokens=tokens, prompt_tokens=tokens, truncated_tokens=cut)
