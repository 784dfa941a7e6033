"""Search, the comparison of two settings, and the judgements of hits."""

import asyncio
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import URL

from app.access.view import NodeView
from app.http.disconnect import cancel_on_disconnect
from app.http.routes.dependencies import NodeMetrics, SearchAdmission
from app.http.schemas.answer import SearchOut
from app.http.schemas.wire import CollectionName, FilledId, FilledText
from app.http.search_requests import find_collection, run_queries
from app.ranks import recall_rank
from app.ui.movement import REASONS, moved_between, pieces, slopes, time_bar
from app.ui.rendering import PageNode, PageRoute, checked_form, field, redirect, render
from app.ui.search_form import OPERATORS, SECOND, SearchForm, as_curl, as_langchain, as_python, to_request
from ingestion.types import Collection
from retrieval.errors import InvalidRequest, TandemError
from retrieval.filters.tree import BUILT_IN

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MAX_JUDGED_DOCUMENTS: Final = 2000
"""Maximum size of a collection that can be saved as a judged collection."""
MAX_JUDGEMENTS: Final = 2000


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer, or the reason why there is none."""

    answer: SearchOut | None = None
    error: TandemError | None = None
    body: dict[str, Any] | None = None


@router.get("/")
async def search_page(request: Request, node: PageNode, admission: SearchAdmission, metrics: NodeMetrics) -> Response:
    if not node.caller.has("search"):
        return redirect(request, "/ui/documents")
    form = SearchForm.read(request.query_params)
    collections = await node.collections.list()
    shown = Shown()
    if form.query:
        shown = await cancel_on_disconnect(request, _search(form, request, node, admission, metrics))
    return render(
        request,
        "search.html",
        form=form,
        collections=collections,
        keys=_filter_keys(collections, form["collection"] or "docs"),
        operators=OPERATORS,
        reasons=REASONS,
        shown=shown,
        **_drawn(shown, _node_url(request)),
    )


@router.get("/ui/compare")
async def compare_page(request: Request, node: PageNode, admission: SearchAdmission, metrics: NodeMetrics) -> Response:
    first, second = SearchForm.read(request.query_params), SearchForm.read(request.query_params, SECOND)
    collections = await node.collections.list()
    columns = []
    moves: dict[str, tuple[int | None, int | None]] = {}
    if first.query:
        # Sequentially, so that each has the accelerator to itself and their times can be compared.
        for form in (first, second):
            shown = await cancel_on_disconnect(request, _search(form, request, node, admission, metrics))
            columns.append({"form": form, "shown": shown, **_drawn(shown, _node_url(request))})
        answers = [column["shown"].answer for column in columns]
        if answers[0] and answers[1]:
            moves = moved_between(answers[0], answers[1])
    return render(
        request,
        "compare.html",
        form=first,
        second=second,
        collections=collections,
        columns=columns,
        moves=moves,
        reasons=REASONS,
        changed=sum(before != after for before, after in moves.values()),
    )


class Judgement(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    query: FilledText = Field(max_length=2000)
    document_id: FilledId
    relevant: bool


class Judgements(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    collection: CollectionName
    judgements: list[Judgement] = Field(min_length=1, max_length=MAX_JUDGEMENTS)


@router.post("/ui/judgements")
async def save_judgements(request: Request, node: PageNode) -> Response:
    """Returns a collection's documents with the judgements of this browser, as an archive that `tandem eval` reads once
    it is unpacked.
    """
    form = await checked_form(request)
    try:
        judged = Judgements.model_validate_json(field(form, "judgements"))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        raise InvalidRequest(f"judgements: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}.") from None
    collection = await node.collections.get(judged.collection)
    corpus = await _corpus(node, collection)
    known = {each["_id"] for each in corpus}
    gone = sorted({each.document_id for each in judged.judgements} - known)
    if gone:
        raise InvalidRequest(
            f"Document {gone[0]!r} was judged but is no longer in collection {collection.name!r}: judge again."
        )
    content = await asyncio.to_thread(_archive, corpus, judged.judgements)
    headers = {"Content-Disposition": f'attachment; filename="{collection.name}-judged.zip"'}
    return Response(content, headers=headers, media_type="application/zip")


async def _search(
    form: SearchForm, request: Request, node: NodeView, admission: SearchAdmission, metrics: NodeMetrics
) -> Shown:
    body: dict[str, Any] | None = None
    try:
        collection = await find_collection(form["collection"] or "docs", node, form.budget_ms)
        body = form.body(collection.metadata_keys)
        wanted = to_request(body)
        results = await run_queries([wanted.to_query(form.query, collection)], collection, node, admission, metrics)
        return Shown(SearchOut.of(results[0], None, request.state.request_id), body=body)
    except TandemError as error:
        return Shown(error=error, body=body)


def _drawn(shown: Shown, url: str) -> dict[str, Any]:
    """Returns the values that the template draws of an answer."""
    answer = shown.answer
    code = shown.body and {
        "curl": as_curl(shown.body, url),
        "Python": as_python(shown.body, url),
        "LangChain": as_langchain(shown.body, url),
    }
    if answer is None:
        return {"slopes": None, "parts": [], "rows": [], "code": code}
    rows = [
        {"place": place, "hit": hit, "recalled": recall_rank(hit.ranks), "pieces": pieces(hit)}
        for place, hit in enumerate(answer.hits, start=1)
    ]
    drawn = slopes(answer) if answer.hits else None
    return {"slopes": drawn, "parts": time_bar(answer.timings_ms.model_dump()), "rows": rows, "code": code}


def _filter_keys(collections: Sequence[Collection], name: str) -> list[str]:
    declared = next((each.metadata_keys for each in collections if each.name == name), {})
    return [*(f"metadata.{key}" for key in declared), *BUILT_IN]


def _node_url(request: Request) -> str:
    url = URL(scope=request.scope)
    return f"{url.scheme}://{url.netloc}{request.scope.get('root_path', '')}"


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


def _archive(corpus: Sequence[dict[str, str]], judgements: Sequence[Judgement]) -> bytes:
    """Returns the archive in BEIR's layout. The last judgement of a pair wins."""
    queries = {query: f"q{number}" for number, query in enumerate(dict.fromkeys(each.query for each in judgements), 1)}
    grades = {(queries[each.query], each.document_id): int(each.relevant) for each in judgements}
    lines = ["query-id\tcorpus-id\tscore", *(f"{query}\t{id_}\t{grade}" for (query, id_), grade in grades.items())]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("corpus.jsonl", "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in corpus))
        rows = ({"_id": id_, "text": query} for query, id_ in queries.items())
        archive.writestr("queries.jsonl", "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows))
        archive.writestr("qrels/test.tsv", "\n".join(lines) + "\n")
    return written.getvalue()
