"""The last table of a run: how its figures grow with the number of devices."""

from collections.abc import Callable
from contextlib import suppress

from deploy.benchmarks.several_gpus.run import Run


def scaling(run: Run) -> None:
    """The last table: each figure by number of devices, over that of the first."""
    counts = run.asked.devices
    found = run.found

    def ingested_at(stretch: str, count: int) -> float:
        rate: float = found[f"mixed {count}"]["stretches"][stretch]["ingestion"]["tokens_per_second"]
        return rate

    figures: dict[str, Callable[[int], float]] = {
        "engines alone, embedding tok/s": lambda n: found[f"engines {n}"]["embed_tokens_per_second"][run.asked.tokens],
        "engines alone, reranks/s at once": lambda n: found[f"engines {n}"]["reranks_per_second_at_once"],
        "ingestion through the node, tok/s": lambda n: ingested_at("ingestion", n),
        "ingestion during searches, tok/s": lambda n: ingested_at("both", n),
        f"searches/s at p99 < {run.asked.p99:g} ms": lambda n: found[f"search {n}"]["highest_rate"],
    }
    rows = []
    for name, value in figures.items():
        by_count = {}
        for count in counts:
            with suppress(KeyError, TypeError):
                by_count[count] = value(count)
        first = by_count.get(counts[0])
        shares = [f"{by_count[n] / first * counts[0] / n:.2f}" if first and n in by_count else "" for n in counts]
        rows.append((name, *(by_count.get(n, "") for n in counts), *shares[1:]))
    run.table("Scaling", ("", *(f"{n} devices" for n in counts), *(f"of linear, {n}" for n in counts[1:])), rows)
