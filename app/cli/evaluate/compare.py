"""Compares a run of `tandem eval` with an earlier one, with significance tests."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.markup import escape

from app.cli.evaluate.run import CollectionRun, Row, Run
from app.cli.evaluate.table import MISSING, new_table, row_label
from retrieval.errors import InvalidRequest
from retrieval.evaluation.metrics import MEASURES
from retrieval.evaluation.significance import ALPHA, holm, randomisation_p

DECIDING = "nDCG@10"
"""The measure by which a row counts as worse."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one row in one measure, over the queries that both runs have."""

    row: Row
    measure: str
    before: float
    after: float
    p: float
    """p-value of the randomisation test; adjusted (Holm) for the rows of all compared collections."""

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def significant(self) -> bool:
        return self.p < ALPHA


@dataclass(frozen=True, slots=True)
class CollectionComparison:
    name: str
    queries: int
    rows: tuple[Row, ...]
    """The rows of the new run."""
    changes: tuple[Change, ...]
    gone: tuple[str, ...]
    """Rows that only the earlier run has."""
    notes: tuple[str, ...]
    """Further differences between the runs."""

    @property
    def worse(self) -> tuple[Change, ...]:
        return tuple(each for each in self.changes if each.significant and each.difference < 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    collections: tuple[CollectionComparison, ...]

    @property
    def worse(self) -> bool:
        """Whether a row's nDCG@10 is significantly lower, or a row is missing."""
        return any(each.gone or any(change.measure == DECIDING for change in each.worse) for each in self.collections)


def compare(before: Run, after: Run) -> Comparison:
    """Compares collections and rows of the same names. Raises InvalidRequest if the runs share no collection or, in one
    of these, no query.
    """
    earlier = {each.name: each for each in before.collections}
    pairs = [(earlier[each.name], each) for each in after.collections if each.name in earlier]
    if not pairs:
        raise InvalidRequest(f"The earlier run has none of these collections; it has {', '.join(earlier)}.")
    return Comparison(tuple(_adjusted([_compare(before, after, *pair) for pair in pairs])))


def _compare(before: Run, after: Run, earlier: CollectionRun, now: CollectionRun) -> CollectionComparison:
    common = sorted(earlier.rows[0].queries.keys() & now.rows[0].queries.keys())
    if not common:
        raise InvalidRequest(f"{now.name}: the earlier run has none of these queries.")
    old_rows = {row.name: row for row in earlier.rows}
    changes = [
        change for row in now.rows if row.name in old_rows for change in _changes(old_rows[row.name], row, common)
    ]
    notes = []
    if len(common) < max(earlier.queries, now.queries):
        notes.append(
            f"The earlier run has {earlier.queries:,} queries, this one {now.queries:,}: the comparison uses the "
            f"{len(common):,} common ones."
        )
    if earlier.digest != now.digest:
        notes.append("Documents, queries or judgements have changed since the earlier run.")
    was, is_ = _settings(before, earlier), _settings(after, now)
    notes += [f"{key}: {was.get(key)} → {value}" for key, value in is_.items() if was.get(key) != value]
    gone = old_rows.keys() - {row.name for row in now.rows}
    return CollectionComparison(
        now.name,
        len(common),
        now.rows,
        tuple(changes),
        tuple(name for name in old_rows if name in gone),
        tuple(notes),
    )


def _changes(before: Row, after: Row, queries: Iterable[str]) -> Iterator[Change]:
    for measure in MEASURES:
        if measure in before.measures and measure in after.measures:
            old, new = before.values(measure), after.values(measure)
            pairs = [(old[query], new[query]) for query in queries]
            p = randomisation_p([now - then for then, now in pairs])
            means = (fmean(then for then, _ in pairs), fmean(now for _, now in pairs))
            yield Change(after, measure, *means, p)


def _adjusted(collections: list[CollectionComparison]) -> Iterator[CollectionComparison]:
    """Yields the comparisons with adjusted p-values. Each measure is a family of tests: readers check all rows for a
    decrease.
    """
    families: dict[str, Iterator[float]] = {}
    for measure in MEASURES:
        p_values = [each.p for collection in collections for each in collection.changes if each.measure == measure]
        families[measure] = iter(holm(p_values))
    for collection in collections:
        changes = tuple(replace(each, p=next(families[each.measure])) for each in collection.changes)
        yield replace(collection, changes=changes)


def _settings(run: Run, collection: CollectionRun) -> Mapping[str, Any]:
    return {
        "tandem": run.tandem,
        "candidates": run.candidates,
        "variants": "machine-made" if run.variants else "none",
        "reranker": collection.models["rerank"],
        **{f"vectors, {key}": value for key, value in collection.fingerprint.items() if key != "digest"},
        **{f"chunking, {key}": value for key, value in collection.chunking.items()},
        "language": collection.language,
        "store": collection.store,
    }


def show_comparison(comparison: Comparison, console: Console) -> None:
    for each in comparison.collections:
        table = new_table(
            f"{escape(each.name)}: change since the earlier run",
            (name.replace("@", "\n@") for name in MEASURES),
        )
        cells = {(change.row.name, change.measure): _cell(change) for change in each.changes}
        for row in each.rows:
            table.add_row(row_label(row), *(cells.get((row.name, measure), MISSING) for measure in MEASURES))
        console.print(table, "", sep="\n")
        for note in each.notes:
            console.print(note, markup=False, highlight=False)
        for name in each.gone:
            console.print(f"[red]Gone:[/red] {name}, which the earlier run has.")
        for row in each.rows:
            if falls := [_fall(change) for change in each.worse if change.row is row]:
                console.print(f"[red]Worse:[/red] {row.name}, {', '.join(falls)}", highlight=False)
        if not each.worse:
            console.print("No row is significantly worse.")
        console.print()
    console.print(
        "In brackets p: two-sided paired randomisation test over the queries, adjusted (Holm) for all rows compared; "
        f"*: below {ALPHA:g}.",
        highlight=False,
    )


def _fall(change: Change) -> str:
    return f"{change.measure} {change.before:.3f} → {change.after:.3f} (p {_p(change.p)})"


def _cell(change: Change) -> str:
    text = f"{change.difference:+.3f} ({_p(change.p)})"
    if not change.significant:
        return f"{text} "
    color = "green" if change.difference > 0 else "red"
    return f"[{color}]{text}*[/{color}]"


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
