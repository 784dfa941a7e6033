"""Evaluation: runs that are started here, files of `tandem eval --json`, and judgements to be saved."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import FormData, UploadFile

from app.access.view import NodeView
from app.cli.evaluate.run import CollectionRun, Run, parse, record
from app.http.routes.dependencies import NodeMetrics, NodeSettings, SearchAdmission
from app.http.schemas.answer import SearchOut
from app.http.schemas.wire import CollectionName, Text
from app.http.search_requests import run_queries
from app.http.security.callers import Callers
from app.http.uploads import FOLDER
from app.ui import session
from app.ui.evaluation.changes import MEASURE, Comparison, compare
from app.ui.evaluation.judged import Judgements, read_archive, write_archive
from app.ui.evaluation.runs import MAX_HITS, MAX_QUERIES, MAX_SECONDS, Evaluation, Evaluations
from app.ui.rendering import (
    PageNode,
    PageRoute,
    UploadPageRoute,
    checked_form,
    field,
    redirect,
    render,
    validated,
    whole_number,
)
from app.ui.search_form import to_request
from ingestion.types import Collection
from retrieval.errors import InvalidRequest
from retrieval.evaluation.datasets import Dataset
from retrieval.evaluation.metrics import DEPTHS, MEASURES
from retrieval.types import DocumentId

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MAX_FILE_BYTES: Final = 16 * 2**20
MAX_JUDGED_DOCUMENTS: Final = 2000
"""Maximum size of a collection that can be saved as a judged collection."""
MAX_LOOKED_UP: Final = 1000
"""Relevant documents that are looked up in the collection before a run."""
BAR_WIDTH: Final = 400

RunPath = Annotated[Text, Path(max_length=40)]


class Bounds(BaseModel):
    """Bounds of a run, and the collection that it searches."""

    collection: CollectionName
    queries: int = Field(100, ge=1, le=MAX_QUERIES)
    seconds: int = Field(120, ge=5, le=MAX_SECONDS)
    candidates: int = Field(50, ge=DEPTHS[MEASURE], le=MAX_HITS)


@router.get("/ui/evaluation")
async def evaluation_page(request: Request, node: PageNode) -> Response:
    return await _page(request, node, [], {})


async def open_results(request: Request, node: PageNode) -> Response:
    form = await checked_form(request, max_files=2)
    run = await _read(form, "run")
    if run is None:
        raise InvalidRequest("No file was chosen: choose a file that `tandem eval --json FILE` wrote.")
    earlier = await _read(form, "earlier")
    comparisons = {each.name: compare(each, earlier) for each in run.collections} if earlier else {}
    return await _page(request, node, run.collections, comparisons)


async def start(
    request: Request, node: PageNode, settings: NodeSettings, admission: SearchAdmission, metrics: NodeMetrics
) -> Response:
    """Starts a run with the judgements of this browser, or with an uploaded archive."""
    form = await checked_form(request, max_files=1)
    evaluations = _evaluations(request)
    evaluations.require_idle()
    if text := field(form, "judgements"):
        judged = Judgements.parse(text)
        dataset, name = judged.dataset(), judged.collection
    else:
        dataset, name = await _uploaded(form, settings.data_dir / FOLDER), field(form, "collection", "docs")
    numbers = {each: whole_number(form, each) for each in ("queries", "seconds", "candidates")}
    given = {each: value for each, value in numbers.items() if value is not None}
    bounds = validated(Bounds, {"collection": name, **given})
    collection = await node.collection_to_search(bounds.collection)
    evaluation = await _prepared(node, dataset, collection, bounds)
    callers, authorization = request.app.state.callers, request.headers.get("authorization")
    assert isinstance(callers, Callers)
    authorization = authorization or session.authorization(request.cookies)
    request_id = request.state.request_id

    async def search(body: Mapping[str, Any]) -> SearchOut:
        await callers.caller(authorization)  # a key that was revoked meanwhile ends the run
        query = to_request(dict(body)).to_query(str(body["query"]), collection)
        results = await run_queries([query], collection, node, admission, metrics)
        return SearchOut.of(results[0], None, request_id)

    evaluations.start(evaluation, search)
    return redirect(request, f"/ui/evaluation/runs/{evaluation.id}")


for path, endpoint in (("/ui/evaluation", open_results), ("/ui/evaluation/runs", start)):
    router.add_api_route(path, endpoint, methods=["POST"], response_model=None, route_class_override=UploadPageRoute)


@router.get("/ui/evaluation/runs/{run_id}")
async def run_page(
    request: Request, run_id: RunPath, node: PageNode, earlier: Annotated[Text, Query(max_length=40)] = ""
) -> Response:
    """Shows a run's progress or its result, and what changed since another run."""
    evaluations = _evaluations(request)
    found, other = evaluations.find(run_id, node.caller), evaluations.find(earlier, node.caller)
    if found is None:
        return redirect(request, "/ui/evaluation")
    runs = found.run.collections if found.run else ()
    comparisons = {each.name: compare(each, other.run) for each in runs} if other and other.run else {}
    others = [each for each in evaluations.of(node.caller) if each.run and each is not found]
    return render(
        request,
        "evaluation_run.html",
        evaluation=found,
        others=others,
        earlier=other,
        **_shown(runs, comparisons),
    )


@router.get("/ui/evaluation/runs/{run_id}/results")
async def results(request: Request, run_id: RunPath, node: PageNode) -> Response:
    """Returns the result as `tandem eval --json` writes it."""
    found = _evaluations(request).find(run_id, node.caller)
    if found is None or found.run is None:
        return redirect(request, "/ui/evaluation")
    headers = {"Content-Disposition": f'attachment; filename="{found.collection.name}-evaluation.json"'}
    return Response(json.dumps(record(found.run), indent=1), headers=headers, media_type="application/json")


@router.post("/ui/evaluation/runs/{run_id}/cancel")
async def cancel(request: Request, run_id: RunPath, node: PageNode) -> Response:
    await checked_form(request)
    evaluations = _evaluations(request)
    if found := evaluations.find(run_id, node.caller):
        await evaluations.cancel(found)
    return redirect(request, f"/ui/evaluation/runs/{run_id}" if found else "/ui/evaluation")


@router.post("/ui/judgements")
async def save_judgements(request: Request, node: PageNode) -> Response:
    """Returns a collection's documents with the judgements of this browser, as an archive that `tandem eval` reads once
    it is unpacked.
    """
    form = await checked_form(request)
    judged = Judgements.parse(field(form, "judgements"))
    collection = await node.collections.get(judged.collection)
    corpus = await _corpus(node, collection)
    known = {each["_id"] for each in corpus}
    gone = sorted({each.document_id for each in judged.judgements} - known)
    if gone:
        raise InvalidRequest(
            f"Document {gone[0]!r} was judged but is no longer in collection {collection.name!r}: judge again."
        )
    content = await asyncio.to_thread(write_archive, corpus, judged)
    headers = {"Content-Disposition": f'attachment; filename="{collection.name}-judged.zip"'}
    return Response(content, headers=headers, media_type="application/zip")


def _evaluations(request: Request) -> Evaluations:
    found = request.app.state.evaluations
    assert isinstance(found, Evaluations)
    return found


async def _page(
    request: Request, node: NodeView, runs: Sequence[CollectionRun], comparisons: Mapping[str, Sequence[Comparison]]
) -> Response:
    return render(
        request,
        "evaluation.html",
        collections=await node.collections.list(),
        started=_evaluations(request).of(node.caller),
        most={"queries": MAX_QUERIES, "seconds": MAX_SECONDS, "candidates": MAX_HITS},
        **_shown(runs, comparisons),
    )


def _shown(runs: Sequence[CollectionRun], comparisons: Mapping[str, Sequence[Comparison]]) -> dict[str, Any]:
    """Returns the values that the template draws of results."""
    return {"runs": runs, "comparisons": comparisons, "measures": MEASURES, "measure": MEASURE, "bar": BAR_WIDTH}


async def _read(form: FormData, name: str) -> Run | None:
    file = form.get(name)
    if not isinstance(file, UploadFile) or not file.filename:
        return None
    return parse(await _content(file), file.filename[:80])


async def _uploaded(form: FormData, folder: FilePath) -> Dataset:
    file = form.get("judged")
    if not isinstance(file, UploadFile) or not file.filename:
        raise InvalidRequest("No file was chosen: choose an archive (ZIP) with corpus.jsonl, queries.jsonl and qrels.")
    return await asyncio.to_thread(read_archive, await _content(file), file.filename[:80], folder)


async def _content(file: UploadFile) -> bytes:
    raw = await file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise InvalidRequest(f"{(file.filename or '')[:80]}: has more than {MAX_FILE_BYTES:,} bytes.")
    return raw


async def _prepared(node: NodeView, dataset: Dataset, collection: Collection, bounds: Bounds) -> Evaluation:
    """Raises InvalidRequest if the collection holds none of the documents that are relevant."""
    relevant = list({DocumentId(qrel.doc_id) for qrel in dataset.qrels if qrel.relevance > 0})[:MAX_LOOKED_UP]
    there = await node.documents.named(collection.name, relevant)
    if not there:
        raise InvalidRequest(
            f"Collection {collection.name!r} holds none of the documents that are judged relevant, such as "
            f"{relevant[0]!r}: choose the collection that was judged, or ingest corpus.jsonl under its ids first."
        )
    totals = (await node.collections.totals([collection.name])).get(collection.name)
    found = node.capabilities
    return Evaluation(
        owner=node.caller.key_id,
        dataset=dataset,
        collection=collection,
        chunks=await node.collections.count(collection.name),
        documents=totals.ready if totals else 0,
        missing=len(relevant) - len(there),
        store=f"{found.server} {found.version}" if found else None,
        candidates=bounds.candidates,
        queries=min(bounds.queries, len(dataset.queries)),
        seconds=bounds.seconds,
    )


async def _corpus(node: NodeView, collection: Collection) -> list[dict[str, str]]:
    """Returns the collection's documents. Raises InvalidRequest for a collection of more than MAX_JUDGED_DOCUMENTS."""
    records = await node.documents.page(collection.name, limit=MAX_JUDGED_DOCUMENTS + 1)
    if len(records) > MAX_JUDGED_DOCUMENTS:
        raise InvalidRequest(
            f"Collection {collection.name!r} has more than {MAX_JUDGED_DOCUMENTS:,} documents, too many for this page. "
            "Write corpus.jsonl from your own source; queries.jsonl and qrels.tsv are as the evaluation page says."
        )
    found = [record.document for record in records if record.chunks]
    texts = await node.documents.whole_texts(collection.name, [document.id for document in found])
    return [
        {"_id": document.id, "title": document.title, "text": text} for document, text in zip(found, texts, strict=True)
    ]
