"""What changed between two runs, query by query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final
from urllib.parse import urlencode

from app.cli.evaluate.run import CollectionRun, Row, Run

MEASURE: Final = "nDCG@10"
MOST_CHANGED: Final = 25


@dataclass(frozen=True, slots=True)
class Change:
    """One query whose measure differs between two runs."""

    query_id: str
    text: str
    """Empty if the runs do not have it."""
    search: str
    """Address of the search page's state with this query and the row's setting; empty without the text."""
    before: float
    after: float

    @property
    def by(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of both runs. The measures are means over the queries that both have."""

    row: str
    queries: int
    before: float
    after: float
    changes: Sequence[Change]


def compare(run: CollectionRun, earlier: Run) -> list[Comparison]:
    """Compares rows of the same name, over the queries that both runs have; empty where the earlier run has no judged
    collection of that content or name.
    """
    before = next(
        (each for each in earlier.collections if each.digest == run.digest),
        next((each for each in earlier.collections if each.name == run.name), None),
    )
    if before is None:
        return []
    rows = {row.name: row for row in before.rows if MEASURE in row.measures}
    pairs = [(rows[row.name], row) for row in run.rows if row.name in rows and MEASURE in row.measures]
    compared = [_changes(before.texts, old, run, new) for old, new in pairs]
    return [each for each in compared if each.queries]


def _changes(texts: Mapping[str, str], before: Row, run: CollectionRun, after: Row) -> Comparison:
    old, new = before.values(MEASURE), after.values(MEASURE)
    common = [id_ for id_ in new if id_ in old and _agree(texts.get(id_), run.texts.get(id_))]
    changes = [
        Change(id_, run.texts.get(id_, ""), search_of(run, after, id_), old[id_], new[id_])
        for id_ in common
        if new[id_] != old[id_]
    ]
    changes.sort(key=lambda change: -abs(change.by))
    was, is_ = (fmean(values[id_] for id_ in common) if common else 0.0 for values in (old, new))
    return Comparison(after.name, len(common), was, is_, changes[:MOST_CHANGED])


def _agree(before: str | None, after: str | None) -> bool:
    """Returns whether an id can mean the same query in both runs. Runs of earlier releases have no texts."""
    return before is None or after is None or before == after


def search_of(run: CollectionRun, row: Row, query_id: str) -> str:
    """Returns the query part of the search page's address; empty if the run does not have the query's text."""
    if query_id not in run.texts:
        return ""
    state = {"q": run.texts[query_id], "mode": row.mode, "rerank": "on" if row.pool else "off"}
    if run.searched:
        state["collection"] = run.searched
    if row.pool:
        state["candidates"] = str(row.pool)
    return urlencode(state)
