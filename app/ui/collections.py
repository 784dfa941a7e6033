"""Collections: the list, a new one, one of them, its move to another model, and its deletion."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.datastructures import FormData

from app.http.routes.collections import create_collection
from app.http.routes.reembed import reembed_collection
from app.http.schemas.collections import CollectionIn
from app.http.schemas.reembed import ReembedIn
from app.http.schemas.wire import CollectionName
from app.ui.rendering import PageNode, PageRoute, checked_form, field, redirect, render, validated, whole_number
from retrieval.embedders import has_section_prefix
from retrieval.errors import InvalidRequest

router = APIRouter(prefix="/ui/collections", include_in_schema=False, route_class=PageRoute)

Name = Annotated[CollectionName, Path()]
KEY_TYPES = ("text", "int", "float", "bool")


@router.get("")
async def collections_page(request: Request, node: PageNode) -> Response:
    collections = await node.collections.list()
    totals = await node.collections.totals([each.name for each in collections])
    return render(request, "collections.html", collections=collections, totals=totals, key_types=KEY_TYPES)


@router.post("")
async def create(request: Request, node: PageNode) -> Response:
    form = await checked_form(request)
    body: dict[str, Any] = {
        "name": field(form, "name").strip(),
        "language": field(form, "language", "mixed"),
        "duplicates": field(form, "duplicates", "store"),
        "metadata_keys": _declared(form),
        "section_prefix": field(form, "section_prefix") == "on",
    }
    numbers = {name: whole_number(form, name) for name in ("max_tokens", "overlap", "dimension")}
    chunking = {name: numbers[name] for name in ("max_tokens", "overlap") if numbers[name] is not None}
    if chunking:
        body["chunking"] = chunking
    if numbers["dimension"] is not None:
        body["dimension"] = numbers["dimension"]
    for name in ("query_instruction", "rerank_instruction", "document_instruction"):
        if text := field(form, name).strip():
            body[name] = text
    created = await create_collection(validated(CollectionIn, body), node)
    return redirect(request, f"/ui/collections/{created.name}")


@router.get("/{name}")
async def collection_page(request: Request, name: Name, node: PageNode) -> Response:
    collection, manages = await node.collections.get(name), node.caller.has("manage")
    return render(
        request,
        "collection.html",
        collection=collection,
        section_prefix=has_section_prefix(collection.fingerprint),
        chunks=await node.collections.count(name),
        totals=(await node.collections.totals([name])).get(name),
        golden=await node.collections.golden_queries(name) if manages else (),
        move=node.collections.reembedding(name) if manages else None,
        agreement=node.embedders.agreements.get(collection.store_name),
    )


@router.post("/{name}/reembed")
async def reembed(request: Request, name: Name, node: PageNode) -> Response:
    form = await checked_form(request)
    body: dict[str, Any] = {"gate": field(form, "gate") == "on"}
    if models := field(form, "models").strip():
        body["models"] = models
    if (size := whole_number(form, "max_tokens")) is not None:
        body["chunking"] = {"max_tokens": size}
    if (prefix := field(form, "section_prefix")) in ("on", "off"):
        body["section_prefix"] = prefix == "on"
    await reembed_collection(name, validated(ReembedIn, body), node)
    return redirect(request, f"/ui/collections/{name}")


@router.post("/{name}/rollback")
async def rollback(request: Request, name: Name, node: PageNode) -> Response:
    await checked_form(request)
    await node.collections.rollback(name)
    return redirect(request, f"/ui/collections/{name}")


@router.post("/{name}/delete")
async def delete(request: Request, name: Name, node: PageNode) -> Response:
    """Deletes the collection once its name was typed: with it go its documents, vectors, jobs and originals."""
    form = await checked_form(request)
    if field(form, "confirm") != name:
        raise InvalidRequest(f"confirm: type the name of the collection, {name!r}, to delete it.")
    await node.collections.delete(name)
    return redirect(request, "/ui/collections")


def _declared(form: FormData) -> dict[str, str]:
    """`key: type` lines of the form."""
    declared = {}
    for line in field(form, "metadata_keys").splitlines():
        key, colon, kind = (part.strip() for part in line.partition(":"))
        if key:
            if not colon or kind not in KEY_TYPES:
                raise InvalidRequest(
                    f"metadata_keys: {line[:80]!r} is not a line such as 'year: int'; types: {', '.join(KEY_TYPES)}."
                )
            declared[key] = kind
    return declared
