"""OpenAI's vector stores: a store is a collection, a file in it a document."""

import re
from typing import Annotated, Literal
from unicodedata import normalize
from uuid import uuid4

from fastapi import APIRouter, Body, Path, Query, Request

from app.access.view import NodeView
from app.http.compat.openai.examples import vector_stores as examples
from app.http.compat.openai.schemas.files import STORE_PREFIX, DeletedOut, attributes_of, chunking_of
from app.http.compat.openai.schemas.vector_stores import (
    ContentOut,
    FoundOut,
    StagesOut,
    StoreIn,
    StoreOut,
    StoreSearchIn,
    StoreSearchOut,
    StoresOut,
    StoreUpdateIn,
    with_metadata_keys,
)
from app.http.disconnect import cancel_on_disconnect
from app.http.routes.dependencies import NodeMetrics, SearchAdmission, ServingNode
from app.http.routes.documented import CATALOG, EMBEDDER, STORE, STORE_WRITES, answer, failures, named
from app.http.schemas.wire import COLLECTION_NAME, Text
from app.http.search_requests import find_collection, run_queries
from ingestion.types import Collection, IngestOptions, Totals
from ingestion.uploads import Attached, filename_of
from retrieval.errors import CollectionNotFound, InvalidRequest
from retrieval.filters.parse import parse_filter
from retrieval.search.query import Hit, Reranking, SearchQuery

router = APIRouter(prefix="/v1/vector_stores", tags=["openai"])

MAX_NAME = 80

StorePath = Annotated[
    Text,
    Path(
        description="`vs_` followed by the name of a collection.", max_length=120, examples=["vs_docs", "vs_kiln_logs"]
    ),
]
Cursor = Annotated[Text | None, Query(description="Id of a store: list the stores after it.", max_length=120)]
CursorBefore = Annotated[Text | None, Query(description="Id of a store: list the stores before it.", max_length=120)]


NOT_FOUND = failures("collection_not_found", "invalid_text", *CATALOG)


@router.post(
    "",
    summary="Create a vector store",
    responses={
        200: answer(examples.ONE, "The store."),
        **failures(
            *("document_not_found", "collection_exists", "media_type_mismatch", "overloaded"),
            *("blob_store_unavailable", *CATALOG, *STORE_WRITES),
        ),
    },
)
async def create_vector_store(
    body: Annotated[StoreIn, Body(openapi_examples=named(examples.CREATE))], node: ServingNode
) -> StoreOut:
    """Creates a collection with default settings for the node's embedding model, and adds files to it."""
    uploads = await node.files.uploads(None, dict.fromkeys(body.file_ids, Attached()))
    name = _collection_name(body.name, {each.name for each in await node.collections.list()})
    collection = await node.collections.create(name, node.embedder.fingerprint)
    if uploads:
        options = IngestOptions(chunking_of(body.chunking_strategy), unpack=False)
        await node.documents.ingest(name, uploads, options)
    return await _with_totals(node, collection)


@router.get(
    "",
    summary="List vector stores",
    responses={
        200: answer(examples.LIST, "A page of stores."),
        **failures("collection_not_found", "invalid_text", *CATALOG),
    },
)
async def list_vector_stores(
    node: ServingNode,
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of stores.")] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="Order by the time of creation.")] = "desc",
    after: Cursor = None,
    before: CursorBefore = None,
) -> StoresOut:
    """All collections, ordered by the time of creation."""
    every = sorted(await node.collections.list(), key=lambda each: (each.created_at, each.name))
    if order == "desc":
        every.reverse()
    places = {STORE_PREFIX + each.name: place for place, each in enumerate(every)}
    for cursor in (after, before):
        if cursor is not None and cursor not in places:
            raise _no_store(cursor)
    if before is not None and after is None:
        end = places[before]
        first = max(0, end - limit)
        page, more = every[first:end], first > 0
    else:
        first = 0 if after is None else places[after] + 1
        page, more = every[first : first + limit], len(every) > first + limit
    totals = await node.collections.totals([each.name for each in page])
    data = [StoreOut.of(each, totals.get(each.name, Totals())) for each in page]
    return StoresOut.of(data, has_more=more)


@router.get(
    "/{vector_store_id}",
    summary="Get a vector store",
    responses={200: answer(examples.ONE, "The store, its files counted."), **NOT_FOUND},
)
async def get_vector_store(vector_store_id: StorePath, node: ServingNode) -> StoreOut:
    """One vector store, with the numbers of its files."""
    return await _with_totals(node, await store_named(node, vector_store_id))


@router.post(
    "/{vector_store_id}",
    summary="Update a vector store",
    responses={200: answer(examples.ONE, "The store as it was."), **NOT_FOUND},
)
async def update_vector_store(
    vector_store_id: StorePath,
    body: Annotated[StoreUpdateIn, Body(openapi_examples=named(examples.UPDATE))],
    node: ServingNode,
) -> StoreOut:
    """Changes nothing: collections have nothing that this route could change. Other values than the current ones are
    refused."""
    collection = await store_named(node, vector_store_id)
    if body.name not in (None, collection.name):
        raise InvalidRequest(
            f"name: a vector store is a collection, and {collection.name!r} keeps its name. Create another one.",
            param="name",
        )
    return await _with_totals(node, collection)


@router.delete(
    "/{vector_store_id}",
    summary="Delete a vector store",
    responses={
        200: answer(examples.DELETED, "The store is gone."),
        **NOT_FOUND,
        **failures("document_busy", *STORE_WRITES),
    },
)
async def delete_vector_store(vector_store_id: StorePath, node: ServingNode) -> DeletedOut:
    """Deletes the collection with its documents, vectors and jobs, and originals that no other collection uses."""
    collection = await store_named(node, vector_store_id)
    await node.collections.delete(collection.name)
    return DeletedOut(id=vector_store_id, object="vector_store.deleted")


@router.post(
    "/{vector_store_id}/search",
    summary="Search a vector store",
    responses={
        200: answer(examples.ANSWERS, "The best chunks, best first."),
        **failures(
            *("collection_not_found", "fingerprint_mismatch", "unsupported", "overloaded", "budget_exceeded"),
            *(*EMBEDDER, *CATALOG, *STORE),
        ),
    },
)
async def search_vector_store(
    vector_store_id: StorePath,
    body: Annotated[StoreSearchIn, Body(openapi_examples=named(examples.QUESTIONS))],
    request: Request,
    node: ServingNode,
    admission: SearchAdmission,
    metrics: NodeMetrics,
) -> StoreSearchOut:
    """Searches a vector store like POST /search: recall by vectors and words, then reranking. Each result names its
    file."""
    collection = await find_collection(_name_of(vector_store_id), node)
    queries = [_query(body, text, collection) for text in body.queries]
    results = await cancel_on_disconnect(request, run_queries(queries, collection, node, admission, metrics))
    best: dict[str, Hit] = {}
    for result in results:
        for hit in result.hits:
            known = best.get(hit.candidate.chunk.id)
            if known is None or _score(known, result.relevance_name) < _score(hit, result.relevance_name):
                best[hit.candidate.chunk.id] = hit
    names = {result.relevance_name for result in results}
    relevance_name = names.pop() if len(names) == 1 else None
    # The scores that order hits compare those of one query; relevance compares those of several.
    order = relevance_name if len(results) > 1 else None
    ordered = sorted(best.values(), key=lambda hit: -_score(hit, order))[: body.max_num_results]
    return StoreSearchOut(
        search_query=body.queries,
        data=[_found(hit, _score(hit, relevance_name)) for hit in ordered],
        stages=[StagesOut.of(result) for result in results],
    )


async def store_named(node: NodeView, id_: str) -> Collection:
    """Raises CollectionNotFound."""
    return await node.collections.get(_name_of(id_))


def _name_of(id_: str) -> str:
    name = normalize("NFC", id_.removeprefix(STORE_PREFIX))
    if not id_.startswith(STORE_PREFIX) or not re.fullmatch(COLLECTION_NAME, name):
        raise _no_store(id_)
    return name


def _no_store(id_: str) -> CollectionNotFound:
    return CollectionNotFound(
        f"There is no vector store {id_[:120]!r}; ids are {STORE_PREFIX!r} and a collection's name."
    )


def _collection_name(requested: str | None, taken: set[str]) -> str:
    """A new name for a collection, as close as possible to the requested one."""
    words = re.sub(r"[^\w.-]+", "_", normalize("NFC", requested or "")).strip("_.-")[:MAX_NAME]
    name = words if words[:1].isalpha() else f"store_{words}".rstrip("_")
    return f"{name}_{uuid4().hex[:8]}" if name in taken or not words else name


async def _with_totals(node: NodeView, collection: Collection) -> StoreOut:
    totals = await node.collections.totals([collection.name])
    return StoreOut.of(collection, totals.get(collection.name, Totals()))


def _query(body: StoreSearchIn, text: str, collection: Collection) -> SearchQuery:
    options = body.ranking_options
    ranked = options.ranker != "none"
    return SearchQuery(
        text=text,
        top_k=body.max_num_results,
        reranking=Reranking(instruction=collection.rerank_instruction) if ranked else None,
        filter=parse_filter(with_metadata_keys(body.filters), collection.metadata_keys) if body.filters else None,
        min_score=options.score_threshold,
        instruction=collection.query_instruction,
    )


def _score(hit: Hit, relevance_name: str | None) -> float:
    return (hit.scores.get(relevance_name) if relevance_name else hit.score) or 0.0


def _found(hit: Hit, score: float) -> FoundOut:
    candidate = hit.candidate
    return FoundOut(
        file_id=candidate.chunk.document_id,
        filename=filename_of(candidate.chunk.document_id, candidate.title),
        score=score,
        attributes=attributes_of(candidate.metadata),
        content=[ContentOut(text=candidate.chunk.full_text)],
    )
