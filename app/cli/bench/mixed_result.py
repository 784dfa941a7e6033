"""The results of `tandem bench mixed`: each stretch, and the ratios, which carry over to other machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from rich.console import Console
from rich.table import Table

from app.cli.bench.load.searching import PARTS, Load, Searched
from app.cli.bench.measures import Ingested, Summary, percentile

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


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of one stretch."""

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
    """Values of both at once divided by those alone. A percentile is None if a stretch has no answers."""

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
        """The ratios of each round."""
        return tuple(ratios_of(measured) for measured in self.rounds)

    @property
    def median(self) -> Ratios:
        """The medians of the rounds' ratios."""
        each = self.each
        return Ratios(
            _median([ratios.p50 for ratios in each]),
            _median([ratios.p99 for ratios in each]),
            _median([ratios.ingestion for ratios in each]),
        )

    @property
    def pooled_p99(self) -> float | None:
        """The ratio over all rounds' searches together: a 99th percentile of few searches is little more than their
        worst one.
        """
        alone, together = self.latencies.values()
        return ratio(percentile(together, 0.99), percentile(alone, 0.99)) if alone and together else None

    @property
    def latencies(self) -> Mapping[str, list[float]]:
        """Returns milliseconds, of all rounds."""
        alone, together = ([ms for each in self.searched(name) for ms in each.times] for name in _WITH_SEARCHES)
        return {"alone": alone, "during ingestion": together}

    def parts(self, stretch: Stretch) -> Mapping[str, float]:
        """Returns the milliseconds of each part of a search: the median over all rounds."""
        found = [sample.parts for each in self.searched(stretch) for sample in each.answered]
        return {name: median([parts[name] for parts in found]) for name in PARTS} if found else {}

    @property
    def per_second(self) -> Mapping[str, Sequence[tuple[float, float]]]:
        """Returns documents per second in the first round."""
        return {"alone": self.rounds[0]["ingestion"].per_second, "during searches": self.rounds[0]["both"].per_second}

    def searched(self, stretch: Stretch) -> list[Searched]:
        return [found for measured in self.rounds if (found := measured[stretch].searched)]

    def ingested(self, stretch: Stretch) -> list[Ingested]:
        return [found for measured in self.rounds if (found := measured[stretch].ingested)]

    def to_json(self) -> dict[str, object]:
        return {
            "ratios": {**self.median.to_json(), "search_p99_of_all_rounds": self.pooled_p99},
            "parts_ms": {stretch: self.parts(stretch) for stretch in _WITH_SEARCHES},
            "rounds": [
                {"ratios": ratios.to_json(), "stretches": [each.to_json() for each in measured.values()]}
                for ratios, measured in zip(self.each, self.rounds, strict=True)
            ],
        }


def ratios_of(measured: Mapping[Stretch, Measured]) -> Ratios:
    loaded, idle = (_times_of(measured[stretch]) for stretch in ("both", "searches"))
    together, alone = measured["both"].ingested, measured["ingestion"].ingested
    assert together is not None
    assert alone is not None
    return Ratios(
        ratio(loaded.p50, idle.p50),
        ratio(loaded.p99, idle.p99),
        ratio(together.texts_per_second, alone.texts_per_second),
    )


def show_mixed(mixed: Mixed, load: Load, console: Console) -> None:
    table = Table(
        title=f"{load.rate:g} searches a second, {load.candidates} candidates reranked; medians of the rounds"
    )
    for column in ("", "p50 ms", "p90 ms", "p99 ms", "max ms", "searches", "errors", "texts/s", "tokens/s"):
        table.add_column(column, justify="right" if column else "left")
    for stretch, title in TITLES.items():
        table.add_row(title, *_search_cells(mixed.searched(stretch)), *_ingest_cells(mixed.ingested(stretch)))
    console.print(table)
    _show_parts(mixed, console)
    console.print(f"Both at once over alone: {ratio_text(mixed.median)}", markup=False)
    console.print(f"Of all rounds' searches together, p99: {_times(mixed.pooled_p99)}", markup=False)
    least = min(found.least_waiting or 0 for stretch in _WITH_INGESTION for found in mixed.ingested(stretch))
    if least < SHORT_OF_DOCUMENTS:
        console.print(
            f"Ingestion was not always supplied: the node once had only {least} before it. It may do more.",
            style="yellow",
        )


def _show_parts(mixed: Mixed, console: Console) -> None:
    parts = {stretch: mixed.parts(stretch) for stretch in _WITH_SEARCHES}
    if not all(parts.values()):
        return
    table = Table(title="Where a search's time goes, median ms of each part")
    for column in ("", *PARTS):
        table.add_column(column, justify="right" if column else "left")
    for stretch in _WITH_SEARCHES:
        table.add_row(TITLES[stretch], *(f"{parts[stretch][name]:.1f}" for name in PARTS))
    console.print(table)


def _times_of(measured: Measured) -> Summary:
    return Summary.of(measured.searched.times if measured.searched else [])


def ratio(together: float | None, alone: float | None) -> float | None:
    return round(together / alone, 3) if together is not None and alone else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def ratio_text(ratios: Ratios) -> str:
    return f"search p50 {_times(ratios.p50)}, p99 {_times(ratios.p99)}, ingestion {_times(ratios.ingestion)}"


def _times(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f} times"


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
