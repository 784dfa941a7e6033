"""Compares model profiles that need no accelerator, one after another on this machine: `python
deploy/benchmarks/profiles.py e5 minilm`.

For each: how long a node takes to be ready, the main memory of all its processes (proportional set size), ingestion
until every receipt is there, and searches one after another. A first start compiles models for this machine; only the
second one of each profile is measured.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psutil
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.cli.bench.measures import percentile
from app.cli.bench.node import MeasuredNode, NodeChoice, choose_corpus, describe_machine, measured_node
from deploy.benchmarks.several_gpus.processes import HOST_PROGRAM

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Figures:
    ready_seconds: float
    engines: int
    memory_bytes: int
    """After the work."""
    texts_per_second: float
    searches_ms: Sequence[float]


@contextmanager
def a_node(profile: str) -> Iterator[tuple[MeasuredNode, float]]:
    """Yields a node with an empty data folder, and the seconds that it took to be ready."""
    began = perf_counter()
    with measured_node(NodeChoice(None, None, None), console, models=profile) as node:
        yield node, perf_counter() - began


def measure(profile: str, asked: argparse.Namespace) -> Figures:
    console.print(f"{profile}: first start", markup=False)
    with a_node(profile):
        pass
    console.print(f"{profile}: measuring", markup=False)
    with a_node(profile) as (node, ready_seconds):
        corpus = choose_corpus(None, asked.tokens, node)
        collection = node.new_collection(corpus)
        began = perf_counter()
        node.fill(collection, corpus, asked.texts)
        texts_per_second = asked.texts / (perf_counter() - began)
        times = []
        for number in range(asked.warm_up + asked.searches):
            began = perf_counter()
            answer = node.client.search(corpus.query(number), collection=collection, candidates=asked.candidates)
            if not answer["rerank"]["applied"]:
                raise SystemExit(f"{profile}: a search was not reranked: {answer['rerank']['reason']}")
            times.append((perf_counter() - began) * 1000)
        processes = psutil.Process().children(recursive=True)
        return Figures(
            ready_seconds,
            sum(HOST_PROGRAM in process.cmdline() for process in processes),
            sum(process.memory_full_info().pss for process in processes),
            texts_per_second,
            times[asked.warm_up :],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles", nargs="+", help="e5, minilm")
    parser.add_argument("--texts", type=int, default=500, help="ingested")
    parser.add_argument("--tokens", type=int, default=128, help="of a text")
    parser.add_argument("--searches", type=int, default=60)
    parser.add_argument("--warm-up", type=int, default=5, help="searches before those")
    parser.add_argument("--candidates", type=int, default=50, help="reranked for each search")
    asked = parser.parse_args()
    print(describe_machine())  # noqa: T201
    print("| Profile | Ready | Engines | Main memory | Ingestion | Search p50 | Search p95 |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- | --- |")  # noqa: T201
    for profile in asked.profiles:
        found = measure(profile, asked)
        p50, p95 = (percentile(found.searches_ms, share) for share in (0.5, 0.95))
        print(  # noqa: T201
            f"| `{profile}` | {found.ready_seconds:.1f} s | {found.engines} | {found.memory_bytes / 1e9:.2f} GB "
            f"| {found.texts_per_second:.0f} texts/s | {p50:.0f} ms | {p95:.0f} ms |",
            flush=True,
        )


if __name__ == "__main__":
    main()
