"""tandem bench search: measures the latency of searches, at a given rate and sequentially."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from app.cli.bench.load.corpus import Corpus
from app.cli.bench.load.searching import STAGES, Load, Question, Searched, search_open_loop
from app.cli.bench.measures import Summary, arrivals
from app.cli.bench.node import MeasuredNode
from app.cli.console import counted
from app.cli.evaluate.evaluate import NotReranked
from retrieval.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Overhead:
    """Medians of sequential searches, in milliseconds."""

    total: float
    """Time that the client waited."""
    calls: float
    """Part of it in engines and store."""
    rest: float
    """Median of the differences."""


@dataclass(frozen=True, slots=True)
class SearchBench:
    searched: Searched
    overhead: Overhead | None

    def to_json(self) -> dict[str, object]:
        overhead = self.overhead
        overhead_ms = {"total": overhead.total, "calls": overhead.calls, "rest": overhead.rest} if overhead else None
        return {**self.searched.to_json(), "overhead_ms": overhead_ms}


def measure_search(
    node: MeasuredNode, corpus: Corpus, load: Load, *, pool: int, one_by_one: int, console: Console
) -> SearchBench:
    """Measures searches. `pool` is the number of documents that are searched; `one_by_one` sequential searches come
    first. Raises FeedingFailed, NodeUnreachable, Refused, NotReranked.
    """
    name = node.new_collection(corpus)
    tokens = node.fill(name, corpus, pool)
    console.print(f"Searching among {pool:,} documents of {tokens:.0f} tokens", markup=False)
    question = Question(name, load.candidates, load.top_k)
    overhead = _overhead(node, corpus, question, one_by_one, console) if one_by_one else None
    searched = search_at_rate(node, corpus, question, load, seed=0)
    return SearchBench(searched, overhead)


def search_at_rate(node: MeasuredNode, corpus: Corpus, question: Question, load: Load, *, seed: int) -> Searched:
    """Searches at the given rate. The same seed gives the same times; the queries are always new. Raises InvalidRequest
    if none is due.
    """
    due = arrivals(load.rate, load.warm_up + load.seconds, kind=load.arrivals, seed=seed)
    if not due or due[-1] < load.warm_up:
        raise InvalidRequest(f"{load.rate:g} searches a second for {load.seconds:g} s: none is due in that time.")
    return asyncio.run(
        search_open_loop(
            node.url,
            node.api_key,
            question,
            corpus,
            first=node.new_queries(len(due)),
            due=due,
            warm_up=load.warm_up,
            seconds=load.seconds,
        )
    )


def show_search(bench: SearchBench, load: Load, console: Console) -> None:
    searched = bench.searched
    table = Table(title=f"{load.rate:g} searches a second, {load.candidates} candidates reranked, {load.seconds:g} s")
    for column in ("ms", "p50", "p90", "p99", "max"):
        table.add_column(column, justify="left" if column == "ms" else "right")
    _add(table, "client, from when it was due", Summary.of(searched.times))
    for stage in STAGES:
        _add(table, f"node: {stage}", searched.stage(stage))
    console.print(table)
    errors = ", ".join(f"{count} times {error}" for error, count in searched.errors.items())
    console.print(f"{len(searched.samples)} searches, {errors or 'no errors'}", markup=False)
    if bench.overhead:
        console.print(
            f"One after the other: median {bench.overhead.total:.1f} ms for the client, of which engines and store "
            f"{bench.overhead.calls:.1f} ms and all else {bench.overhead.rest:.1f} ms.",
            markup=False,
        )


def latencies(bench: SearchBench) -> Mapping[str, list[float]]:
    return {"searches": bench.searched.times}


def _overhead(node: MeasuredNode, corpus: Corpus, question: Question, searches: int, console: Console) -> Overhead:
    totals, calls = [], []
    first = node.new_queries(searches)
    for number in counted(range(first, first + searches), "Searches one after the other", console):
        body = question.body(corpus.query(number))
        started = perf_counter()
        answer = node.client.search(**body)
        totals.append((perf_counter() - started) * 1000)
        if answer["rerank"]["scored"] != question.candidates:
            raise NotReranked(f"{answer['rerank']['scored']} of {question.candidates} candidates were reranked.")
        calls.append(sum(answer["timings_ms"][stage] for stage in ("embed", "recall", "rerank")))
    rest = [total - call for total, call in zip(totals, calls, strict=True)]
    return Overhead(*(round(median(values), 3) for values in (totals, calls, rest)))


def _add(table: Table, what: str, summary: Summary) -> None:
    values = (summary.p50, summary.p90, summary.p99, summary.max)
    table.add_row(what, *("" if value is None else f"{value:.1f}" for value in values))
