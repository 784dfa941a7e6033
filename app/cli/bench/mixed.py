"""tandem bench mixed: measures how continuous ingestion affects searches, and searches affect ingestion.

Three stretches, repeated: searches alone, ingestion alone, both at once.
"""

from collections.abc import Mapping
from time import monotonic, sleep

from rich.console import Console

from app.cli.bench.load.corpus import Corpus
from app.cli.bench.load.searching import Load, Question
from app.cli.bench.measures import ingested, rates
from app.cli.bench.mixed_result import TITLES, Measured, Mixed, Stretch, ratio_text, ratios_of
from app.cli.bench.node import MeasuredNode
from app.cli.bench.search import search_at_rate

LAST_RECEIPTS_SECONDS = 0.5
"""Delay with which the last receipts of a stretch are reported."""


def measure_mixed(node: MeasuredNode, corpus: Corpus, load: Load, *, pool: int, rounds: int, console: Console) -> Mixed:
    """Measures all stretches. `pool` is the number of documents that are searched. Raises FeedingFailed,
    NodeUnreachable, Refused.
    """
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
        console.print(f"Round {number + 1}: {ratio_text(ratios_of(measured[-1]))}", markup=False)
    return Mixed(tuple(measured))


def _measure(
    stretch: Stretch, node: MeasuredNode, corpus: Corpus, question: Question, load: Load, number: int
) -> Measured:
    if stretch == "searches":
        return Measured(stretch, search_at_rate(node, corpus, question, load, seed=number), None)
    name = node.new_collection(corpus)
    with node.feeding(name, corpus, first=node.new_documents()) as feeder:
        feeder.wait_until_begun()
        searched = None
        if stretch == "both":
            searched = search_at_rate(node, corpus, question, load, seed=number)
            start = searched.started
        else:
            start = monotonic() + load.warm_up
            sleep(load.warm_up + load.seconds)
        sleep(LAST_RECEIPTS_SECONDS)
        points = list(feeder.points)
    node.wait_until_idle()
    end = start + load.seconds
    return Measured(stretch, searched, ingested(points, start, end), rates(points, start, end))
