"""tandem bench mixed: what ingestion that never pauses does to searches, and searches to ingestion.

Three stretches, over and over: searches alone, ingestion alone, both at once. Ratios of what a stretch measured beside
the other to what it measured alone are what carries over to other machines.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import monotonic, sleep
from typing import Literal

from rich.console import Console
from rich.table import Table

from app.bench.corpus import Corpus
from app.bench.measures import Arrivals, Ingested, Summary, arrivals, ingested, percentile, rates
from app.bench.node import MeasuredNode
from app.bench.searching import Question, Searched, search_open_loop

Stretch = Literal["searches", "ingestion", "both"]
TITLES: Mapping[Stretch, str] = {
    "searches": "searches alone",
    "ingestion": "ingestion alone",
    "both": "both at once",
}
_WITH_SEARCHES: tuple[Stretch, ...] = ("searches", "both")
_WITH_INGESTION: tuple[Stretch, ...] = ("ingestion", "both")
SHORT_OF_DOCUMENTS = 256
"""Documents before the node below which its workers may have waited for more."""
LAST_RECEIPTS_SECONDS = 0.5
"""The last receipts of a stretch are told a little after it."""


@dataclass(frozen=True, slots=True)
class Load:
    rate: float
    """Searches a second."""
    seconds: float
    """Of each stretch that count."""
    warm_up: float
    """Seconds before them that do not."""
    arrivals: Arrivals
    candidates: int
    top_k: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One stretch."""

    stretch: Stretch
    searched: Searched | None
    ingested: Ingested | None
    per_second: Sequence[tuple[float, float]] = ()
    """Documents a second, second by second."""

    def to_json(self) -> dict[str, object]:
        return {
            "stretch": self.stretch,
            "searches": self.searched.to_json() if self.searched else None,
            "ingestion": self.ingested.to_json() if self.ingested else None,
            "documents_per_second": [rate for _, rate in self.per_second],
        }


@dataclass(frozen=True, slots=True)
class Ratios:
    """Beside each other, over alone. A percentile is None where a stretch brought no answer."""

    p50: float | None
    p99: float | None
    ingestion: float | None

    def to_json(self) -> dict[str, float | None]:
        return {"search_p50": self.p50, "search_p99": self.p99, "ingestion": self.ingestion}


@dataclass(frozen=True, slots=True)
class Mixed:
    rounds: tuple[Mapping[Stretch, Measured], ...]

    @property
    def each(self) -> tuple[Ratios, ...]:
        """A round's."""
        return tuple(_ratios(measured) for measured in self.rounds)

    @property
    def median(self) -> Ratios:
        """Of the rounds'."""
        each = self.each
        return Ratios(
            _median([ratios.p50 for ratios in each]),
            _median([ratios.p99 for ratios in each]),
            _median([ratios.ingestion for ratios in each]),
        )

    @property
    def pooled_p99(self) -> float | None:
        """Of all rounds' searches together: a 99th percentile of few searches is little more than their worst one."""
        alone, beside = self.latencies.values()
        return _ratio(percentile(beside, 0.99), percentile(alone, 0.99)) if alone and beside else None

    @property
    def latencies(self) -> Mapping[str, list[float]]:
        """Milliseconds, of all rounds."""
        alone, beside = ([ms for each in self.searched(name) for ms in each.times] for name in _WITH_SEARCHES)
        return {"alone": alone, "beside ingestion": beside}

    @property
    def per_second(self) -> Mapping[str, Sequence[tuple[float, float]]]:
        """Documents a second in the first round."""
        return {"alone": self.rounds[0]["ingestion"].per_second, "beside searches": self.rounds[0]["both"].per_second}

    def searched(self, stretch: Stretch) -> list[Searched]:
        return [found for measured in self.rounds if (found := measured[stretch].searched)]

    def ingested(self, stretch: Stretch) -> list[Ingested]:
        return [found for measured in self.rounds if (found := measured[stretch].ingested)]

    def to_json(self) -> dict[str, object]:
        return {
            "ratios": {**self.median.to_json(), "search_p99_of_all_rounds": self.pooled_p99},
            "rounds": [
                {"ratios": ratios.to_json(), "stretches": [each.to_json() for each in measured.values()]}
                for ratios, measured in zip(self.each, self.rounds, strict=True)
            ],
        }


def measure_mixed(node: MeasuredNode, corpus: Corpus, load: Load, *, pool: int, rounds: int, console: Console) -> Mixed:
    """`pool`: documents that are searched. Raises FeedingFailed, NodeUnreachable, Refused."""
    name = node.new_collection(corpus)
    tokens = node.fill(name, corpus, pool)
    console.print(f"Searching among {pool:,} documents of {tokens:.0f} tokens", markup=False)
    question = Question(name, load.candidates, load.top_k)
    measured: list[Mapping[Stretch, Measured]] = []
    for number in range(rounds):
        # In turn forwards and backwards, so that what grows or warms up in between favours neither.
        order = list(TITLES)[:: 1 if number % 2 == 0 else -1]
        found = {stretch: _measure(stretch, node, corpus, question, load, number) for stretch in order}
        measured.append({stretch: found[stretch] for stretch in TITLES})
        console.print(f"Round {number + 1}: {_told(_ratios(measured[-1]))}", markup=False)
    return Mixed(tuple(measured))


def show_mixed(mixed: Mixed, load: Load, console: Console) -> None:
    table = Table(
        title=f"{load.rate:g} searches a second, {load.candidates} candidates reranked; medians of the rounds"
    )
    for column in ("", "p50 ms", "p90 ms", "p99 ms", "max ms", "searches", "errors", "texts/s", "tokens/s"):
        table.add_column(column, justify="right" if column else "left")
    for stretch, title in TITLES.items():
        table.add_row(title, *_search_cells(mixed.searched(stretch)), *_ingest_cells(mixed.ingested(stretch)))
    console.print(table)
    console.print(f"Both at once over alone: {_told(mixed.median)}", markup=False)
    console.print(f"Of all rounds' searches together, p99: {_times(mixed.pooled_p99)}", markup=False)
    least = min(found.least_waiting or 0 for stretch in _WITH_INGESTION for found in mixed.ingested(stretch))
    if least < SHORT_OF_DOCUMENTS:
        console.print(
            f"Ingestion was not always supplied: the node once had only {least} before it. It may do more.",
            style="yellow",
        )


def _measure(
    stretch: Stretch, node: MeasuredNode, corpus: Corpus, question: Question, load: Load, number: int
) -> Measured:
    if stretch == "searches":
        return Measured(stretch, _search(node, corpus, question, load, number), None)
    name = node.new_collection(corpus)
    with node.feeding(name, corpus, first=node.new_documents()) as feeder:
        feeder.wait_until_begun()
        searched = None
        if stretch == "both":
            searched = _search(node, corpus, question, load, number)
            start = searched.started
        else:
            start = monotonic() + load.warm_up
            sleep(load.warm_up + load.seconds)
        sleep(LAST_RECEIPTS_SECONDS)
        points = list(feeder.points)
    node.wait_until_idle()
    end = start + load.seconds
    return Measured(stretch, searched, ingested(points, start, end), rates(points, start, end))


def _search(node: MeasuredNode, corpus: Corpus, question: Question, load: Load, number: int) -> Searched:
    """The same moments in every stretch of a round, with other questions."""
    due = arrivals(load.rate, load.warm_up + load.seconds, kind=load.arrivals, seed=number)
    first = node.new_queries(len(due))
    return asyncio.run(
        search_open_loop(
            node.url,
            node.api_key,
            question,
            corpus,
            first=first,
            due=due,
            warm_up=load.warm_up,
            seconds=load.seconds,
        )
    )


def _ratios(measured: Mapping[Stretch, Measured]) -> Ratios:
    loaded, idle = (_times_of(measured[stretch]) for stretch in ("both", "searches"))
    beside, alone = measured["both"].ingested, measured["ingestion"].ingested
    assert beside is not None
    assert alone is not None
    return Ratios(
        _ratio(loaded.p50, idle.p50),
        _ratio(loaded.p99, idle.p99),
        _ratio(beside.texts_per_second, alone.texts_per_second),
    )


def _times_of(measured: Measured) -> Summary:
    return Summary.of(measured.searched.times if measured.searched else [])


def _ratio(beside: float | None, alone: float | None) -> float | None:
    return round(beside / alone, 3) if beside is not None and alone else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _told(ratios: Ratios) -> str:
    return f"search p50 {_times(ratios.p50)}, p99 {_times(ratios.p99)}, ingestion {_times(ratios.ingestion)}"


def _times(ratio: float | None) -> str:
    return "not known" if ratio is None else f"{ratio:.2f} times"


def _search_cells(found: Sequence[Searched]) -> list[str]:
    if not found:
        return [""] * 6
    summaries = [Summary.of(each.times) for each in found]
    cells = []
    for name in ("p50", "p90", "p99", "max"):
        value = _median([getattr(summary, name) for summary in summaries])
        cells.append("" if value is None else f"{value:.0f}")
    errors = sum(sum(each.errors.values()) for each in found)
    return [*cells, str(sum(len(each.samples) for each in found)), str(errors)]


def _ingest_cells(found: Sequence[Ingested]) -> list[str]:
    if not found:
        return [""] * 2
    return [
        f"{median([getattr(each, name) for each in found]):,.0f}" for name in ("texts_per_second", "tokens_per_second")
    ]
