"""Golden queries, re-embedding and rollback of a collection."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from app.http.examples import reembed as examples
from app.http.routes.dependencies import ServingNode
from app.http.routes.documented import CATALOG, EMBEDDER, CollectionPath, answer, failures, named
from app.http.schemas.reembed import GoldenQueries, GoldenQueryIn, ReembedIn, ReembedOut
from ingestion.collections.reembedding import Plan
from ingestion.errors import ReembeddingNotFound
from retrieval.embedders import has_section_prefix, with_dimension, with_section_prefix, without_section_prefix

router = APIRouter(prefix="/collections/{name}", tags=["reembed"])


@router.put(
    "/golden",
    summary="Store golden queries",
    status_code=204,
    responses={204: {"description": "The golden queries are stored."}, **failures("collection_not_found", *CATALOG)},
)
async def set_golden_queries(
    name: CollectionPath,
    body: Annotated[GoldenQueries, Body(openapi_examples=named(examples.GOLDEN))],
    node: ServingNode,
) -> Response:
    """Stores queries with known answers, replacing all earlier ones."""
    queries = [query.to_query() for query in body.queries]
    await node.collections.set_golden_queries(name, queries)
    return Response(status_code=204)


@router.get(
    "/golden",
    summary="Get the golden queries",
    responses={200: answer(examples.GOLDEN, "All golden queries."), **failures("collection_not_found", *CATALOG)},
)
async def get_golden_queries(name: CollectionPath, node: ServingNode) -> GoldenQueries:
    """The golden queries of the collection."""
    found = await node.collections.golden_queries(name)
    return GoldenQueries(
        queries=[GoldenQueryIn(query=each.query, relevant=[str(id_) for id_ in each.relevant]) for each in found]
    )


@router.post(
    "/reembed",
    summary="Re-embed a collection",
    status_code=202,
    responses={
        202: answer(examples.STARTED, "The re-embedding has started."),
        **failures("collection_not_found", "fingerprint_mismatch", "unsupported", *EMBEDDER, *CATALOG),
    },
)
async def reembed_collection(
    name: CollectionPath,
    body: Annotated[ReembedIn, Body(openapi_examples=named(examples.REQUESTS))],
    node: ServingNode,
) -> ReembedOut:
    """Fills a second version of the collection in the background, compares both versions and switches to the new one if
    it is as good. The collection serves meanwhile. Answers when the other model, if any, is running."""
    embedder = await node.collections.embedder_for(name, body.models)
    current = (await node.collections.get(name)).fingerprint
    if body.models is None and body.dimension is None:
        # Only the chunks are to change: not the length of vectors that the collection has chosen.
        embedder = node.embedders.named(without_section_prefix(current)) or embedder
    embedder = with_dimension(embedder, body.dimension)
    if has_section_prefix(current) if body.section_prefix is None else body.section_prefix:
        embedder = with_section_prefix(embedder)
    plan = Plan(
        embedder=embedder,
        chunking=body.chunking.to_chunking() if body.chunking else None,
        golden=[query.to_query() for query in body.golden] if body.golden else None,
        tolerance=body.tolerance,
        gate=body.gate,
    )
    return ReembedOut.of(await node.collections.reembed(name, plan))


@router.get(
    "/reembed",
    summary="Get the state of re-embedding",
    responses={200: answer(examples.STATUS, "The last re-embedding."), **failures("reembedding_not_found")},
)
async def get_reembedding(name: CollectionPath, node: ServingNode) -> ReembedOut:
    """Progress and result of the last re-embedding."""
    status = node.collections.reembedding(name)
    if status is None:
        raise ReembeddingNotFound(
            f"Collection {name!r} was not re-embedded since the node started. Request an interrupted one again to "
            "resume it.",
            collection=name,
        )
    return ReembedOut.of(status)


@router.post(
    "/rollback",
    summary="Restore the previous version",
    status_code=202,
    responses={
        202: answer(examples.STARTED, "The rollback has started."),
        **failures("collection_not_found", "fingerprint_mismatch", *CATALOG),
    },
)
async def rollback_collection(name: CollectionPath, node: ServingNode) -> ReembedOut:
    """Restores the version before the last switch, including documents that were ingested or deleted since."""
    return ReembedOut.of(await node.collections.rollback(name))
