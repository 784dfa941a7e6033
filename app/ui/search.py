"""Search, and the comparison of two settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import URL

from app.access.view import NodeView
from app.http.disconnect import cancel_on_disconnect
from app.http.routes.dependencies import NodeMetrics, SearchAdmission
from app.http.schemas.answer import SearchOut
from app.http.search_requests import find_collection, run_queries
from app.ranks import recall_rank
from app.ui.movement import REASONS, moved_between, pieces, slopes, time_bar
from app.ui.rendering import PageNode, PageRoute, redirect, render
from app.ui.search_form import OPERATORS, SECOND, SHARED, SearchForm, as_curl, as_langchain, as_python, to_request
from ingestion.types import Collection
from retrieval.errors import TandemError
from retrieval.filters.tree import BUILT_IN

router = APIRouter(include_in_schema=False, route_class=PageRoute)


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
        keys=_filter_keys(collections, first["collection"] or "docs"),
        operators=OPERATORS,
        shared=any(first[name] for name in SHARED),
        columns=columns,
        moves=moves,
        reasons=REASONS,
        changed=sum(before != after for before, after in moves.values()),
    )


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
