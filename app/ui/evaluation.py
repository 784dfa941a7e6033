"""Results of `tandem eval --json`: one run as a table and a drawing, two runs with what changed between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import FormData, UploadFile

from app.cli.evaluate.run import CollectionRun, Row, Run, parse
from app.ui.rendering import PageRoute, UploadPageRoute, checked_form, page_node, render
from retrieval.errors import InvalidRequest
from retrieval.evaluation.metrics import MEASURES

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MAX_FILE_BYTES: Final = 16 * 2**20
MEASURE: Final = "nDCG@10"
BAR_WIDTH: Final = 400
MOST_CHANGED: Final = 25


@dataclass(frozen=True, slots=True)
class Change:
    """One query whose measure differs between two runs."""

    query_id: str
    before: float
    after: float

    @property
    def by(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    row: str
    before: float
    after: float
    changes: Sequence[Change]


@router.get("/ui/evaluation", dependencies=[Depends(page_node)])
async def evaluation_page(request: Request) -> Response:
    return _page(request, [], {})


async def open_results(request: Request) -> Response:
    form = await checked_form(request, max_files=2)
    run = await _read(form, "run")
    if run is None:
        raise InvalidRequest("No file was chosen: choose a file that `tandem eval --json FILE` wrote.")
    earlier = await _read(form, "earlier")
    comparisons = {each.name: _compare(each, earlier) for each in run.collections} if earlier else {}
    return _page(request, run.collections, comparisons)


router.add_api_route(
    "/ui/evaluation",
    open_results,
    methods=["POST"],
    response_model=None,
    route_class_override=UploadPageRoute,
    dependencies=[Depends(page_node)],
)


def _page(request: Request, runs: Sequence[CollectionRun], comparisons: Mapping[str, Sequence[Comparison]]) -> Response:
    values: dict[str, Any] = {
        "runs": runs,
        "comparisons": comparisons,
        "measures": MEASURES,
        "measure": MEASURE,
        "bar": BAR_WIDTH,
    }
    return render(request, "evaluation.html", **values)


async def _read(form: FormData, name: str) -> Run | None:
    file = form.get(name)
    if not isinstance(file, UploadFile) or not file.filename:
        return None
    raw = await file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise InvalidRequest(f"{file.filename[:80]}: has more than {MAX_FILE_BYTES:,} bytes.")
    return parse(raw, file.filename[:80])


def _compare(run: CollectionRun, earlier: Run) -> list[Comparison]:
    """Rows of the same name over the same queries; empty where the earlier run has no such collection."""
    before = next((each for each in earlier.collections if each.digest == run.digest), None)
    if before is None:
        return []
    rows = {row.name: row for row in before.rows}
    return [_changes(rows[row.name], row) for row in run.rows if row.name in rows]


def _changes(before: Row, after: Row) -> Comparison:
    old, new = before.values(MEASURE), after.values(MEASURE)
    changes = [Change(id_, old[id_], new[id_]) for id_ in new if id_ in old and new[id_] != old[id_]]
    changes.sort(key=lambda change: -abs(change.by))
    return Comparison(after.name, before.measures[MEASURE], after.measures[MEASURE], changes[:MOST_CHANGED])
