"""Collections."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from app.access.view import NodeView
from app.http.examples import collections as examples
from app.http.routes.dependencies import ServingNode
from app.http.routes.documented import CATALOG, STORE_WRITES, CollectionPath, answer, failures, named
from app.http.schemas.collections import CollectionIn, CollectionOut, CollectionsOut
from ingestion.types import CollectionOptions, Totals
from retrieval.embedders import with_dimension, with_section_prefix
from retrieval.types import Lane

router = APIRouter(prefix="/collections", tags=["collections"])


@router.post(
    "",
    summary="Create a collection",
    status_code=201,
    responses={
        201: answer(examples.CREATED, "The new collection."),
        **failures("collection_exists", "unsupported", *CATALOG, *STORE_WRITES),
    },
)
async def create_collection(
    body: Annotated[CollectionIn, Body(openapi_examples=named(examples.CREATE))], node: ServingNode
) -> CollectionOut:
    """Creates a collection for the node's embedding model."""
    embedder = with_dimension(node.embedder, body.dimension)
    if body.section_prefix:
        embedder = with_section_prefix(embedder)
    if body.document_instruction:
        # One that leaves no room in the model's window is refused here, not by each document later.
        await embedder.embed([""], kind="document", lane=Lane.INTERACTIVE, instruction=body.document_instruction)
    options = CollectionOptions(
        language=body.language,
        chunking=body.chunking.to_chunking(),
        duplicates=body.duplicates,
        metadata_keys=body.metadata_keys,
        query_instruction=body.query_instruction,
        rerank_instruction=body.rerank_instruction,
        document_instruction=body.document_instruction,
        principals=body.principals,
    )
    collection = await node.collections.create(body.name, embedder.fingerprint, options)
    return CollectionOut.of(collection, node.embedders.agreements.get(collection.store_name), chunks=0, languages={})


@router.get(
    "",
    summary="List collections",
    responses={
        200: answer(examples.LIST, "All collections, without chunks, and without languages unless requested."),
        **failures(*CATALOG),
    },
)
async def list_collections(
    node: ServingNode,
    languages: Annotated[
        bool, Query(description="Whether to count the documents of each collection by language, which takes longer.")
    ] = False,
) -> CollectionsOut:
    """All collections. Get one collection for its number of chunks."""
    return CollectionsOut(collections=await describe_all(node, languages=languages))


async def describe_all(node: NodeView, *, languages: bool) -> list[CollectionOut]:
    """Returns all collections, with their languages if these are requested."""
    agreements = node.embedders.agreements
    found = await node.collections.list()
    totals = await node.collections.totals([each.name for each in found]) if languages else {}
    return [
        CollectionOut.of(
            each,
            agreements.get(each.store_name),
            languages=totals.get(each.name, Totals()).languages if languages else None,
        )
        for each in found
    ]


@router.get(
    "/{name}",
    summary="Get a collection",
    responses={
        200: answer(examples.ONE, "The collection, with its number of chunks and its languages."),
        **failures("collection_not_found", *CATALOG, *STORE_WRITES),
    },
)
async def get_collection(name: CollectionPath, node: ServingNode) -> CollectionOut:
    """One collection, with its number of chunks and the languages of its documents."""
    collection = await node.collections.get(name)
    agreement = node.embedders.agreements.get(collection.store_name)
    totals = (await node.collections.totals([name])).get(name, Totals())
    return CollectionOut.of(collection, agreement, await node.collections.count(name), totals.languages)


@router.delete(
    "/{name}",
    summary="Delete a collection",
    status_code=204,
    responses={
        204: {"description": "The collection was deleted."},
        **failures("collection_not_found", "document_busy", *CATALOG, *STORE_WRITES),
    },
)
async def delete_collection(name: CollectionPath, node: ServingNode) -> Response:
    """Deletes a collection with its documents, vectors, jobs and originals."""
    await node.collections.delete(name)
    return Response(status_code=204)
